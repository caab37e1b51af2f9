//! Track numbers: how they are written, compared, and checked where the rule is public.

use crate::vendors::lenient;

/// A number as it is sent and stored: no blanks, upper case; an S10 number typed with Cyrillic look-alikes in Latin.
pub fn normal(text: &str) -> String {
    let track: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_uppercase();
    let latin = lenient::latin_lookalikes(&track);
    if s10(&latin).is_some() { latin } else { track }
}

/// What makes a number unusable at this vendor, whatever `force` says.
///
/// The request key is a hash over the numbers, and in which charset the vendor hashes other letters is not documented: a
/// mismatch would look like a bad key and pause the whole account.
pub fn unusable(track: &str) -> Option<String> {
    if track.is_empty() {
        return Some("the track number is missing: give the parcel's number".to_owned());
    }
    let foreign = track.chars().find(|c| !c.is_ascii_graphic())?;
    Some(format!("{track}: {foreign:?} cannot stand in a track number: use Latin letters and digits"))
}

/// What is wrong with the check digit, where the number has a form whose rule is known.
pub fn check_digit_problem(track: &str, russian_post: bool) -> Option<String> {
    let (form, expected, found) = match s10(track) {
        Some((expected, found)) => ("an international number (S10)", expected, found),
        None if russian_post => {
            let (expected, found) = russian_post_digits(track)?;
            ("a Russian Post number", expected, found)
        }
        None => return None,
    };
    (expected != found).then(|| {
        format!(
            "{track}: the check digit of {form} would be {expected}, not {found}: correct the number, or add \
             \"force\": true if it was really given out so"
        )
    })
}

/// Expected and found check digit of two letters, nine digits, two letters (UPU standard S10).
fn s10(track: &str) -> Option<(u32, u32)> {
    const WEIGHTS: [u32; 8] = [8, 6, 4, 2, 3, 5, 9, 7];
    let bytes = track.as_bytes();
    let letters = |part: &[u8]| part.iter().all(u8::is_ascii_uppercase);
    if bytes.len() != 13 || !letters(&bytes[..2]) || !letters(&bytes[11..]) {
        return None;
    }
    let digits = digits(&bytes[2..11])?;
    let sum: u32 = WEIGHTS.iter().zip(&digits).map(|(weight, digit)| weight * digit).sum();
    let expected = match 11 - sum % 11 {
        10 => 0,
        11 => 5,
        digit => digit,
    };
    Some((expected, digits[8]))
}

/// Expected and found check digit of Russian Post's 14 digits: odd places count three times.
fn russian_post_digits(track: &str) -> Option<(u32, u32)> {
    if track.len() != 14 {
        return None;
    }
    let digits = digits(track.as_bytes())?;
    let sum: u32 =
        digits[..13].iter().enumerate().map(|(at, digit)| if at % 2 == 0 { digit * 3 } else { *digit }).sum();
    Some(((10 - sum % 10) % 10, digits[13]))
}

fn digits(bytes: &[u8]) -> Option<Vec<u32>> {
    bytes.iter().map(|byte| char::from(*byte).to_digit(10)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendors_sample_numbers_have_good_check_digits() {
        for track in ["19527937484546", "63010828068631"] {
            assert_eq!(check_digit_problem(track, true), None, "{track}");
        }
    }

    #[test]
    fn a_mistyped_digit_is_found_and_the_right_one_named() {
        let problem = check_digit_problem("19527937484547", true).expect("a wrong check digit");
        assert!(problem.contains("would be 6, not 7"), "{problem}");
        assert!(problem.contains("\"force\": true"), "{problem}");
    }

    #[test]
    fn fourteen_digits_of_another_carrier_have_another_rule() {
        assert_eq!(check_digit_problem("19527937484547", false), None);
    }

    #[test]
    fn international_numbers_follow_s10() {
        // The worked example of the standard: 47312482 has the check digit 9.
        assert_eq!(check_digit_problem("RR473124829RU", true), None);
        assert!(check_digit_problem("RR473124828RU", false).is_some());
    }

    #[test]
    fn every_one_digit_slip_in_an_international_number_is_seen() {
        let good = b"RR473124829RU";
        for at in 2..10 {
            for digit in b'0'..=b'9' {
                let mut slip = *good;
                slip[at] = digit;
                let text = String::from_utf8_lossy(&slip).into_owned();
                assert_eq!(check_digit_problem(&text, true).is_none(), slip == *good, "{text}");
            }
        }
    }

    #[test]
    fn numbers_of_no_known_form_pass() {
        for track in ["1234567890", "ABC-1", "1952793748454", "RR47312482RU", "LP00123456789012"] {
            assert_eq!(check_digit_problem(track, true), None, "{track}");
        }
    }

    #[test]
    fn blanks_case_and_cyrillic_look_alikes_are_mended() {
        assert_eq!(normal(" rr 473 124 829 ru "), "RR473124829RU");
        assert_eq!(normal("ВА473124829RU"), "BA473124829RU");
        assert_eq!(normal("посылка1"), "ПОСЫЛКА1");
        assert!(unusable("ПОСЫЛКА1").is_some_and(|message| message.contains("'П'")));
        assert_eq!(unusable("ABC-1"), None);
    }
}
