//! What is asked about, checked before it costs money: a mistyped number is billed like a good one.

use serde_json::{Map, Value};

use crate::vendors::{KindSpec, ParamProblem, lenient};

const FORCE: &str = "force";

/// Below this likeness (Jaro-Winkler, 0 to 1) a name is no mistyping of another.
const LIKENESS: f64 = 0.7;

type Problems = Vec<ParamProblem>;

pub(super) fn check(spec: &KindSpec, params: &Value) -> Result<Value, Problems> {
    let Some(fields) = params.as_object() else {
        return Err(vec![ParamProblem::at("", "params must be a JSON object such as {\"vin\": \"…\"}")]);
    };
    let mut problems: Problems =
        fields.keys().filter(|name| !spec.params.contains(&name.as_str())).map(|name| unknown(spec, name)).collect();
    let force = force(fields, &mut problems);
    let mut checked = Map::new();
    match given(spec, fields).as_slice() {
        [(name, value)] => match identifier(name, value, force) {
            Ok(text) => {
                checked.insert((*name).to_owned(), Value::from(text));
            }
            Err(message) => problems.push(ParamProblem::at(name, message)),
        },
        [] if problems.is_empty() => problems.push(ParamProblem::at("", format!("give one of {}", subjects(spec)))),
        [] => {}
        [_, rest @ ..] => problems.extend(rest.iter().map(|(name, _)| {
            ParamProblem::at(name, format!("one report is about one thing: give exactly one of {}", subjects(spec)))
        })),
    }
    if force {
        checked.insert(FORCE.to_owned(), Value::from(true));
    }
    if problems.is_empty() { Ok(Value::Object(checked)) } else { Err(problems) }
}

/// The identifiers that were given, in the kind's order; null is not given.
fn given<'a>(spec: &KindSpec, fields: &'a Map<String, Value>) -> Vec<(&'static str, &'a Value)> {
    let names = spec.params.iter().filter(|name| **name != FORCE);
    names.filter_map(|name| Some((*name, fields.get(*name).filter(|value| !value.is_null())?))).collect()
}

fn subjects(spec: &KindSpec) -> String {
    spec.params.iter().copied().filter(|name| *name != FORCE).collect::<Vec<_>>().join(", ")
}

fn force(fields: &Map<String, Value>, problems: &mut Problems) -> bool {
    match fields.get(FORCE) {
        None | Some(Value::Null) => false,
        Some(Value::Bool(force)) => *force,
        // `opros submit … force=true` sends text.
        Some(Value::String(text)) if text == "true" => true,
        Some(Value::String(text)) if text == "false" => false,
        Some(_) => {
            problems.push(ParamProblem::at(FORCE, "force must be true or false"));
            false
        }
    }
}

fn unknown(spec: &KindSpec, name: &str) -> ParamProblem {
    let near = spec
        .params
        .iter()
        .map(|known| (strsim::jaro_winkler(&name.to_lowercase(), known), known))
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    let hint = match near {
        Some((_, known)) => format!("did you mean {known}?"),
        None => format!("it knows {}", spec.params.join(", ")),
    };
    // RFC 6901: the two characters that a pointer escapes.
    let pointer = name.replace('~', "~0").replace('/', "~1");
    ParamProblem::at(&pointer, format!("{} has no param {name:?}; {hint}", spec.name))
}

/// The identifier as the vendor writes it. With `force` whatever is not empty passes, tidied where it can be.
fn identifier(name: &str, value: &Value, force: bool) -> Result<String, String> {
    let text = lenient::string(value).ok_or_else(|| format!("{name} must be text that is not empty"))?;
    let tidy = match name {
        "phone" => phone(&text),
        "gosnumber" => plate(&text),
        "vin" => vin(&text),
        _ => frame(&text),
    };
    match tidy {
        Err(_) if force => Ok(text),
        Err(message) => Err(format!("{message}, or send it as it is with \"force\": true")),
        Ok(good) => Ok(good),
    }
}

/// Without what people put between groups of characters.
fn joined(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '-' | '‐' | '‑' | '–' | '—' | '.' | '(' | ')')).collect()
}

/// `79990000111`: 11 digits, no plus.
fn phone(text: &str) -> Result<String, String> {
    let joined = joined(text);
    let digits = joined.strip_prefix('+').unwrap_or(&joined);
    let national = match digits.as_bytes() {
        [b'7', rest @ ..] => rest,
        // 8 is the trunk prefix of calls inside Russia and stands for +7; +8… is another country.
        [b'8', rest @ ..] if !joined.starts_with('+') => rest,
        _ => &[],
    };
    if national.len() == 10 && national.iter().all(u8::is_ascii_digit) {
        Ok(format!("7{}", &digits[1..]))
    } else {
        Err(format!("{text:?} is no Russian phone number: write 11 digits that start with 7, such as 79990000111"))
    }
}

/// ISO 3779: 17 characters, digits and Latin letters without I, O and Q.
fn vin(text: &str) -> Result<String, String> {
    let vin = lenient::latin_lookalikes(&joined(text));
    let count = vin.chars().count();
    if let Some(bad) = vin.chars().find(|c| !c.is_ascii_alphanumeric() || matches!(c, 'I' | 'O' | 'Q')) {
        return Err(format!(
            "{text:?} is no VIN: {bad:?} does not occur in one (I, O and Q are never used; perhaps 1 or 0)"
        ));
    }
    if count != 17 {
        return Err(format!("{text:?} is no VIN: it has {count} characters instead of 17"));
    }
    Ok(vin)
}

/// The forms of GOST R 50577: L a letter, D a digit; the last two or three digits are the region.
const PLATES: &[&str] = &[
    "LDDDLLDD", // cars
    "LDDDLLDDD",
    "LLDDDDD",   // taxis and buses
    "LLDDDDDD",  // the same with a long region; trailers
    "LLDDDDDDD", // trailers
    "DDDDLLDD",  // motorcycles, tractors, the army
    "DDDDLLDDD",
    "LDDDDDD", // police
    "LDDDDDDD",
    "LLDDDLDD", // transit
    "LLDDDLDDD",
];

/// The twelve letters that look the same in both alphabets; plates are sent in Cyrillic.
const PLATE_LETTERS: [(char, char); 12] = [
    ('A', 'А'),
    ('B', 'В'),
    ('E', 'Е'),
    ('K', 'К'),
    ('M', 'М'),
    ('H', 'Н'),
    ('O', 'О'),
    ('P', 'Р'),
    ('C', 'С'),
    ('T', 'Т'),
    ('Y', 'У'),
    ('X', 'Х'),
];

fn plate(text: &str) -> Result<String, String> {
    let mut plate = String::new();
    let mut shape = String::new();
    for c in joined(text).to_uppercase().chars() {
        let letter = PLATE_LETTERS.iter().find(|(latin, cyrillic)| c == *latin || c == *cyrillic);
        match letter {
            Some((_, cyrillic)) => {
                plate.push(*cyrillic);
                shape.push('L');
            }
            None if c.is_ascii_digit() => {
                plate.push(c);
                shape.push('D');
            }
            None => {
                return Err(format!(
                    "{text:?} is no Russian plate: {c:?} stands on none (digits and А В Е К М Н О Р С Т У Х do)"
                ));
            }
        }
    }
    if PLATES.contains(&shape.as_str()) {
        Ok(plate)
    } else {
        Err(format!("{text:?} is no Russian plate: write it with its region, such as А123ВС77"))
    }
}

/// A Japanese body number such as `GX110-6012345`. No standard fixes its form.
fn frame(text: &str) -> Result<String, String> {
    let unspaced: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let frame = lenient::latin_lookalikes(&unspaced).replace(['‐', '‑', '–', '—'], "-");
    let fits = (5..=20).contains(&frame.chars().count())
        && frame.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && frame.chars().any(|c| c.is_ascii_digit())
        && !frame.starts_with('-')
        && !frame.ends_with('-');
    if fits {
        Ok(frame)
    } else {
        Err(format!(
            "{text:?} is no body number: 5 to 20 Latin letters, digits and dashes are expected, such as GX110-6012345"
        ))
    }
}
