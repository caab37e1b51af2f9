//! Numbers of wagons and containers, with their check digits: a mistyped number would be paid for.

use crate::vendors::lenient;

/// What a number belongs to; Alta gives each of the two a hash of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    Wagon,
    Container,
}

/// Whether a number that passed [`read`] is a wagon's or a container's.
pub fn carrier(number: &str) -> Carrier {
    if number.starts_with(|c: char| c.is_ascii_digit()) { Carrier::Wagon } else { Carrier::Container }
}

/// The number as Alta takes it, or what is wrong with it. `force` forgives the check digit, never the form.
pub fn read(text: &str, force: bool) -> Result<String, String> {
    let number: String =
        lenient::latin_lookalikes(text).chars().filter(|c| !c.is_whitespace() && !matches!(c, '-')).collect();
    let expected = match shape(&number) {
        Some(Carrier::Wagon) => wagon_check_digit(&number),
        Some(Carrier::Container) => container_check_digit(&number),
        None => {
            let shown = lenient::excerpt(text);
            return Err(format!(
                "{shown:?} is neither a wagon (8 digits) nor a container (4 Latin letters and 7 digits)"
            ));
        }
    };
    let given = number.bytes().last().map(|digit| u32::from(digit - b'0'));
    if force || given == Some(expected) {
        return Ok(number);
    }
    Err(format!(
        "{number} is mistyped: its last digit should be {expected}; correct it, or send \"force\": true if it is painted so"
    ))
}

fn shape(number: &str) -> Option<Carrier> {
    let bytes = number.as_bytes();
    if bytes.len() == 8 && bytes.iter().all(u8::is_ascii_digit) {
        return Some(Carrier::Wagon);
    }
    let (owner, serial) = bytes.split_at_checked(4)?;
    let fits = serial.len() == 7 && owner.iter().all(u8::is_ascii_uppercase) && serial.iter().all(u8::is_ascii_digit);
    fits.then_some(Carrier::Container)
}

/// The railways' rule: the first seven digits times 2 1 2 1 2 1 2, the digits of the products summed up to a ten.
fn wagon_check_digit(number: &str) -> u32 {
    let sum: u32 = digits(number)
        .take(7)
        .enumerate()
        .map(|(at, digit)| {
            let product = if at % 2 == 0 { digit * 2 } else { digit };
            product / 10 + product % 10
        })
        .sum();
    (10 - sum % 10) % 10
}

/// ISO 6346: the values of ten characters times powers of two, modulo 11, and 10 counts as 0.
fn container_check_digit(number: &str) -> u32 {
    let sum: u32 = number.bytes().take(10).enumerate().map(|(at, byte)| iso_value(byte) << at).sum();
    sum % 11 % 10
}

/// A is 10, and the multiples of 11 are left out.
fn iso_value(byte: u8) -> u32 {
    if byte.is_ascii_digit() {
        return u32::from(byte - b'0');
    }
    let plain = u32::from(byte.saturating_sub(b'A')) + 10;
    plain + (plain - 1) / 10
}

fn digits(number: &str) -> impl Iterator<Item = u32> {
    number.chars().filter_map(|c| c.to_digit(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendors_own_numbers_pass() {
        assert_eq!(read("54676515", false).as_deref(), Ok("54676515"));
        assert_eq!(read("AMFU8899067", false).as_deref(), Ok("AMFU8899067"));
        // The example of ISO 6346 itself, and one whose remainder is 10.
        assert_eq!(read("CSQU3054383", false).as_deref(), Ok("CSQU3054383"));
        assert_eq!(read("TEXU3070079", false).as_deref(), Ok("TEXU3070079"));
    }

    #[test]
    fn numbers_are_read_as_people_type_them() {
        assert_eq!(read(" amfu 889906-7 ", false).as_deref(), Ok("AMFU8899067"));
        // А and М are Cyrillic here.
        assert_eq!(read("АМFU8899067", false).as_deref(), Ok("AMFU8899067"));
    }

    #[test]
    fn the_multiples_of_eleven_are_no_letters() {
        let values: Vec<u32> = (b'A'..=b'Z').map(iso_value).collect();
        let expected: Vec<u32> = (10..=38).filter(|value| value % 11 != 0).collect();
        assert_eq!(values, expected);
    }

    #[test]
    fn every_wrong_digit_is_found_and_named() {
        for wrong in (0..=9).filter(|digit| *digit != 5) {
            let problem = read(&format!("5467651{wrong}"), false).unwrap_err();
            assert!(problem.contains(&format!("5467651{wrong}")) && problem.contains("should be 5"), "{problem}");
        }
        assert!(read("AMFU8899060", false).unwrap_err().contains("should be 7"));
    }

    #[test]
    fn force_forgives_the_check_digit_but_not_the_form() {
        assert_eq!(read("54676510", true).as_deref(), Ok("54676510"));
        assert!(read("5467651", true).is_err());
        assert!(read("АБВГ8899067", true).is_err());
        assert!(read("", true).is_err());
        assert!(read("٥٤٦٧٦٥١٥", true).is_err());
    }
}
