//! A key or a table that is given twice: which one, and where it stood first. The parser tells only the place of the second;
//! its own words would quote the line, which may hold a secret.

use std::ops::Range;

use toml_edit::{Document, Item, Table};

use super::document::{Document as Read, line_at};
use super::problem::Problem;

/// What the parser calls it.
const TWICE: &str = "duplicate key";

/// None where the parser's trouble at `span` is another one.
pub(super) fn named(file: &str, text: &str, trouble: &str, span: Range<usize>) -> Option<Problem> {
    if trouble != TWICE {
        return None;
    }
    let name = key_at(text.get(span.clone())?)?;
    let line = line_at(text, span.start);
    let (key, message) = match placed(text, &name, &span) {
        Some((path, first)) => (path.join("."), format!("is given twice: it stands in line {first} already")),
        // Within `{ … }`.
        None => (name, "is given twice".to_owned()),
    };
    Some(Problem { file: file.to_owned(), line: Some(line), key, message, ..Problem::default() })
}

/// The whole path of the key, and the line where it stands already.
fn placed(text: &str, name: &str, span: &Range<usize>) -> Option<(Vec<String>, usize)> {
    let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let line = text[start..].lines().next()?;
    // Whatever stands before the second one is read well.
    let before = Read::parse("", text[..start].to_owned()).ok()?;
    if let Some(path) = header(line) {
        return before.line_of(&path).map(|first| (path, first));
    }
    let mut key = dotted(line, span.start - start)?;
    key.push(name.to_owned());
    // A line within a longer text may look like a table's: then the key is not found there.
    tables_before(&text[..start]).find_map(|mut path| {
        path.extend(key.iter().cloned());
        before.line_of(&path).map(|first| (path, first))
    })
}

/// A key as it is written, bare or in quotes.
fn key_at(text: &str) -> Option<String> {
    let document: Document<String> = Document::parse(format!("{text} = 0\n")).ok()?;
    document.as_table().iter().next().map(|(key, _)| key.to_owned())
}

/// What stands before the last part of a dotted key.
fn dotted(line: &str, until: usize) -> Option<Vec<String>> {
    let Some(before) = line.get(..until)?.trim().strip_suffix('.') else { return Some(Vec::new()) };
    let document: Document<String> = Document::parse(format!("{before} = 0\n")).ok()?;
    Some(steps(document.as_table()))
}

/// The path of `[a.b]`; none where the line is no such header.
fn header(line: &str) -> Option<Vec<String>> {
    if !line.trim_start().starts_with('[') || line.trim_start().starts_with("[[") {
        return None;
    }
    let document: Document<String> = Document::parse(format!("{line}\n")).ok()?;
    Some(steps(document.as_table()))
}

/// The one way down.
fn steps(table: &Table) -> Vec<String> {
    let mut path = Vec::new();
    let mut here = Some(table);
    while let Some((key, item)) = here.and_then(|table| table.iter().next()) {
        path.push(key.to_owned());
        here = item.as_table();
    }
    path
}

/// The tables that may be open at the end of a text that was read well, the nearest one first; of a list the last one.
fn tables_before(text: &str) -> impl Iterator<Item = Vec<String>> {
    let document: Option<Document<String>> = Document::parse(text.to_owned()).ok();
    let lists = move |line: &str| {
        let name = line.trim().trim_start_matches('[').split(']').next().unwrap_or_default().trim().to_owned();
        let item = document.as_ref().and_then(|document| document.get(&name));
        let last = item.and_then(Item::as_array_of_tables).map_or(0, |tables| tables.len().saturating_sub(1));
        vec![format!("{name}[{last}]")]
    };
    let open = text.lines().rev().filter_map(move |line| header(line).or_else(|| is_list(line).then(|| lists(line))));
    open.chain([Vec::new()])
}

fn is_list(line: &str) -> bool {
    line.trim_start().starts_with("[[") && Document::parse(format!("{line}\n")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::document::Document as Read;

    #[test]
    fn what_is_given_twice_is_named_with_both_places() {
        let table = [
            ("a = 1\na = 2\n", "f:2: a: is given twice: it stands in line 1 already"),
            ("[t]\nk = \"x\"\nv = 1\nk = \"hush\"\n", "f:4: t.k: is given twice: it stands in line 2 already"),
            ("[t.u]\nk = 1\n[t.w]\nk = 1\n\"k\" = \"hush\"", "f:5: t.w.k: is given twice: it stands in line 4 already"),
            ("[t]\nk = 1\n[u]\n[t]\nz = 2\n", "f:4: t: is given twice: it stands in line 1 already"),
            ("[[s]]\nk = 1\n[[s]]\nk = 2\nk = 3\n", "f:5: s[1].k: is given twice: it stands in line 4 already"),
            ("[t]\nk = { m = 1, m = \"hush\" }\n", "f:2: m: is given twice"),
            ("[[t]]\nk = [{ m = 1 }, { m = 1, n = 2, m = \"hush\" }]\n", "f:2: m: is given twice"),
            ("[t]\nk.m = 1\nk.m = 2\n", "f:3: t.k.m: is given twice: it stands in line 2 already"),
            ("[t]\nx = \"\"\"\nk = 1\n[q]\n\"\"\"\nx = 2\n", "f:6: t.x: is given twice: it stands in line 2 already"),
        ];
        for (text, told) in table {
            let problem = Read::parse("f", text.to_owned()).err().expect("a problem").to_string();
            assert!(problem.starts_with(told), "{text}\n{problem}");
            assert!(!problem.contains("hush"), "{problem}");
        }
    }
}
