//! SQL of a schema, taken apart into words: what was renamed and renamed back, dumped, or only laid out otherwise, is the same.

/// One word of it. Quotes are off, comments and blanks are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A keyword or a name; in small letters.
    Word(String),
    /// A literal, as it is written.
    Literal(String),
    Sign(char),
}

impl Token {
    pub fn is(&self, word: &str) -> bool {
        matches!(self, Token::Word(own) if own == word)
    }
}

/// None where the text ends inside a quotation or a comment.
pub fn tokens(sql: &str) -> Option<Vec<Token>> {
    let mut rest = sql;
    let mut all = Vec::new();
    while let Some(c) = rest.chars().next() {
        let (token, length) = match c {
            _ if c.is_whitespace() => (None, c.len_utf8()),
            '-' if rest.starts_with("--") => (None, rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => (None, rest.find("*/")? + 2),
            '"' | '`' => quoted(rest, c).map(|(text, length)| (Some(Token::Word(text.to_lowercase())), length))?,
            '[' => (Some(Token::Word(rest[1..rest.find(']')?].to_lowercase())), rest.find(']')? + 1),
            '\'' => quoted(rest, c).map(|(text, length)| (Some(Token::Literal(text)), length))?,
            _ if is_of_a_word(c) => {
                let length = rest.find(|c| !is_of_a_word(c)).unwrap_or(rest.len());
                let text = rest[..length].to_lowercase();
                let token = if c.is_ascii_digit() { Token::Literal(text) } else { Token::Word(text) };
                (Some(token), length)
            }
            _ => (Some(Token::Sign(c)), c.len_utf8()),
        };
        all.extend(token);
        rest = &rest[length..];
    }
    Some(all)
}

fn is_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

/// What stands between these marks, a doubled one being one, and how long all of it is.
fn quoted(text: &str, mark: char) -> Option<(String, usize)> {
    let mut inner = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != mark {
            inner.push(c);
        } else if chars.next_if(|(_, next)| *next == mark).is_some() {
            inner.push(mark);
        } else {
            return Some((inner, at + c.len_utf8()));
        }
    }
    None
}

/// A name as SQL takes it, whatever it holds.
pub fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Keywords that a bracket may follow without there being a function.
const BEFORE_A_BRACKET: [&str; 9] = ["where", "and", "or", "not", "in", "is", "between", "then", "else"];
/// Operators that call functions, and words that begin something more.
const NOT_PLAIN: [&str; 7] = ["like", "glob", "regexp", "match", "select", "exists", "raise"];
const COLLATIONS: [&str; 3] = ["binary", "nocase", "rtrim"];

/// Columns, literals and comparisons alone: nothing in it runs code that somebody else chose.
pub fn is_plain(expression: &[Token]) -> bool {
    let calls = expression.windows(2).any(|pair| match pair {
        [Token::Word(word), Token::Sign('(')] => !BEFORE_A_BRACKET.contains(&word.as_str()),
        [Token::Sign('-'), Token::Sign('>')] => true,
        [collate, Token::Word(word)] if collate.is("collate") => !COLLATIONS.contains(&word.as_str()),
        _ => false,
    });
    !calls && !expression.iter().any(|token| NOT_PLAIN.iter().any(|word| token.is(word)))
}

/// `found` is `ours` with columns behind it that another program added, whose values are constants.
pub fn only_adds_columns(ours: &[Token], found: &[Token]) -> bool {
    let Some(end) = ours.iter().rposition(|token| *token == Token::Sign(')')) else { return false };
    let (head, tail) = ours.split_at(end);
    let Some(added) = found.strip_prefix(head).and_then(|rest| rest.strip_suffix(tail)) else { return false };
    let refers = |at: usize| at >= 2 && added[at - 2].is("references");
    let brackets = added.iter().enumerate().filter(|(_, token)| **token == Token::Sign('('));
    let has_calls = { brackets }.any(|(at, _)| !refers(at));
    let collates = added.windows(2).filter(|pair| pair[0].is("collate"));
    let is_known = { collates }.all(|pair| COLLATIONS.iter().any(|known| pair[1].is(known)));
    added.first() == Some(&Token::Sign(',')) && !has_calls && is_known
}

#[cfg(test)]
mod tests {
    use super::{Token, is_plain, only_adds_columns, tokens};

    fn of(sql: &str) -> Vec<Token> {
        tokens(sql).unwrap_or_else(|| panic!("{sql} ends somewhere"))
    }

    #[test]
    fn what_is_only_written_otherwise_is_the_same() {
        let plain = of("CREATE TABLE jobs (id INTEGER, \"tag\" TEXT DEFAULT 'it''s')");
        for other in [
            "CREATE TABLE \"jobs\" (id INTEGER, tag TEXT DEFAULT 'it''s')",
            "create table [Jobs](id integer,`tag` text default 'it''s')",
            "CREATE TABLE jobs ( -- mine\n id /* number */ INTEGER,\n tag TEXT DEFAULT 'it''s' )",
        ] {
            assert_eq!(of(other), plain, "{other}");
        }
        for other in [
            "CREATE TABLE jobs (id INTEGER, tag TEXT DEFAULT 'IT''S')",
            "CREATE TABLE jobs (id INTEGER, tag TEXT DEFAULT \"it's\")",
            "CREATE TABLE jobs (\"id integer\", tag TEXT DEFAULT 'it''s')",
        ] {
            assert_ne!(of(other), plain, "{other}");
        }
        assert!(tokens("CREATE TABLE jobs (a DEFAULT 'x").is_none() && tokens("/* no end").is_none());
    }

    #[test]
    fn a_condition_without_functions_is_plain() {
        for plain in [
            "WHERE tag IS NOT NULL",
            "WHERE (state = 'new' OR priority > 3) AND id IN (1, 2)",
            "",
            "WHERE a COLLATE nocase = 'x'",
        ] {
            assert!(is_plain(&of(plain)), "{plain}");
        }
        for other in [
            "WHERE length(tag) > 3",
            "WHERE \"length\"(tag) > 3",
            "WHERE length/**/(tag) > 3",
            "WHERE tag LIKE 'a%'",
            "WHERE params -> 'a' = 1",
            "WHERE tag COLLATE mine = 'a'",
        ] {
            assert!(!is_plain(&of(other)), "{other}");
        }
    }

    #[test]
    fn added_columns_are_told_from_everything_else() {
        let ours = of("CREATE TABLE jobs (id INTEGER PRIMARY KEY, tag TEXT CHECK (tag <> '')) STRICT");
        let with = |added: &str| {
            of(&format!("CREATE TABLE \"jobs\" (id INTEGER PRIMARY KEY, tag TEXT CHECK (tag <> ''){added}) STRICT"))
        };
        for harmless in [
            ", customer TEXT",
            ", customer TEXT NOT NULL DEFAULT 'none', n INTEGER DEFAULT -1",
            ", \"a (b)\" ANY COLLATE NOCASE",
            ", customer INTEGER REFERENCES customers (id) ON DELETE CASCADE",
        ] {
            assert!(only_adds_columns(&ours, &with(harmless)), "{harmless}");
        }
        for other in [
            "",
            " COLLATE NOCASE",
            ", c TEXT CHECK (hex(c) <> 'x')",
            ", c TEXT GENERATED ALWAYS AS (upper(tag))",
            ", c TEXT AS (upper(tag)) STORED",
            ", c TEXT DEFAULT (hex(randomblob(9)))",
            ", c TEXT COLLATE mine",
        ] {
            assert!(!only_adds_columns(&ours, &with(other)), "{other}");
        }
        assert!(!only_adds_columns(
            &ours,
            &of("CREATE TABLE jobs (id INTEGER PRIMARY KEY, c TEXT, tag TEXT CHECK (tag <> '')) STRICT")
        ));
    }
}
