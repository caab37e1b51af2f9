//! What a place in a text may mean to whoever decodes it, once or several times over: JSON's escapes, percent-encoding,
//! HTML's entities, and any of them inside another.
//!
//! Every reading of a place begins with a backslash, a percent sign, an ampersand or a plus, whatever it is wrapped in: a text
//! without these has none but itself.

/// How many encoders may have gone over a text, one after the other.
pub const DEEPEST: u32 = 4;
/// The most digits of a number in an entity, leading zeros included.
const MOST_DIGITS: usize = 20;
/// The longest name of an entity in [`NAMED`].
const LONGEST_NAME: usize = 8;

/// A character, as it is written in UTF-8 (or one byte of it), and where the text goes on behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    bytes: [u8; 4],
    length: u8,
    pub end: usize,
}

impl Reading {
    fn byte(byte: u8, end: usize) -> Self {
        Self { bytes: [byte, 0, 0, 0], length: 1, end }
    }

    fn character(number: u32, end: usize) -> Option<Self> {
        let mut bytes = [0; 4];
        let length = char::from_u32(number)?.encode_utf8(&mut bytes).len() as u8;
        Some(Self { bytes, length, end })
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    fn single(&self) -> Option<u8> {
        (self.length == 1).then_some(self.bytes[0])
    }
}

/// Whether a reading other than the byte itself can begin with it.
#[inline]
pub fn begins(byte: u8) -> bool {
    matches!(byte, b'\\' | b'%' | b'&' | b'+')
}

/// What stands there beside the byte itself, after at most `depth` decodings.
pub fn escapes(text: &[u8], at: usize, depth: u32) -> Vec<Reading> {
    let mut found = Found(Vec::new());
    let Some(first) = text.get(at).copied().filter(|byte| depth > 0 && begins(*byte)) else { return found.0 };
    let (row, written) = if first == b'\\' && text.get(at + 1) == Some(&b'\\') {
        (backslashes(text, at, depth, &mut found), None)
    } else {
        found.0 = escapes(text, at, depth - 1);
        (at, Some(Reading::byte(first, at + 1)))
    };
    for begun in written.into_iter().chain(found.0.clone()).filter(|begun| begun.end > row) {
        let end = begun.end;
        match begun.single() {
            Some(b'\\') => behind_backslash(text, end, depth - 1, &mut found),
            Some(b'%') => behind_percent(text, end, depth - 1, &mut found),
            Some(b'&') => behind_ampersand(text, end, depth - 1, &mut found),
            Some(b'+') => found.add(Reading::byte(b' ', end)),
            Some(_) | None => {}
        }
    }
    found.0
}

struct Found(Vec<Reading>);

impl Found {
    fn add(&mut self, reading: Reading) {
        if !self.0.contains(&reading) {
            self.0.push(reading);
        }
    }
}

/// Several backslashes in a row: one that was escaped again and again, and then what it escapes. As many as `depth` encoders
/// make of one are tried, so that a page full of them costs no more than its length. Says where they end.
fn backslashes(text: &[u8], at: usize, depth: u32, found: &mut Found) -> usize {
    let most = 1_usize << depth;
    let count = text[at..].iter().take(most + 1).take_while(|byte| **byte == b'\\').count();
    for length in 2..=count.min(most) {
        found.add(Reading::byte(b'\\', at + length));
    }
    if count <= most {
        // What it escapes may begin with backslashes of its own.
        for own in [0, 1, 2, 4].into_iter().filter(|own| *own < count) {
            behind_backslash(text, at + count - own, depth - 1, found);
        }
    }
    at + count
}

/// Every character that stands there: the byte itself, and what it may be read as.
fn characters(text: &[u8], at: usize, depth: u32) -> impl Iterator<Item = (u8, usize)> {
    let itself = text.get(at).map(|byte| (*byte, at + 1));
    let read = escapes(text, at, depth);
    itself.into_iter().chain(read.into_iter().filter_map(|reading| Some((reading.single()?, reading.end))))
}

/// The one digit that stands there.
fn digit(text: &[u8], at: usize, base: u32, depth: u32) -> Option<(u32, usize)> {
    characters(text, at, depth).find_map(|(byte, end)| Some((char::from(byte).to_digit(base)?, end)))
}

fn hex(text: &[u8], at: usize, count: usize, depth: u32) -> Option<(u32, usize)> {
    (0..count).try_fold((0, at), |(number, at), _| {
        let (digit, end) = digit(text, at, 16, depth)?;
        Some((number << 4 | digit, end))
    })
}

/// JSON and JavaScript: `\/`, `\n`, `\u002f`, two of these for what lies beyond, `\x2f`, and whatever sign was escaped for no need.
fn behind_backslash(text: &[u8], at: usize, depth: u32, found: &mut Found) {
    for (byte, end) in characters(text, at, depth) {
        let plain = |byte| Some(Reading::byte(byte, end));
        let read = match byte {
            b'b' => plain(8),
            b'f' => plain(12),
            b'n' => plain(b'\n'),
            b'r' => plain(b'\r'),
            b't' => plain(b'\t'),
            b'u' => unit(text, end, depth),
            b'x' => hex(text, end, 2, depth).and_then(|(number, end)| Reading::character(number, end)),
            sign if sign.is_ascii_punctuation() => plain(sign),
            _ => None,
        };
        read.into_iter().for_each(|reading| found.add(reading));
    }
}

/// Four hex digits, and the other half of a pair where they are one half.
fn unit(text: &[u8], at: usize, depth: u32) -> Option<Reading> {
    let (high, end) = hex(text, at, 4, depth)?;
    if !(0xd800..0xdc00).contains(&high) {
        return Reading::character(high, end);
    }
    let behind = |wanted: u8, at: usize| characters(text, at, depth).filter(move |(byte, _)| *byte == wanted);
    let mut ends = behind(b'\\', end).flat_map(|(_, end)| behind(b'u', end));
    let low = |at: usize| {
        let (low, end) = hex(text, at, 4, depth)?;
        Some((low.checked_sub(0xdc00).filter(|low| *low < 0x400)?, end))
    };
    let (low, end) = ends.find_map(|(_, end)| low(end))?;
    Reading::character(0x10000 + ((high - 0xd800) << 10 | low), end)
}

/// `%2F`, a byte of UTF-8; and JavaScript's old `%u002F`.
fn behind_percent(text: &[u8], at: usize, depth: u32, found: &mut Found) {
    if let Some((number, end)) = hex(text, at, 2, depth) {
        found.add(Reading::byte(number as u8, end));
    }
    for (byte, end) in characters(text, at, depth) {
        if matches!(byte, b'u' | b'U')
            && let Some((number, end)) = hex(text, end, 4, depth)
        {
            Reading::character(number, end).into_iter().for_each(|reading| found.add(reading));
        }
    }
}

/// `&sol;`, `&#47;`, `&#x002f;`.
fn behind_ampersand(text: &[u8], at: usize, depth: u32, found: &mut Found) {
    for (byte, end) in characters(text, at, depth) {
        let read = match byte {
            b'#' => number(text, end, depth),
            byte if byte.is_ascii_alphabetic() => name(text, at, depth),
            _ => None,
        };
        read.into_iter().for_each(|reading| found.add(reading));
    }
}

fn number(text: &[u8], mut at: usize, depth: u32) -> Option<Reading> {
    let hex_mark = characters(text, at, depth).find(|(byte, _)| matches!(byte, b'x' | b'X'));
    let base = if hex_mark.is_some() { 16 } else { 10 };
    at = hex_mark.map_or(at, |(_, end)| end);
    let (mut number, mut digits) = (0_u32, 0);
    while let Some((digit, end)) = digit(text, at, base, depth).filter(|_| digits < MOST_DIGITS) {
        number = number.saturating_mul(base).saturating_add(digit);
        (at, digits) = (end, digits + 1);
    }
    Reading::character(number, behind_semicolon(text, at, depth)?).filter(|_| digits > 0)
}

fn behind_semicolon(text: &[u8], at: usize, depth: u32) -> Option<usize> {
    characters(text, at, depth).find(|(byte, _)| *byte == b';').map(|(_, end)| end)
}

fn name(text: &[u8], mut at: usize, depth: u32) -> Option<Reading> {
    let mut name = Vec::new();
    while name.len() <= LONGEST_NAME {
        if let Some(end) = behind_semicolon(text, at, depth) {
            let known = NAMED.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(&name))?;
            return Some(Reading::byte(known.1, end));
        }
        let (letter, end) = characters(text, at, depth).find(|(byte, _)| byte.is_ascii_alphabetic())?;
        name.push(letter);
        at = end;
    }
    None
}

/// HTML's names of the signs of ASCII.
const NAMED: [(&str, u8); 39] = [
    ("amp", b'&'),
    ("lt", b'<'),
    ("gt", b'>'),
    ("quot", b'"'),
    ("apos", b'\''),
    ("sol", b'/'),
    ("bsol", b'\\'),
    ("plus", b'+'),
    ("equals", b'='),
    ("percnt", b'%'),
    ("num", b'#'),
    ("dollar", b'$'),
    ("excl", b'!'),
    ("lpar", b'('),
    ("rpar", b')'),
    ("ast", b'*'),
    ("midast", b'*'),
    ("comma", b','),
    ("period", b'.'),
    ("colon", b':'),
    ("semi", b';'),
    ("quest", b'?'),
    ("commat", b'@'),
    ("lsqb", b'['),
    ("lbrack", b'['),
    ("rsqb", b']'),
    ("rbrack", b']'),
    ("hat", b'^'),
    ("lowbar", b'_'),
    ("grave", b'`'),
    ("lcub", b'{'),
    ("lbrace", b'{'),
    ("verbar", b'|'),
    ("vert", b'|'),
    ("rcub", b'}'),
    ("rbrace", b'}'),
    ("hyphen", b'-'),
    ("tab", b'\t'),
    ("newline", b'\n'),
];
