//! Who is at the other end, through proxies that are known.

use std::net::IpAddr;

use axum::http::HeaderMap;

/// The nearest address that no trusted proxy vouches for. A header from anybody else is a stranger's claim and is not read.
pub fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpAddr]) -> IpAddr {
    let mut client = peer.to_canonical();
    let claims = headers.get_all("x-forwarded-for").iter().rev().filter_map(|value| value.to_str().ok());
    for claim in claims.flat_map(|line| line.rsplit(',')) {
        if !trusted.iter().any(|proxy| proxy.to_canonical() == client) {
            break;
        }
        let Some(before) = address(claim) else { break };
        client = before.to_canonical();
    }
    client
}

/// With or without a port, as proxies write it.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, claims: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for claim in claims {
            headers.append("x-forwarded-for", claim.parse().unwrap());
        }
        let trusted: Vec<IpAddr> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        client(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn only_configured_proxies_are_believed_and_only_about_who_called_them() {
        for (peer, claims, trusted, client) in [
            ("198.51.100.7", &["203.0.113.9"][..], &[][..], "198.51.100.7"),
            ("127.0.0.1", &["203.0.113.9"], &["127.0.0.1"], "203.0.113.9"),
            ("127.0.0.1", &["10.0.0.1, 203.0.113.9"], &["127.0.0.1"], "203.0.113.9"),
            ("127.0.0.1", &["203.0.113.9, 10.0.0.1"], &["127.0.0.1", "10.0.0.1"], "203.0.113.9"),
            ("127.0.0.1", &["203.0.113.9", "10.0.0.1"], &["127.0.0.1", "10.0.0.1"], "203.0.113.9"),
            ("127.0.0.1", &["[2001:db8::1]:4711"], &["127.0.0.1"], "2001:db8::1"),
            ("127.0.0.1", &["203.0.113.9:80"], &["127.0.0.1"], "203.0.113.9"),
            ("127.0.0.1", &["unknown"], &["127.0.0.1"], "127.0.0.1"),
            ("127.0.0.1", &[], &["127.0.0.1"], "127.0.0.1"),
            ("::ffff:127.0.0.1", &["203.0.113.9"], &["127.0.0.1"], "203.0.113.9"),
        ] {
            assert_eq!(seen(peer, claims, trusted), client, "{peer} {claims:?}");
        }
    }
}
