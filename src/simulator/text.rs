//! How the vendors write dates and hashes, and how this program draws its repeatable chances.

use chrono::{DateTime, FixedOffset};
use md5::{Digest, Md5};

use crate::domain::Timestamp;

/// All four vendors live in Moscow: UTC+3 all year since October 2014.
pub const MOSCOW_MS: i64 = 3 * 60 * 60 * 1000;

/// What .NET writes for a date that is not there.
pub const NO_DATE: &str = "0001-01-01T00:00:00";

pub fn moscow(at: Timestamp) -> DateTime<FixedOffset> {
    let zone = FixedOffset::east_opt((MOSCOW_MS / 1000) as i32).expect("three hours is an offset");
    at.to_utc().with_timezone(&zone)
}

/// `2026-08-21T10:00:00.123`, without a zone, as .NET prints a local time.
pub fn iso(at: Timestamp) -> String {
    moscow(at).format("%Y-%m-%dT%H:%M:%S%.3f").to_string()
}

/// `2017-12-05 20:03:00`
pub fn dashed(at: Timestamp) -> String {
    moscow(at).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// `28.11.2014 12:50:04`
pub fn dotted(at: Timestamp) -> String {
    moscow(at).format("%d.%m.%Y %H:%M:%S").to_string()
}

/// `29.07.2021 21:52`
pub fn dotted_minutes(at: Timestamp) -> String {
    moscow(at).format("%d.%m.%Y %H:%M").to_string()
}

pub fn md5_hex(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number that depends on nothing but the seed and the text: the same run twice is the same run.
pub fn chance(seed: u64, text: &str) -> u64 {
    // FNV-1a, then the finaliser of SplitMix64: FNV alone leaves the high bits of short texts alike.
    let folded = text
        .bytes()
        .fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    spread(folded)
}

/// SplitMix64's finaliser.
pub fn spread(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_match_the_vectors_of_the_vendors_pages() {
        let inner = md5_hex("alta_test");
        assert_eq!(inner, "6631ed36054f56790c59c56551bc9fb4");
        assert_eq!(md5_hex(&format!("rail_tracking:sa000000:{inner}")), "bb92dcee8bf2b49287e1038b65a72b79");
        let key = md5_hex("key");
        assert_eq!(md5_hex(&format!("1:1952793748454663010828068631:{key}")), "8e093b01b18e3272a7d615704cc1502a");
        assert_eq!(md5_hex(&format!("1:{key}")), "4be008375662d5c8e7cb4eba945e7b4c");
    }

    #[test]
    fn dates_are_written_in_moscow_time() {
        let at = Timestamp::parse_rfc3339("2026-08-20T21:05:06Z").unwrap();
        assert_eq!(dotted(at), "21.08.2026 00:05:06");
        assert_eq!(dashed(at), "2026-08-21 00:05:06");
        assert_eq!(dotted_minutes(at), "21.08.2026 00:05");
        assert_eq!(iso(at), "2026-08-21T00:05:06.000");
    }
}
