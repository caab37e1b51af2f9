//! Secrets of ours are put out of whatever is stored, shown or sent on, in every valid spelling of every encoder.
//!
//! What a vendor answers is understood first, as it came, and what is made of it is masked afterwards ([`Mask`]): so no short
//! secret damages a number. A secret of fewer than six characters is masked only where it stands alone, one of fewer than
//! four not at all, and digits never inside a longer number, or where a short number could be meant.

mod answers;
mod automaton;
mod patterns;
mod readings;
mod search;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use serde_json::{Map, Value};

use self::automaton::Automaton;
pub use self::patterns::is_long;
use self::patterns::{Pattern, Place};
use self::search::Search;

const MASK: &str = "***";
/// The longest spelling that is found where a text comes in pieces: a secret of a hundred characters, each escaped three times
/// over with every letter as a number.
const LONGEST_SPELLING: usize = 64 << 10;

/// Finds secrets and puts `***` in their place.
pub struct Masker {
    automaton: Automaton,
    patterns: Vec<Pattern>,
    occurs: Box<[bool; 256]>,
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Masker").field("patterns", &self.patterns.len()).finish_non_exhaustive()
    }
}

impl Default for Masker {
    fn default() -> Self {
        Self::new(std::iter::empty())
    }
}

impl Masker {
    pub fn new<'a>(secrets: impl Iterator<Item = &'a str>) -> Self {
        let patterns = patterns::of(secrets);
        let automaton = Automaton::new(patterns.iter().map(|pattern| pattern.text.as_slice()));
        let mut occurs = Box::new([false; 256]);
        patterns.iter().flat_map(|pattern| &pattern.text).for_each(|byte| occurs[usize::from(*byte)] = true);
        Self { automaton, patterns, occurs }
    }

    fn find(&self, text: &[u8], before: Option<u8>) -> Vec<Range<usize>> {
        if self.patterns.is_empty() {
            return Vec::new();
        }
        Search::new(&self.automaton, &self.patterns, &self.occurs, text, before).run()
    }

    /// None where there is nothing to mask.
    pub fn bytes(&self, text: &[u8]) -> Option<Vec<u8>> {
        let found = self.find(text, None);
        if found.is_empty() { None } else { Some(replaced(text, &found, true)) }
    }

    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let found = self.find(text.as_bytes(), None);
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        let masked = replaced(text.as_bytes(), &found, false);
        Cow::Owned(match String::from_utf8(masked) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }

    /// JSON as text, which it still is afterwards; any other text is masked as one.
    fn json<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let is_json = |text: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
        let Some(masked) = self.bytes(text.as_bytes()) else { return Cow::Borrowed(text) };
        if !is_json(&masked)
            && let Ok(mut value) = serde_json::from_str::<Value>(text)
        {
            self.value(&mut value);
            return Cow::Owned(value.to_string());
        }
        Cow::Owned(String::from_utf8_lossy(&masked).into_owned())
    }

    /// Texts and names in a value. A number is masked only where it is a long secret and nothing else.
    pub fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.string(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(fields) => {
                fields.values_mut().for_each(|field| self.value(field));
                if fields.keys().any(|name| !self.find(name.as_bytes(), None).is_empty()) {
                    let renamed = std::mem::take(fields).into_iter();
                    *fields =
                        renamed.map(|(name, field)| (self.text(&name).into_owned(), field)).collect::<Map<_, _>>();
                }
            }
            Value::Number(number) => {
                let text = number.to_string();
                if self.patterns.iter().any(|it| it.place == Place::Number && it.text == text.as_bytes()) {
                    *value = Value::from(MASK);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    pub fn string(&self, text: &mut String) {
        if let Cow::Owned(masked) = self.text(text) {
            *text = masked;
        }
    }
}

/// `is_read`: the text may be read as JSON later on, and a number in it must stay one, however deep in texts it stands.
fn replaced(text: &[u8], found: &[Range<usize>], is_read: bool) -> Vec<u8> {
    let mut masked = Vec::with_capacity(text.len());
    let mut from = 0;
    for range in found {
        masked.extend_from_slice(&text[from..range.start]);
        let mask = if is_read && is_bare_number(text, range) { "0" } else { MASK };
        masked.extend_from_slice(mask.as_bytes());
        from = range.end;
    }
    masked.extend_from_slice(&text[from..]);
    masked
}

fn is_bare_number(text: &[u8], range: &Range<usize>) -> bool {
    let blank = |byte: &&u8| byte.is_ascii_whitespace();
    text[range.clone()].iter().all(u8::is_ascii_digit)
        && matches!(text[..range.start].iter().rev().find(|byte| !blank(byte)), Some(b':' | b',' | b'['))
        && matches!(text[range.end..].iter().find(|byte| !blank(byte)), Some(b',' | b'}' | b']'))
}

/// A text that comes in pieces, masked piece by piece.
#[derive(Debug)]
pub struct Stream {
    masker: Arc<Masker>,
    held: Vec<u8>,
    before: Option<u8>,
}

impl Stream {
    pub fn new(masker: Arc<Masker>) -> Self {
        Self { masker, held: Vec::new(), before: None }
    }

    /// What can be passed on by now.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        // Searching what is held back again and again must not cost more than searching what comes.
        if self.held.len() < 4 * LONGEST_SPELLING { Vec::new() } else { self.pass(self.held.len() - LONGEST_SPELLING) }
    }

    /// The rest.
    pub fn finish(mut self) -> Vec<u8> {
        self.pass(self.held.len())
    }

    fn pass(&mut self, mut until: usize) -> Vec<u8> {
        let mut found = self.masker.find(&self.held, self.before);
        if until < self.held.len() {
            found.retain(|range| range.start < until);
            // What begins before is passed on whole, and so is not searched again.
            until = found.last().map_or(until, |last| last.end.max(until));
        }
        let passed = replaced(&self.held[..until], &found, true);
        self.before = self.held[..until].last().copied().or(self.before);
        self.held.drain(..until);
        passed
    }
}

/// The secrets of this process, for whoever masks; it only learns: what was a secret once stays masked.
#[derive(Debug, Clone, Default)]
pub struct Masks(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    all: BTreeSet<String>,
    masker: Arc<Masker>,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("count", &self.all.len()).finish_non_exhaustive()
    }
}

impl Masks {
    pub fn of(secrets: impl IntoIterator<Item = String>) -> Self {
        let masks = Self::default();
        masks.learn(secrets);
        masks
    }

    /// These are secrets, too, from now on.
    pub fn learn(&self, secrets: impl IntoIterator<Item = String>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = known.all.len();
        known.all.extend(secrets);
        if known.all.len() > before {
            known.masker = Arc::new(Masker::new(known.all.iter().map(String::as_str)));
        }
    }

    pub fn masker(&self) -> Arc<Masker> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).masker)
    }

    pub fn text(&self, text: &str) -> String {
        self.masker().text(text).into_owned()
    }

    /// What one exchange is masked by: the process's secrets, and those of its own request.
    pub fn with(&self, of_request: Vec<String>) -> Masking {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let own: Vec<String> = of_request.into_iter().filter(|secret| !known.all.contains(secret)).collect();
        let own = (!own.is_empty()).then(|| Arc::new(Masker::new(own.iter().map(String::as_str))));
        Masking { known: Arc::clone(&known.masker), own }
    }
}

/// What holds for one exchange.
#[derive(Debug, Clone, Default)]
pub struct Masking {
    known: Arc<Masker>,
    own: Option<Arc<Masker>>,
}

impl Masking {
    /// By this one alone.
    pub fn by(masker: Arc<Masker>) -> Self {
        Self { known: masker, own: None }
    }

    fn maskers(&self) -> impl Iterator<Item = &Masker> {
        std::iter::once(self.known.as_ref()).chain(self.own.as_deref())
    }

    pub fn string(&self, text: &mut String) {
        self.maskers().for_each(|masker| masker.string(text));
    }

    pub fn value(&self, value: &mut Value) {
        self.maskers().for_each(|masker| masker.value(value));
    }

    /// JSON, as text.
    pub fn json(&self, text: &mut String) {
        for masker in self.maskers() {
            if let Cow::Owned(masked) = masker.json(text) {
                *text = masked;
            }
        }
    }

    pub fn bytes(&self, text: Bytes) -> Bytes {
        self.maskers().fold(text, |text, masker| masker.bytes(&text).map_or(text, Bytes::from))
    }
}

/// What may hold words of a stranger's, and is to be kept or shown.
pub trait Mask {
    fn mask(&mut self, masking: &Masking);
}

impl Mask for String {
    fn mask(&mut self, masking: &Masking) {
        masking.string(self);
    }
}

impl<T: Mask> Mask for Option<T> {
    fn mask(&mut self, masking: &Masking) {
        self.iter_mut().for_each(|one| one.mask(masking));
    }
}

impl<T: Mask> Mask for Vec<T> {
    fn mask(&mut self, masking: &Masking) {
        self.iter_mut().for_each(|one| one.mask(masking));
    }
}

impl<T: Mask> Mask for Box<T> {
    fn mask(&mut self, masking: &Masking) {
        self.as_mut().mask(masking);
    }
}
