//! Where webhooks may go, and from where documents are fetched: no address of this machine or of a private network, in whatever spelling, unless it is one's own.
//!
//! A literal address in a URL is judged here; a name is judged by what it resolves to, when it is connected to.

mod names;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

pub use self::names::{Names, SystemNames, Vetted};

/// What the owner allows beyond https to public addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowed {
    pub http: bool,
    /// Private addresses and any port: the receiver is in one's own network.
    pub private: bool,
}

/// Networks that are no public receiver's, IPv4: address and prefix length.
const NOT_PUBLIC_V4: [(Ipv4Addr, u32); 17] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // A cloud's own service, at a public address.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 52, 193, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// Inside 2000::/3, which is all that is public: networks that carry an IPv4 address within, or that nobody answers in.
const NOT_PUBLIC_V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Whether this address is out in the world.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => NOT_PUBLIC_V4.iter().all(|(network, length)| {
            let shift = 32 - length;
            v4.to_bits() >> shift != network.to_bits() >> shift
        }),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            bits >> 125 == 1
                && NOT_PUBLIC_V6.iter().all(|(network, length)| {
                    let shift = 128 - length;
                    bits >> shift != network.to_bits() >> shift
                })
        }
    }
}

/// The literal address of a URL, in whatever spelling it was written; none where there is a name.
pub fn literal(url: &Url) -> Option<IpAddr> {
    // For http and https the parser has brought every spelling (octal, hex, one number, embedded) into one form.
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Reads a receiver's address; a complaint says what to write instead, and never repeats what was written.
pub fn check(text: &str, allowed: Allowed) -> Result<Url, String> {
    const SHAPE: &str = "must be an address such as \"https://shop.example/hooks/opros\"";
    let url = Url::parse(text).map_err(|_| SHAPE.to_owned())?;
    if !matches!(url.scheme(), "http" | "https") || !text.contains("://") || !url.has_host() {
        return Err(SHAPE.to_owned());
    }
    if url.scheme() == "http" && !allowed.http {
        return Err("must begin with https; for a receiver without TLS say allow_http = true".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or a password: the signature says who sent it".to_owned());
    }
    if url.fragment().is_some() {
        return Err("must not hold a fragment (#…)".to_owned());
    }
    if !allowed.private {
        refuse_private(&url)?;
    }
    Ok(url)
}

fn refuse_private(url: &Url) -> Result<(), String> {
    const OWN: &str = "for a receiver in your own network say allow_private = true";
    let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    let is_local = host == "localhost" || host.ends_with(".localhost");
    if is_local || literal(url).is_some_and(|address| !is_public(address)) {
        return Err(format!("leads to this machine or to a private network; {OWN}"));
    }
    let usual = match url.scheme() {
        "https" => [443, 8443],
        _ => [80, 8080],
    };
    if url.port_or_known_default().is_some_and(|port| !usual.contains(&port)) {
        return Err(format!("must use port {} or {}; {OWN}", usual[0], usual[1]));
    }
    Ok(())
}

/// What may be shown of an address: its query and its path may hold a secret.
pub fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_pass_and_the_edges_of_private_networks_do_not() {
        for text in
            ["8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.0", "100.128.0.0", "2606:4700::1111", "223.255.255.255"]
        {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "0.0.0.0",
            "10.255.255.255",
            "100.64.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "168.63.129.16",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:8.8.8.8",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "4000::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn an_address_is_shown_without_what_may_be_secret_in_it() {
        let url = check("https://hooks.example:8443/services/T0/abc?token=s3cret", Allowed::default()).unwrap();
        assert_eq!(shown(&url), "https://hooks.example:8443");
    }
}
