//! Vehicle identification numbers (ISO 3779).

use crate::vendors::lenient;

pub const LENGTH: usize = 17;

/// Upper case, without blanks, Cyrillic look-alikes turned into Latin. What is not a VIN stays recognisably wrong.
pub fn normalise(typed: &str) -> String {
    lenient::latin_lookalikes(typed).chars().filter(|c| !c.is_whitespace()).collect()
}

/// What is wrong with a normalised VIN, in a sentence.
pub fn fault(vin: &str) -> Option<String> {
    if let Some(letter) = vin.chars().find(|c| matches!(c, 'I' | 'O' | 'Q')) {
        return Some(format!("a VIN has no letter {letter} (I, O and Q do not occur): is it the digit 1 or 0?"));
    }
    if let Some(odd) = vin.chars().find(|c| !c.is_ascii_uppercase() && !c.is_ascii_digit()) {
        return Some(format!("a VIN has Latin letters and digits only; {odd:?} is neither"));
    }
    let length = vin.chars().count();
    (length != LENGTH).then(|| format!("a VIN has exactly 17 characters; this one has {length}"))
}

/// A doubt about a well-formed VIN. Makers in North America (1–5) and China (L) have to set the check digit; elsewhere
/// the ninth place is the maker's own, and its value says nothing.
pub fn doubt(vin: &str) -> Option<String> {
    if !vin.starts_with(['1', '2', '3', '4', '5', 'L']) {
        return None;
    }
    let (due, found) = (check_digit(vin)?, vin.chars().nth(CHECK_PLACE)?);
    (due != found).then(|| {
        format!("the VIN's check digit (its ninth character) is {found}, and {due} would be right: was it mistyped?")
    })
}

const CHECK_PLACE: usize = 8;
const WEIGHTS: [u32; LENGTH] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];

fn check_digit(vin: &str) -> Option<char> {
    let mut sum = 0;
    for (c, weight) in vin.chars().zip(WEIGHTS) {
        sum += weight * value(c)?;
    }
    match sum % 11 {
        10 => Some('X'),
        digit => char::from_digit(digit, 10),
    }
}

fn value(c: char) -> Option<u32> {
    match c {
        '0'..='9' => c.to_digit(10),
        'A'..='H' => Some(c as u32 - 'A' as u32 + 1),
        'J'..='N' => Some(c as u32 - 'J' as u32 + 1),
        'P' => Some(7),
        'R' => Some(9),
        'S'..='Z' => Some(c as u32 - 'S' as u32 + 2),
        _ => None,
    }
}
