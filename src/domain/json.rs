//! JSON as it is written: a name that stands twice in one object is refused instead of the last one winning.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads a value; a name that is given twice is an error with its place.
pub fn strict(text: &str) -> Result<Value, StrictError> {
    let mut from = serde_json::Deserializer::from_str(text);
    let mut twice = None;
    let value = Strict { at: String::new(), twice: &mut twice }.deserialize(&mut from);
    if let Some(pointer) = twice {
        return Err(StrictError::Twice { pointer });
    }
    let value = value.and_then(|value| from.end().map(|()| value));
    value.map_err(StrictError::Json)
}

#[derive(Debug, thiserror::Error)]
pub enum StrictError {
    /// JSON pointer to the name, from the root of what was read.
    #[error("{} is given twice; say it once", pointer.rsplit('/').next().unwrap_or_default())]
    Twice { pointer: String },
    #[error(transparent)]
    Json(serde_json::Error),
}

impl StrictError {
    /// JSON pointer to what is at fault.
    pub fn pointer(&self) -> &str {
        match self {
            StrictError::Twice { pointer } => pointer,
            StrictError::Json(_) => "",
        }
    }
}

/// A longer name is cut in the pointer.
const LONGEST_NAME: usize = 60;

struct Strict<'a> {
    at: String,
    twice: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) =
            seq.next_element_seed(Strict { at: format!("{}/{}", self.at, values.len()), twice: self.twice })?
        {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let short: String = name.chars().take(LONGEST_NAME).collect();
            let at = format!("{}/{}", self.at, short.replace('~', "~0").replace('/', "~1"));
            if fields.contains_key(&name) {
                *self.twice = Some(at);
                return Err(de::Error::custom("a name is given twice"));
            }
            let value = map.next_value_seed(Strict { at, twice: self.twice })?;
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::{StrictError, strict};

    #[test]
    fn a_name_that_is_given_twice_is_refused_at_its_place_at_any_depth() {
        for (text, pointer) in [
            (r#"{"a":1,"a":1}"#, "/a"),
            (r#"{"a":{"b":[0,{"c":1,"c":2}]}}"#, "/a/b/1/c"),
            (r#"{"a/b":1,"a\u002fb":2}"#, "/a~1b"),
        ] {
            let error = strict(text).unwrap_err();
            assert!(matches!(&error, StrictError::Twice { .. }), "{text}: {error}");
            assert_eq!(error.pointer(), pointer);
        }
        assert!(strict(r#"[{"a":1},{"a":1}]"#).is_ok());
        assert!(matches!(strict("{} {}"), Err(StrictError::Json(_))));
        assert!(matches!(strict(&"[".repeat(200)), Err(StrictError::Json(_))));
    }

    proptest! {
        #[test]
        fn whatever_else_is_written_reads_as_it_always_did(text in r#"[\[\]{}:,"a0.e\- ]{0,12}|-?[0-9]{1,22}(\.[0-9]{1,5})?"#) {
            match (strict(&text), serde_json::from_str::<Value>(&text)) {
                (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs),
                (Err(StrictError::Twice { .. }), _) | (Err(_), Err(_)) => {}
                (ours, theirs) => prop_assert!(false, "{text}: {ours:?} {theirs:?}"),
            }
        }
    }
}
