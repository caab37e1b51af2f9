//! Name servers that this machine can reach and the unit cannot: its IPAddressDeny= keeps the daemon from the machine's own
//! link, where the metadata services of clouds are, and some clouds and home routers have their resolver there.

use std::net::IpAddr;
use std::path::Path;

use super::Finding;
use crate::look::{self, Links};

const RESOLV_CONF: &str = "/etc/resolv.conf";
const UNITS: [&str; 2] = ["/etc/systemd/system/opros.service", "/usr/lib/systemd/system/opros.service"];
const DROP_INS: [&str; 2] = ["/etc/systemd/system/opros.service.d", "/run/systemd/system/opros.service.d"];
const LARGEST: u64 = 64 * 1024;
const MOST_DROP_INS: usize = 100;

/// Nothing where opros is not a unit of this machine.
pub fn look() -> Option<Finding> {
    let unit = UNITS.iter().find_map(|unit| look::text(Path::new(unit), Links::Follow, LARGEST).ok())?;
    let settings = DROP_INS.iter().flat_map(|dir| drop_ins(Path::new(dir))).fold(unit, |all, one| all + "\n" + &one);
    let resolv = look::text(Path::new(RESOLV_CONF), Links::Follow, LARGEST).ok()?;
    judged(&resolv, &settings)
}

fn drop_ins(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().take(MOST_DROP_INS).filter_map(Result::ok);
    let files = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|ext| ext == "conf"));
    files.filter_map(|path| look::text(&path, Links::Follow, LARGEST).ok()).collect()
}

fn judged(resolv: &str, settings: &str) -> Option<Finding> {
    if !values(settings, "IPAddressDeny").any(|value| value == "any" || value == "link-local") {
        return None;
    }
    let shut: Vec<IpAddr> =
        servers(resolv).filter(|server| is_link_local(*server) && !allows(settings, *server)).collect();
    let first = shut.first()?;
    let all = shut.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
    let what = format!(
        "{RESOLV_CONF} names {all}, on this machine's link, and the unit keeps opros from there: no vendor's name is found \
         (not_sent: dns error), although it is found from here"
    );
    let todo = format!("sudo systemctl edit opros: [Service], IPAddressAllow={first}; then restart it");
    Some(Finding::problem("dns", what, todo))
}

fn servers(resolv: &str) -> impl Iterator<Item = IpAddr> {
    resolv.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        // fe80::1%eth0
        address.split('%').next()?.parse().ok()
    })
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// By the address itself, or by a network that holds it.
fn allows(settings: &str, server: IpAddr) -> bool {
    values(settings, "IPAddressAllow").any(|value| {
        value == "any" || value == "link-local" || network(value).is_some_and(|(base, bits)| holds(base, bits, server))
    })
}

fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (base, bits) = text.split_once('/').map_or((text, None), |(base, bits)| (base, Some(bits)));
    let base: IpAddr = base.parse().ok()?;
    let whole = if base.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(whole), |bits| bits.parse().ok().filter(|bits| *bits <= whole))?;
    Some((base, bits))
}

fn holds(base: IpAddr, bits: u32, address: IpAddr) -> bool {
    match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => {
            (u32::from(base) ^ u32::from(address)).checked_shr(32 - bits).unwrap_or_default() == 0
        }
        (IpAddr::V6(base), IpAddr::V6(address)) => {
            (u128::from(base) ^ u128::from(address)).checked_shr(128 - bits).unwrap_or_default() == 0
        }
        _ => false,
    }
}

fn values<'a>(settings: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = settings.lines().filter_map(move |line| line.trim().strip_prefix(key)?.trim_start().strip_prefix('='));
    lines.flat_map(str::split_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = include_str!("../../systemd/opros.service");

    #[test]
    fn a_resolver_that_the_unit_keeps_opros_from_is_told_unless_a_drop_in_lets_it_there() {
        let table = [
            ("nameserver 127.0.0.53\noptions edns0\n", "", None),
            (
                "nameserver 8.8.8.8\nnameserver 2001:4860:4860::8888\nnameserver fd00::1\nnameserver 10.0.0.2\n",
                "",
                None,
            ),
            ("nameserver 169.254.169.254\n", "", Some("IPAddressAllow=169.254.169.254")),
            ("# nameserver 169.254.169.254\n", "", None),
            ("search lan\nnameserver  fe80::1%eth0 \n", "", Some("IPAddressAllow=fe80::1")),
            ("nameserver 169.254.169.253\n", "[Service]\nIPAddressAllow=169.254.169.253\n", None),
            ("nameserver 169.254.169.253\n", "[Service]\nIPAddressAllow = 169.254.0.0/16\n", None),
            ("nameserver 169.254.169.253\n", "[Service]\nIPAddressAllow=link-local\n", None),
            ("nameserver 169.254.169.253\n", "[Service]\nIPAddressAllow=169.254.169.254\n", Some("169.254.169.253")),
            ("nameserver fe80::1\n", "[Service]\nIPAddressAllow=fe80::/10\n", None),
            ("nameserver fe80::1\n", "[Service]\nIPAddressAllow=0.0.0.0/0\n", Some("fe80::1")),
            ("nameserver\nnameserver nonsense\n", "", None),
        ];
        for (resolv, drop_in, expected) in table {
            let found = judged(resolv, &format!("{UNIT}\n{drop_in}"));
            assert_eq!(found.is_some(), expected.is_some(), "{resolv} {drop_in}: {found:?}");
            let todo = found.and_then(|finding| finding.todo).unwrap_or_default();
            assert!(todo.contains(expected.unwrap_or_default()), "{resolv}: {todo}");
        }
        assert_eq!(judged("nameserver 169.254.169.254\n", "[Service]\nUser=opros\n"), None);
    }
}
