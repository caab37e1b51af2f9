//! A host and a port, as they stand in `Host`, `Origin` and a request line.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Read strictly: what a browser, a resolver and this code could read differently is not read at all. So there is no
/// `user@host`, no `0x7f.1` that would count as an address, and no `%zone` (RFC 9844: a zone is nothing to send).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// In lower case; addresses in their one spelling, IPv6 in brackets.
    exact: String,
    port: Option<u16>,
    is_ip: bool,
}

impl Authority {
    pub fn read(text: &str) -> Option<Authority> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map(|(address, port)| (address, port, true)),
            None => {
                let end = text.find(':').unwrap_or(text.len());
                Some((&text[..end], &text[end..], false))
            }
        }
        .and_then(|(host, port, brackets)| Some((read_host(host, brackets)?, read_port(port)?)))?;
        let (exact, is_ip) = host;
        Some(Authority { exact, port, is_ip })
    }

    /// An address in digits cannot be pointed elsewhere by whoever owns a name.
    pub fn is_ip(&self) -> bool {
        self.is_ip
    }

    /// Without the dot at the end, with which it is the same name.
    pub fn name(&self) -> &str {
        self.exact.strip_suffix('.').unwrap_or(&self.exact)
    }

    /// As an origin is compared.
    pub fn exact(&self) -> &str {
        &self.exact
    }

    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

/// In its one spelling, and whether it is an address.
fn read_host(host: &str, brackets: bool) -> Option<(String, bool)> {
    if brackets {
        return host.parse::<Ipv6Addr>().ok().map(|address| (format!("[{address}]"), true));
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Some((address.to_string(), true));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.split('.').all(is_label).then(|| (host.to_ascii_lowercase(), false))
}

/// What follows the host: nothing, or a colon and a port, which may be left out. None where it is something else.
fn read_port(text: &str) -> Option<Option<u16>> {
    let Some(digits) = text.strip_prefix(':') else { return text.is_empty().then_some(None) };
    if digits.is_empty() {
        return Some(None);
    }
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number).map(Some)
}

#[cfg(test)]
mod tests {
    use super::Authority;

    #[test]
    fn addresses_and_names_are_told_apart_as_a_browser_does() {
        for text in ["127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:80", "192.0.2.7", "[::FFFF:127.0.0.1]:"] {
            assert!(Authority::read(text).is_some_and(|read| read.is_ip()), "{text}");
        }
        let names =
            ["localhost", "LOCALHOST:1", "localhost.", "a-b_c.example", "0x7f.1", "127.1", "0177.0.0.1", "127.0.0.1."];
        for text in names {
            assert!(Authority::read(text).is_some_and(|read| !read.is_ip()), "{text}");
        }
        let neither = [
            "",
            ".",
            "..",
            "a..b",
            ".localhost",
            "a b",
            "user@localhost",
            "localhost@evil.com",
            "localhost:x",
            "localhost:-1",
            "localhost:99999",
            "localhost:+80",
            "localhost:80:80",
            "::1",
            "[::1",
            "[::1]x",
            "[fe80::1%eth0]",
            "[fe80::1%25eth0]",
            "[127.0.0.1]",
            "[localhost]",
            "localhost/",
            "localhost\\",
            "http://localhost",
            "лок",
            "a,b",
            "*",
            "%6cocalhost",
        ];
        for text in neither {
            assert_eq!(Authority::read(text), None, "{text}");
        }
    }

    #[test]
    fn one_address_has_one_spelling() {
        let exact = |text: &str| Authority::read(text).unwrap().exact().to_owned();
        assert_eq!(exact("[0:0:0:0:0:0:0:1]:80"), "[::1]");
        assert_eq!(exact("LocalHost."), "localhost.");
        assert_eq!(Authority::read("LocalHost.:7").unwrap().name(), "localhost");
        assert_eq!(Authority::read("a:7").unwrap().port(), Some(7));
    }
}
