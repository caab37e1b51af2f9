//! What of a secret is looked for: itself, and what encoders make of it as a whole (base64, hex), wherever it lay in what
//! they were given.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A secret of fewer characters than this is not masked at all: it would hit innocent text.
const SHORTEST: usize = 4;
/// One of fewer than this is masked only where it stands alone, and never where it could be a number.
pub const SHORT: usize = 6;
/// The shortest piece of base64 or hex that is looked for.
const SHORTEST_ENCODED: usize = 7;

/// Where a pattern counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Anywhere,
    /// Not as part of a longer word.
    Alone,
    /// It is made of digits: not as part of a longer number.
    Number,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern {
    pub text: Vec<u8>,
    pub place: Place,
}

/// Whether a secret is long enough to be masked wherever it stands.
pub fn is_long(secret: &str) -> bool {
    secret.chars().count() >= SHORT
}

pub fn of<'a>(secrets: impl Iterator<Item = &'a str>) -> Vec<Pattern> {
    let all: BTreeSet<Pattern> = secrets.flat_map(of_one).collect();
    all.into_iter().collect()
}

fn of_one(secret: &str) -> Vec<Pattern> {
    let is_number = secret.bytes().all(|byte| byte.is_ascii_digit());
    let pattern = |place| Pattern { text: secret.as_bytes().to_vec(), place };
    match secret.chars().count() {
        0..SHORTEST => Vec::new(),
        SHORTEST..SHORT if is_number => Vec::new(),
        SHORTEST..SHORT => vec![pattern(Place::Alone)],
        _ if is_number => encoded(secret).chain([pattern(Place::Number)]).collect(),
        _ => encoded(secret).chain([pattern(Place::Anywhere)]).collect(),
    }
}

fn encoded(secret: &str) -> impl Iterator<Item = Pattern> {
    let small = crate::domain::exchange::hex(secret.as_bytes());
    let large = small.to_ascii_uppercase();
    let hex = [small, large].map(|text| Pattern { text: text.into_bytes(), place: Place::Anywhere });
    let base64 = [STANDARD_NO_PAD, URL_SAFE_NO_PAD].into_iter().flat_map(move |engine: GeneralPurpose| {
        // After 0, 1 or 2 bytes of something else, without the letters that these share with it; and whole.
        let whole = engine.encode(secret);
        (0..3).map(move |before| shifted(secret.as_bytes(), before, &engine)).chain([whole])
    });
    let base64 = base64.filter(|text| text.len() >= SHORTEST_ENCODED);
    hex.into_iter().chain(base64.map(|text| Pattern { text: text.into_bytes(), place: Place::Anywhere }))
}

fn shifted(secret: &[u8], before: usize, engine: &GeneralPurpose) -> String {
    let bytes: Vec<u8> = std::iter::repeat_n(0, before).chain(secret.iter().copied()).collect();
    let (begin, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
    engine.encode(&bytes).get(begin..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_stands_alone_and_short_digits_are_no_secret_at_all() {
        let places = |secret| of(std::iter::once(secret)).iter().map(|pattern| pattern.place).collect::<Vec<_>>();
        assert!(places("abc").is_empty() && places("1519").is_empty() && places("20211").is_empty());
        assert_eq!(places("ab1d"), [Place::Alone]);
        assert!(places("151900").contains(&Place::Number));
        assert!(places("ключи1").contains(&Place::Anywhere));
    }
}
