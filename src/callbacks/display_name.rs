//! Names that strangers give to files, made harmless. A display name is shown and offered for saving; no path is ever
//! built from it here.

/// File systems take 255 bytes; this leaves room for " (2)" and for Cyrillic at two bytes a letter.
const LONGEST: usize = 100;
/// An extension is kept whole when a name is cut, if it is no longer than this.
const LONGEST_EXTENSION: usize = 10;

/// The last part of what may be a path, without anything that a shell, a terminal, a browser or a file system would
/// read as more than a name. Nothing left is none.
pub fn sanitised(given: &str) -> Option<String> {
    let last = given.rsplit(['/', '\\']).find(|part| !part.trim().trim_matches('.').is_empty())?;
    let clean: String = last.chars().filter(|c| !is_invisible(*c)).map(harmless).collect();
    let clean = clean.trim_matches(|c: char| c == '.' || c.is_whitespace());
    // A leading dash would be an option, a leading tilde a home.
    let clean = clean.trim_start_matches(['-', '~']).trim_start();
    if clean.trim_matches(['_', '.']).is_empty() {
        return None;
    }
    let cut = cut(clean);
    Some(if is_device(&cut) { format!("_{cut}") } else { cut })
}

fn harmless(c: char) -> char {
    match c {
        // Percent, since a second decoding could make a slash of it.
        ':' | '*' | '?' | '"' | '<' | '>' | '|' | '%' | '$' | '`' | '&' | ';' | '\'' | '#' => '_',
        c if c.is_whitespace() => ' ',
        other => other,
    }
}

/// Control characters, and those that turn or hide what follows ("fdp.exe" shown as "exe.pdf").
fn is_invisible(c: char) -> bool {
    let unseen = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff0}'..='\u{ffff}' | '\u{e0000}'..='\u{e0fff}');
    unseen || (c.is_control() && !c.is_whitespace())
}

fn cut(name: &str) -> String {
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    let (stem, extension) = split(name);
    let room = LONGEST - extension.chars().count();
    let stem: String = stem.chars().take(room).collect();
    format!("{}{extension}", stem.trim_end())
}

/// Stem and extension, the dot with the extension; no extension where it is unreasonably long.
fn split(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name[dot..].chars().count() <= LONGEST_EXTENSION => name.split_at(dot),
        Some(_) | None => (name, ""),
    }
}

/// Names that Windows gives to devices, with or without an extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim().to_ascii_uppercase();
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL")
        || (stem.len() == 4
            && (stem.starts_with("COM") || stem.starts_with("LPT"))
            && stem.ends_with(|c: char| c.is_ascii_digit()))
}

/// `name`, or "name (2).pdf" and so on, until none of `taken` is the same in any case.
pub fn unique(name: &str, taken: &[String]) -> String {
    let is_free = |name: &str| !taken.iter().any(|other| other.to_lowercase() == name.to_lowercase());
    if is_free(name) {
        return name.to_owned();
    }
    let (stem, extension) = split(name);
    (2..).map(|n| format!("{stem} ({n}){extension}")).find(|name| is_free(name)).unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_lose_everything_but_their_last_part() {
        for (given, shown) in [
            ("report.pdf", "report.pdf"),
            ("../../etc/passwd", "passwd"),
            ("/etc/shadow", "shadow"),
            ("..\\..\\windows\\win.ini", "win.ini"),
            ("C:\\Users\\a\\Отчёт BMW.pdf", "Отчёт BMW.pdf"),
            ("report.pdf/", "report.pdf"),
            ("a/b/..", "b"),
            ("....//....//x.pdf", "x.pdf"),
            ("%2e%2e%2fx.pdf", "_2e_2e_2fx.pdf"),
            (".bashrc", "bashrc"),
            ("~root.pdf", "root.pdf"),
            ("-rf", "rf"),
            ("x\u{0}.pdf\u{7}", "x.pdf"),
            ("gpj.\u{202e}fdp.exe", "gpj.fdp.exe"),
            ("C:evil.pdf", "C_evil.pdf"),
            ("nul.pdf", "_nul.pdf"),
            ("COM1", "_COM1"),
            ("$(reboot)`x`.pdf", "_(reboot)_x_.pdf"),
            ("two\r\nlines.pdf", "two  lines.pdf"),
        ] {
            assert_eq!(sanitised(given).as_deref(), Some(shown), "{given:?}");
        }
    }

    #[test]
    fn nothing_is_no_name() {
        for given in ["", ".", "..", "/", "../..", " ", "\\", "\u{200b}", "___", "..\u{0}.", "-", "%%%"] {
            assert_eq!(sanitised(given), None, "{given:?}");
        }
    }

    #[test]
    fn a_long_name_keeps_its_extension() {
        let name = sanitised(&format!("{}.pdf", "я".repeat(500))).unwrap();
        assert!(name.ends_with(".pdf") && name.chars().count() == 100 && name.len() <= 255);
    }

    #[test]
    fn equal_names_are_told_apart() {
        let taken = vec!["Report.pdf".to_owned(), "report (2).pdf".to_owned()];
        assert_eq!(unique("report.pdf", &taken), "report (3).pdf");
        assert_eq!(unique("other.pdf", &taken), "other.pdf");
    }

    proptest! {
        #[test]
        fn whatever_is_given_one_plain_name_comes_out(given in r"[./\\~%:\PC\x00-\x20а-я]{0,300}") {
            if let Some(name) = sanitised(&given) {
                prop_assert!(!name.is_empty() && name.len() <= 255);
                prop_assert!(!name.contains(['/', '\\', '\0', '%', ':']));
                prop_assert!(!name.starts_with(['.', '-', '~', ' ']) && !name.ends_with(['.', ' ']));
                let path = std::path::Path::new(&name);
                prop_assert_eq!(path.components().count(), 1);
                prop_assert!(matches!(path.components().next(), Some(std::path::Component::Normal(_))));
                prop_assert_eq!(sanitised(&name), Some(name));
            }
        }
    }
}
