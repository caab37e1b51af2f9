//! One TOML text: its values for merging, and the line of every key for complaining.

use figment::value::{Dict, Empty, Tag, Value};
use toml_edit::{Item, TableLike};

use super::duplicate;
use super::problem::Problem;

pub(super) struct Document {
    /// What problems call it.
    pub(super) file: String,
    text: String,
    tree: toml_edit::Document<String>,
}

impl Document {
    pub(super) fn parse(file: &str, text: String) -> Result<Self, Problem> {
        match toml_edit::Document::parse(text.clone()) {
            Ok(tree) => Ok(Self { file: file.to_owned(), text, tree }),
            // Only the parser's own words: its Display quotes the line, which may hold a secret.
            Err(error) => Err(error
                .span()
                .and_then(|span| duplicate::named(file, &text, error.message(), span))
                .unwrap_or_else(|| Problem {
                    file: file.to_owned(),
                    line: error.span().map(|span| line_at(&text, span.start)),
                    key: String::new(),
                    message: format!("not TOML: {}", error.message()),
                    ..Problem::default()
                })),
        }
    }

    pub(super) fn to_dict(&self) -> Dict {
        table(self.tree.as_table())
    }

    /// Where the key at the end of `path` is written. A step such as `poll[1]` enters an array.
    pub(super) fn line_of(&self, path: &[String]) -> Option<usize> {
        let mut here: &dyn TableLike = self.tree.as_table();
        let mut line = None;
        for (depth, step) in path.iter().enumerate() {
            let (name, index) = split_index(step);
            let (key, item) = here.get_key_value(name)?;
            let found = index.and_then(|index| element(item, index));
            let span = found.as_ref().and_then(|element| element.span.clone()).or_else(|| key.span()).or(item.span());
            line = span.map(|span| line_at(&self.text, span.start));
            if depth + 1 < path.len() {
                here = found.map_or_else(|| item.as_table_like(), |element| element.table)?;
            }
        }
        line
    }
}

struct Element<'a> {
    span: Option<std::ops::Range<usize>>,
    table: Option<&'a dyn TableLike>,
}

fn element(item: &Item, index: usize) -> Option<Element<'_>> {
    if let Some(tables) = item.as_array_of_tables() {
        let table = tables.get(index)?;
        return Some(Element { span: table.span(), table: Some(table) });
    }
    let value = item.as_array()?.get(index)?;
    Some(Element { span: value.span(), table: value.as_inline_table().map(|table| table as &dyn TableLike) })
}

/// `poll[1]` → `poll`, 1.
fn split_index(step: &str) -> (&str, Option<usize>) {
    let Some((name, index)) = step.strip_suffix(']').and_then(|step| step.rsplit_once('[')) else {
        return (step, None);
    };
    index.parse().map_or((step, None), |index| (name, Some(index)))
}

pub(super) fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Reads one TOML value that stands alone, such as the text of a variable.
pub(super) fn parse_value(text: &str) -> Option<Value> {
    text.parse::<toml_edit::Value>().ok().map(|value| scalar(&value))
}

fn table(table: &dyn TableLike) -> Dict {
    table.iter().filter_map(|(key, item)| Some((key.to_owned(), value(item)?))).collect()
}

fn value(item: &Item) -> Option<Value> {
    match item {
        Item::None => None,
        Item::Value(value) => Some(scalar(value)),
        Item::Table(inner) => Some(Value::from(table(inner))),
        Item::ArrayOfTables(tables) => {
            Some(Value::from(tables.iter().map(|inner| Value::from(table(inner))).collect::<Vec<_>>()))
        }
    }
}

fn scalar(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => Value::from(text.value().as_str()),
        toml_edit::Value::Integer(number) => Value::from(*number.value()),
        toml_edit::Value::Float(number) => Value::from(*number.value()),
        toml_edit::Value::Boolean(flag) => Value::from(*flag.value()),
        // No setting is a date. As text it would be taken for a key.
        toml_edit::Value::Datetime(_) => Value::Empty(Tag::Default, Empty::Unit),
        toml_edit::Value::Array(array) => Value::from(array.iter().map(scalar).collect::<Vec<_>>()),
        toml_edit::Value::InlineTable(inner) => Value::from(table(inner)),
    }
}
