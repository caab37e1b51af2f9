//! Every vendor, one line each. Everything else walks this table.

use super::{KindSpec, Vendor, alta, rlab, tronk, vagvin};

/// A vendor that opros knows.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub name: &'static str,
    /// The vendor's own host; none where the vendor gives it out by hand.
    pub base_url: Option<&'static str>,
    pub kinds: &'static [KindSpec],
}

pub const VENDORS: &[Entry] = &[
    Entry { name: "tronk", base_url: Some(tronk::BASE_URL), kinds: tronk::KINDS },
    Entry { name: "alta", base_url: Some(alta::BASE_URL), kinds: alta::KINDS },
    Entry { name: "rlab", base_url: Some(rlab::BASE_URL), kinds: rlab::KINDS },
    Entry { name: "vagvin", base_url: None, kinds: vagvin::KINDS },
];

/// What a driver of each vendor is made from.
#[derive(Debug, Clone)]
pub enum Settings {
    Tronk(tronk::Settings),
    Alta(alta::Settings),
    Rlab(rlab::Settings),
    Vagvin(vagvin::Settings),
}

/// The driver of one account.
pub fn open(settings: Settings) -> Box<dyn Vendor> {
    match settings {
        Settings::Tronk(settings) => Box::new(tronk::Tronk::new(settings)),
        Settings::Alta(settings) => Box::new(alta::Alta::new(settings)),
        Settings::Rlab(settings) => Box::new(rlab::Rlab::new(settings)),
        Settings::Vagvin(settings) => Box::new(vagvin::VagVin::new(settings)),
    }
}

pub fn kind(name: &str) -> Option<&'static KindSpec> {
    kinds().find(|kind| kind.name == name)
}

pub fn kinds() -> impl Iterator<Item = &'static KindSpec> {
    VENDORS.iter().flat_map(|vendor| vendor.kinds)
}
