//! Sizes as people write them: `"512KiB"`, `"32MiB"`, `"2GiB"`, or bytes `"1000"`.

use serde::Serializer;

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)];

pub const SHAPE: &str = "a size such as \"512KiB\", \"32MiB\" or \"2GiB\"";

/// In bytes; none where it is no size.
pub fn parse(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (_, factor) = UNITS.iter().find(|(unit, _)| *unit == &text[digits..])?;
    text[..digits].parse::<u64>().ok()?.checked_mul(*factor).filter(|bytes| *bytes <= 1 << 50)
}

/// Writes a size so that [`parse`] reads the same one.
pub fn format(bytes: u64) -> String {
    let fits = |factor: u64| bytes >= factor && bytes.is_multiple_of(factor);
    let (unit, factor) = UNITS.into_iter().find(|(_, factor)| fits(*factor)).unwrap_or(("", 1));
    format!("{}{unit}", bytes / factor)
}

pub fn serialize<S: Serializer>(bytes: &u64, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&format(*bytes))
}

#[cfg(test)]
mod tests {
    use super::{format, parse};

    #[test]
    fn sizes_are_read_and_written_alike() {
        for (text, bytes) in [("0", 0), ("1000", 1000), ("512KiB", 512 << 10), ("32MiB", 32 << 20), ("2GiB", 2 << 30)] {
            assert_eq!((parse(text), format(bytes).as_str()), (Some(bytes), text));
        }
        for wrong in ["", "MiB", "32MB", "32 MiB", "-1", "1.5GiB", "99999999999999999999", "9999999999GiB"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
