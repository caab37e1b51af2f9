//! README.ru.md has the same commands, queries and settings as README.md, and the same headings in the same order.

use std::path::Path;

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect(name)
}

/// Fenced blocks: language, and the lines without comments and blanks.
fn blocks(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            open = !open;
            if open {
                found.push((language.to_owned(), Vec::new()));
            }
        } else if open {
            let (language, lines) = found.last_mut().expect("a block");
            let bare = bare(language, line);
            lines.extend((!bare.is_empty()).then(|| bare.to_owned()));
        }
    }
    assert!(!open, "a block does not end");
    found
}

fn bare<'a>(language: &str, line: &'a str) -> &'a str {
    let mark = match language {
        "sql" => "--",
        "php" => "// ",
        _ => "# ",
    };
    if line.trim_start().starts_with(mark) {
        return "";
    }
    let behind = format!(" {mark}");
    line.split(behind.as_str()).next().unwrap_or_default().trim()
}

#[test]
fn both_readmes_have_the_same_commands() {
    let (english, russian) = (blocks(&read("README.md")), blocks(&read("README.ru.md")));
    assert!(english.len() > 15);
    for (at, (one, other)) in english.iter().zip(&russian).enumerate() {
        assert_eq!(one, other, "block {} differs", at + 1);
    }
    assert_eq!(english.len(), russian.len());
}

#[test]
fn both_readmes_have_the_same_headings_and_tables() {
    let shape = |text: &str| {
        let lines = text.lines().filter_map(|line| {
            let level = line.bytes().take_while(|byte| *byte == b'#').count();
            let is_heading = level > 0 && line.as_bytes().get(level) == Some(&b' ');
            if is_heading {
                return Some(format!("heading {level}"));
            }
            // The number of columns; what stands in the first one is often a name.
            line.starts_with("| ").then(|| format!("row of {}", line.replace("\\|", "").matches('|').count()))
        });
        lines.collect::<Vec<_>>()
    };
    let strip = |text: String| {
        let mut inside = false;
        let kept = text.lines().filter(|line| {
            inside ^= line.starts_with("```");
            !inside
        });
        kept.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(shape(&strip(read("README.md"))), shape(&strip(read("README.ru.md"))));
}
