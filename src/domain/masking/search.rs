//! Finds patterns in a text in every spelling, in one pass.
//!
//! The bytes as they are go through the automaton one after the other. Where a byte may be read in another way, a side way
//! begins with that reading and goes on behind it, for as long as it is in the middle of a pattern: nearly always, not one step.

use std::ops::Range;

use super::automaton::{Automaton, Node};
use super::patterns::{Pattern, Place};
use super::readings::{self, DEEPEST, Reading};

/// Side ways at a time. A text that is made to open more than this is read by those that are there.
const MOST_WAYS: usize = 256;
/// What is cut off for being long ends with this; what stands before it may be the beginning of a secret.
const CUT: &[u8] = "…".as_bytes();
/// So much of a beginning is worth hiding.
const BEGINNING: usize = 4;

#[derive(Debug)]
pub struct Search<'a> {
    automaton: &'a Automaton,
    patterns: &'a [Pattern],
    /// Which bytes stand in any pattern.
    occurs: &'a [bool; 256],
    text: &'a [u8],
    /// The byte before the text.
    before: Option<u8>,
    ways: Vec<Way>,
    found: Vec<Range<usize>>,
}

/// A reading of the text that differs from the bytes as they are.
#[derive(Debug, Clone)]
struct Way {
    /// The next byte.
    at: usize,
    node: Node,
    /// Where it left the bytes as they are.
    left: usize,
    /// For each byte that was read since: where it is written.
    origins: Vec<usize>,
    /// How many of them were read when it last read something other than a byte as it is.
    read: usize,
}

impl Way {
    /// Where the last `length` bytes that were read begin.
    fn origin(&self, length: usize) -> usize {
        match self.origins.len().checked_sub(length) {
            Some(index) => self.origins.get(index).copied().unwrap_or(self.at),
            None => (self.left + self.origins.len()).saturating_sub(length),
        }
    }
}

impl<'a> Search<'a> {
    pub fn new(
        automaton: &'a Automaton,
        patterns: &'a [Pattern],
        occurs: &'a [bool; 256],
        text: &'a [u8],
        before: Option<u8>,
    ) -> Self {
        Self { automaton, patterns, occurs, text, before, ways: Vec::new(), found: Vec::new() }
    }

    /// Where patterns stand, in order and apart.
    pub fn run(mut self) -> Vec<Range<usize>> {
        let text = self.text;
        let (mut node, mut previous, mut is_shallow) = (0, 0, true);
        for (at, byte) in text.iter().copied().enumerate() {
            if readings::begins(byte) || !self.ways.is_empty() {
                self.aside(at, node);
            }
            if byte == CUT[0] && text[at..].starts_with(CUT) {
                self.cut(at, node);
            }
            // At the root, or one byte into some pattern.
            if is_shallow && (node == 0 || !self.automaton.pair(previous, byte)) {
                node = self.automaton.start(byte);
            } else {
                node = self.automaton.step(node, byte);
                is_shallow = self.automaton.depth(node) <= 1;
            }
            previous = byte;
            if !is_shallow && self.automaton.has_ends(node) {
                self.note(node, at + 1, |length| at + 1 - length);
            }
        }
        merged(self.found)
    }

    /// All that happens at this byte beside reading it as it is.
    fn aside(&mut self, at: usize, node: Node) {
        let readings = self.readings(at);
        let mut here = Vec::new();
        for index in (0..self.ways.len()).rev() {
            if self.ways[index].at == at {
                here.push(self.ways.swap_remove(index));
            }
        }
        for reading in &readings {
            let way = Way { at, node, left: at, origins: Vec::new(), read: 0 };
            self.read(way, at, reading.bytes(), reading.end, true);
        }
        let Some(byte) = self.text.get(at).copied() else { return };
        for way in here {
            if byte == CUT[0] && self.text[at..].starts_with(CUT) {
                self.cut_way(&way);
            }
            for reading in &readings {
                self.read(way.clone(), at, reading.bytes(), reading.end, true);
            }
            self.read(way, at, &[byte], at + 1, false);
        }
    }

    /// What else this byte may be read as; nothing where no pattern knows that.
    fn readings(&self, at: usize) -> Vec<Reading> {
        if !self.text.get(at).is_some_and(|byte| readings::begins(*byte)) || self.is_plain(at) {
            return Vec::new();
        }
        let mut readings = readings::escapes(self.text, at, DEEPEST);
        readings.retain(|reading| reading.bytes().first().is_some_and(|byte| self.occurs[usize::from(*byte)]));
        readings
    }

    /// Whether nothing that could matter is spelt here: what most escapes are, seen without reading them in every way.
    fn is_plain(&self, at: usize) -> bool {
        let digit = |index: usize| self.text.get(at + index).and_then(|byte| char::from(*byte).to_digit(16));
        let matters = |byte: u8| readings::begins(byte) || self.occurs[usize::from(byte)];
        let Some(next) = self.text.get(at + 1).copied() else { return true };
        match self.text[at] {
            b'+' => !self.occurs[usize::from(b' ')],
            b'\\' => match next {
                b'"' | b'/' => !matters(next),
                b'n' | b'r' | b't' | b'b' | b'f' => !b"\n\r\t\x08\x0c".iter().any(|byte| matters(*byte)),
                b'u' => match (digit(2), digit(3), digit(4), digit(5)) {
                    (Some(0), Some(0), Some(high), Some(low)) if high < 8 => !matters((high << 4 | low) as u8),
                    // A secret that is not ASCII is read in every way.
                    (Some(_), Some(_), Some(_), Some(_)) => !self.occurs[128..].contains(&true),
                    _ => false,
                },
                next => next.is_ascii_alphanumeric() && next != b'x',
            },
            b'%' => match (digit(1), digit(2)) {
                (Some(high), Some(low)) => !matters((high << 4 | low) as u8),
                _ => !readings::begins(next) && !matches!(next, b'u' | b'U') && digit(1).is_none(),
            },
            _ => !(next == b'#' || next.is_ascii_alphabetic() || readings::begins(next)),
        }
    }

    /// Lets a way read something that is written from `at` to `end`, and keeps it if that leads anywhere.
    fn read(&mut self, mut way: Way, at: usize, bytes: &[u8], end: usize, otherwise: bool) {
        way.at = end;
        for byte in bytes {
            way.node = self.automaton.step(way.node, *byte);
            way.origins.push(at);
        }
        if otherwise {
            way.read = way.origins.len();
        }
        if self.automaton.has_ends(way.node) {
            self.note(way.node, end, |length| way.origin(length));
        }
        let depth = self.automaton.depth(way.node);
        // What it is in the middle of began behind its last escape: the bytes as they are come by here, too.
        if depth <= way.origins.len() - way.read {
            return;
        }
        let begun = way.origin(depth);
        let same = self.ways.iter().position(|other| other.at == way.at && other.node == way.node);
        match same.map(|index| (index, self.ways[index].origin(depth))) {
            Some((index, other)) if begun < other => self.ways[index] = way,
            Some(_) => {}
            None if self.ways.len() < MOST_WAYS => self.ways.push(way),
            None => {}
        }
    }

    fn note(&mut self, node: Node, end: usize, begun: impl Fn(usize) -> usize) {
        for pattern in self.automaton.ends(node) {
            let Pattern { text, place } = &self.patterns[pattern];
            let start = begun(text.len());
            if self.counts(*place, start, end) {
                let whole = self.whole(start, end);
                self.found.push(whole);
            }
        }
    }

    fn counts(&self, place: Place, start: usize, end: usize) -> bool {
        let byte = |at: Option<usize>| match at {
            Some(at) => self.text.get(at).copied(),
            None => self.before,
        };
        let (before, after) = (byte(start.checked_sub(1)), byte(Some(end)));
        let any = |test: fn(u8) -> bool| before.is_some_and(test) || after.is_some_and(test);
        match place {
            Place::Anywhere => true,
            Place::Alone => !any(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80),
            Place::Number => {
                let is_digit = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_digit());
                let part_before =
                    matches!(before, Some(b'.' | b',')) && start >= 2 && is_digit(self.text.get(start - 2).copied());
                let part_after = matches!(after, Some(b'.' | b',')) && is_digit(self.text.get(end + 1).copied());
                !(any(|byte| byte.is_ascii_digit()) || part_before || part_after)
            }
        }
    }

    /// A backslash goes with what it escapes: half of an escape would make JSON unreadable.
    fn whole(&self, start: usize, end: usize) -> Range<usize> {
        let odd = |text: &[u8]| text.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
        let escaped =
            matches!(self.text.get(start), Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' | b'u'));
        let start = if escaped && odd(&self.text[..start]) { start - 1 } else { start };
        let is_sign = self.text.get(end).is_some_and(u8::is_ascii);
        let end = if is_sign && odd(&self.text[start..end]) { end + 1 } else { end };
        start..end
    }

    /// Here the rest of a text was cut off: the beginning of a secret is hidden, too.
    fn cut(&mut self, at: usize, node: Node) {
        let depth = self.automaton.depth(node);
        if depth >= BEGINNING {
            self.found.push(at - depth..at);
        }
    }

    fn cut_way(&mut self, way: &Way) {
        let depth = self.automaton.depth(way.node);
        if depth >= BEGINNING {
            self.found.push(way.origin(depth)..way.at);
        }
    }
}

fn merged(mut found: Vec<Range<usize>>) -> Vec<Range<usize>> {
    found.sort_by_key(|range| (range.start, range.end));
    let mut apart: Vec<Range<usize>> = Vec::with_capacity(found.len());
    for range in found {
        match apart.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => apart.push(range),
        }
    }
    apart
}
