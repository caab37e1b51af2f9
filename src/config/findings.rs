//! Everything that was found while reading: problems, warnings, and the words that would have been right.

use std::cell::RefCell;
use std::collections::BTreeSet;

use figment::value::Dict;

use super::layers::{Merged, Origin, PREFIX};
use super::problem::{Problem, Problems};
use super::reader::Section;

/// Collects; a wrong value never stops the reading of the others. No message ever repeats a value: it may be a secret.
pub(super) struct Findings {
    pub(super) layers: Merged,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    /// Every key that was asked for, dotted.
    known: RefCell<BTreeSet<String>>,
    /// Keys that nobody asked for.
    unknown: RefCell<Vec<Vec<String>>>,
}

impl Findings {
    pub(super) fn new(layers: Merged) -> Self {
        let (problems, warnings) = Default::default();
        Self { layers, problems, warnings, known: RefCell::default(), unknown: RefCell::default() }
    }

    pub(super) fn root(&self) -> Section<'_> {
        Section::new(self, Vec::new(), &self.layers.values, Origin::Shipped)
    }

    pub(super) fn problem(&self, path: &[String], message: impl Into<String>, hint: Option<String>) {
        self.problems.borrow_mut().push(self.at(path, message.into(), hint));
    }

    pub(super) fn warning(&self, path: &[String], message: impl Into<String>) {
        let warning = self.at(path, message.into(), None);
        let mut warnings = self.warnings.borrow_mut();
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    pub(super) fn know(&self, path: &[String]) {
        self.known.borrow_mut().insert(path.join("."));
    }

    pub(super) fn not_asked_for(&self, path: Vec<String>) {
        self.unknown.borrow_mut().push(path);
    }

    /// The warnings, or else all problems.
    pub(super) fn finish(self) -> Result<Vec<Problem>, Problems> {
        for path in self.unknown.take() {
            self.complain_of_unknown(&path);
        }
        let mut problems = self.problems.into_inner();
        if problems.is_empty() {
            return Ok(self.warnings.into_inner());
        }
        problems.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        Err(Problems(problems))
    }

    fn complain_of_unknown(&self, path: &[String]) {
        let known = self.known.borrow();
        if self.origin(path) == Some(Origin::Environment) {
            let variables = known.iter().filter(|key| !key.contains('['));
            let variables = variables.map(|key| self.layers.variable(&dotted(key)));
            // The prefix is common to all and would make everything look near.
            let hint = nearest_after(PREFIX, &self.variable_in(path), variables);
            self.problem(path, "unknown variable", hint);
        } else if let [parents @ .., last] = path {
            let prefix = parents.iter().map(|step| format!("{step}.")).collect::<String>();
            let siblings = known.iter().filter_map(|key| key.strip_prefix(&prefix)).map(str::to_owned);
            self.problem(path, "unknown key", nearest(last, siblings));
        }
    }

    /// The layer that the value at `path` came from; for an element of an array, the array's.
    pub(super) fn origin(&self, path: &[String]) -> Option<Origin> {
        let mut values: &Dict = &self.layers.values;
        for (depth, step) in path.iter().enumerate() {
            let (name, is_element) = step.split_once('[').map_or((step.as_str(), false), |(name, _)| (name, true));
            let value = values.get(name)?;
            if is_element || depth + 1 == path.len() {
                return self.layers.origin(value.tag());
            }
            values = value.as_dict()?;
        }
        None
    }

    pub(super) fn place(&self, path: &[String]) -> Problem {
        self.at(path, String::new(), None)
    }

    fn at(&self, path: &[String], message: String, hint: Option<String>) -> Problem {
        let key = path.join(".");
        let from = self.origin(path);
        let document = self.layers.document.as_ref();
        let parent = path.len().saturating_sub(1);
        // What is missing is missed where its table begins.
        let line = document.and_then(|document| document.line_of(path).or_else(|| document.line_of(&path[..parent])));
        let (file, line, key) = match (from, document) {
            (Some(Origin::CommandLine), _) => (Origin::CommandLine.name(), None, key),
            (Some(Origin::Environment), _) => (Origin::Environment.name(), None, self.variable_in(path)),
            (Some(Origin::File), Some(document)) => (document.file.as_str(), line, key),
            (None, Some(document)) if line.is_some() || path.is_empty() => (document.file.as_str(), line, key),
            (None, _) if self.origin(&path[..parent]) == Some(Origin::Environment) => {
                (Origin::Environment.name(), None, self.variable_in(path))
            }
            (None, Some(document)) => (document.file.as_str(), None, key),
            _ => (Origin::Shipped.name(), None, key),
        };
        Problem { file: file.to_owned(), line, key, message, hint, is_unread: false }
    }

    fn variable_in(&self, path: &[String]) -> String {
        // Nothing inside an array has a variable of its own.
        let end = path.iter().position(|step| step.contains('[')).map_or(path.len(), |at| at + 1);
        let mut path = path[..end].to_vec();
        if let Some(last) = path.last_mut() {
            last.truncate(last.find('[').unwrap_or(last.len()));
        }
        self.layers.variable(&path)
    }
}

fn dotted(key: &str) -> Vec<String> {
    key.split('.').map(str::to_owned).collect()
}

/// Below this a word is no slip of the hand but another word.
const NEAR: f64 = 0.6;

/// The candidate that looks most like `word`, if any looks like it at all.
pub(super) fn nearest(word: &str, candidates: impl IntoIterator<Item = String>) -> Option<String> {
    nearest_after("", word, candidates)
}

fn nearest_after(prefix: &str, word: &str, candidates: impl IntoIterator<Item = String>) -> Option<String> {
    let bare = |text: &str| text.strip_prefix(prefix).unwrap_or(text).to_lowercase();
    let scored = candidates.into_iter().map(|candidate| {
        let score = strsim::normalized_damerau_levenshtein(&bare(word), &bare(&candidate));
        (score, candidate)
    });
    let best = scored.filter(|(score, _)| *score >= NEAR).max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.map(|(_, candidate)| candidate)
}
