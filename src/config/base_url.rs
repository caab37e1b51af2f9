//! Where a vendor lives: scheme, host, and perhaps a prefix that comes before the documented paths.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;
use serde::{Serialize, Serializer};

/// A checked `base_url`: http or https, a host, no user, query or fragment, no slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// Stands in for one that could not be read, until the problem is reported.
    pub(super) const fn unread() -> Self {
        Self(String::new())
    }

    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|_| SHAPE.to_owned())?;
        if !matches!(url.scheme(), "http" | "https") || !text.contains("://") || !url.has_host() {
            return Err(SHAPE.to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not hold a user or a password".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("must not hold a query or a fragment".to_owned());
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }

    /// Without a slash at the end: a documented path is appended as it stands.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The vendor is on this machine: a simulator or a test.
    pub fn is_loopback(&self) -> bool {
        let Ok(url) = Url::parse(&self.0) else { return false };
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        // By address, or by the one name that RFC 6761 keeps for it.
        host.parse::<IpAddr>().map_or(host == "localhost", |address| address.is_loopback())
    }

    pub fn is_plain_http(&self) -> bool {
        self.0.starts_with("http://")
    }
}

const SHAPE: &str = "must be an address such as \"https://vendor.example\" or \"https://vendor.example/prefix\"";

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for BaseUrl {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&self.0)
    }
}

/// For an address that `""` turns off.
pub(super) fn or_empty<S: Serializer>(url: &Option<BaseUrl>, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(url.as_ref().map_or("", BaseUrl::as_str))
}
