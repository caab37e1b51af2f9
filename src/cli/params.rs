//! Params from the command line. `key=value` is always text, so that phone=79990000111, a VIN of digits and leading
//! zeros stay what they are; what is meant as JSON says so with `:=`.

use std::collections::BTreeMap;

use serde_json::value::{RawValue, to_raw_value};

use super::failure::Failure;
use crate::domain::json;

/// Values keep the very text they were given: no number loses digits on its way.
pub type Params = BTreeMap<String, Box<RawValue>>;

/// Stands in the help of `submit`.
pub const HELP: &str = "\
Params:
  key=value      text, whatever it looks like: phone=79990000111, vin=00123
  key:=json      JSON: attach_excel:=true  wagons:='[\"54676515\"]'
  key[]=value    adds one text to a list: wagons[]=54676515 wagons[]=54676523
  key[]:=json    adds one JSON value to a list";

enum Slot {
    One(Box<RawValue>),
    Many(Vec<Box<RawValue>>),
}

/// The params object that these words mean.
pub fn from_words(words: &[String]) -> Result<Params, Failure> {
    let mut slots: BTreeMap<&str, Slot> = BTreeMap::new();
    for word in words {
        let (name, value) = read_word(word)?;
        match (name.strip_suffix("[]"), slots.get_mut(name.trim_end_matches("[]"))) {
            (Some(_), Some(Slot::Many(values))) => values.push(value),
            (Some(list), None) => drop(slots.insert(list, Slot::Many(vec![value]))),
            (None, None) => drop(slots.insert(name, Slot::One(value))),
            (_, Some(_)) => {
                let name = name.trim_end_matches("[]");
                return Err(Failure::Usage(format!("{name} is given twice; a list is written {name}[]=… {name}[]=…")));
            }
        }
    }
    let value = |slot| match slot {
        Slot::One(value) => value,
        Slot::Many(values) => raw(&values),
    };
    Ok(slots.into_iter().map(|(name, slot)| (name.to_owned(), value(slot))).collect())
}

fn read_word(word: &str) -> Result<(&str, Box<RawValue>), Failure> {
    let wrong = || Failure::Usage(format!("{word:?} is no param; write key=value for text, or key:=json"));
    let (name, value) = word.split_once('=').ok_or_else(wrong)?;
    let (name, value) = match name.strip_suffix(':') {
        Some(name) => (name, raw_json(name, value)?),
        None => (name, raw(value)),
    };
    if name.trim_end_matches("[]").is_empty() { Err(wrong()) } else { Ok((name, value)) }
}

fn raw_json(name: &str, text: &str) -> Result<Box<RawValue>, Failure> {
    RawValue::from_string(text.to_owned()).map_err(|error| {
        let hint = "after := stands JSON; for text write = alone";
        Failure::Usage(format!("{name}:= is followed by what is no JSON ({error}); {hint}"))
    })
}

/// A JSON object, as `--params` gives it.
pub fn from_json(text: &str) -> Result<Params, Failure> {
    // A map keeps the last of two equal names: nobody would hear that the first was dropped.
    json::strict(text).map_err(|error| Failure::Usage(format!("--params must be a JSON object: {error}")))?;
    serde_json::from_str(text).map_err(|error| Failure::Usage(format!("--params must be a JSON object: {error}")))
}

/// Adds what skips the checks of digits at the vendor's driver.
pub fn force(params: &mut Params) {
    params.insert("force".to_owned(), raw(&true));
}

fn raw(value: &(impl serde::Serialize + ?Sized)) -> Box<RawValue> {
    to_raw_value(value).expect("text, lists and booleans are JSON")
}
