//! What is wrong with a configuration: all of it at once, each with its place.

use std::fmt;

/// One thing that is wrong, and where. Never holds a secret's value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problem {
    /// The file's path, or `environment`, `command line`, `built-in defaults`.
    pub file: String,
    pub line: Option<usize>,
    /// Dotted, such as `accounts.tronk.poll`; a variable's name where the environment is meant.
    pub key: String,
    pub message: String,
    /// The nearest word that would have been right.
    pub hint: Option<String>,
    /// A file could not be read at all: nothing in it is wrong.
    pub is_unread: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; did you mean \"{hint}\"?"),
            None => Ok(()),
        }
    }
}

/// Everything that was found, one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
