//! Where commands write: results to stdout, remarks and progress to stderr.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use clap::builder::styling::{AnsiColor, Style};

use super::text;
use crate::domain::State;

/// The two streams, and what is known of their readers. Whatever is printed was cleaned by [`text`] before.
pub struct Term {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// stdout for what is handed through: nothing is cut out of it on its way to a file.
    through: Through,
    /// Columns, where stdout is a terminal.
    pub width: Option<u16>,
    /// Progress is shown only to people who watch.
    progress: Option<u16>,
    progress_shown: bool,
    pub json: bool,
}

impl Term {
    /// The process's own streams; colours go where anstream thinks that they are wanted.
    pub fn process(json: bool) -> Term {
        Term {
            width: columns(&io::stdout()),
            progress: columns(&io::stderr()),
            progress_shown: false,
            json,
            through: if io::stdout().is_terminal() { Through::Terminal(Vec::new()) } else { Through::File },
            out: Box::new(anstream::AutoStream::auto(io::stdout())),
            err: Box::new(anstream::AutoStream::auto(io::stderr())),
        }
    }

    /// Streams of somebody else's, as if they were no terminal.
    pub fn captured(json: bool, out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Term {
        Term { out, err, through: Through::Captured, width: None, progress: None, progress_shown: false, json }
    }

    /// A line of the result.
    pub fn say(&mut self, line: impl Display) -> io::Result<()> {
        self.wipe()?;
        writeln!(self.out, "{line}")?;
        self.out.flush()
    }

    /// What opros said, as one line that a terminal can bear.
    pub fn say_json(&mut self, raw: &str) -> io::Result<()> {
        self.say(text::json(raw))
    }

    /// A piece of what is handed through: byte for byte into a file or a pipe, and harmless on a terminal.
    pub fn raw(&mut self, piece: &[u8]) -> io::Result<()> {
        self.wipe()?;
        match &mut self.through {
            Through::File => io::stdout().write_all(piece),
            Through::Captured => self.out.write_all(piece),
            Through::Terminal(rest) => self.out.write_all(shown(rest, piece).as_bytes()),
        }
    }

    /// The last piece was handed through.
    pub fn raw_end(&mut self) -> io::Result<()> {
        if let Through::Terminal(rest) = &mut self.through {
            let cut_off = String::from_utf8_lossy(&std::mem::take(rest)).into_owned();
            self.out.write_all(cut_off.as_bytes())?;
        }
        if matches!(self.through, Through::File) { io::stdout().flush() } else { self.out.flush() }
    }

    /// A question; what is typed stands behind it.
    pub fn prompt(&mut self, words: &str) -> io::Result<()> {
        self.wipe()?;
        write!(self.err, "{words}")?;
        self.err.flush()
    }

    /// A remark beside the result.
    pub fn note(&mut self, line: impl Display) -> io::Result<()> {
        self.wipe()?;
        writeln!(self.err, "{line}")?;
        self.err.flush()
    }

    pub fn shows_progress(&self) -> bool {
        self.progress.is_some()
    }

    /// The one line that is written over and over.
    pub fn progress(&mut self, line: &str) -> io::Result<()> {
        let Some(width) = self.progress else { return Ok(()) };
        let line = text::cut(line, usize::from(width).saturating_sub(1));
        write!(self.err, "\r\x1b[K{line}")?;
        self.progress_shown = true;
        self.err.flush()
    }

    fn wipe(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.progress_shown) {
            return Ok(());
        }
        write!(self.err, "\r\x1b[K")?;
        self.err.flush()
    }

    /// Takes the progress line away.
    pub fn finish(&mut self) -> io::Result<()> {
        self.wipe()?;
        self.out.flush()
    }
}

enum Through {
    File,
    Captured,
    /// With the beginning of a letter whose end is in the next piece.
    Terminal(Vec<u8>),
}

/// A piece as a terminal may have it. What is not whole at its end is kept in `rest`.
fn shown(rest: &mut Vec<u8>, piece: &[u8]) -> String {
    let mut bytes = std::mem::take(rest);
    bytes.extend_from_slice(piece);
    if let Err(error) = std::str::from_utf8(&bytes)
        && error.error_len().is_none()
    {
        *rest = bytes.split_off(error.valid_up_to());
    }
    // Lines end by CR LF in a table; neither steers anything there.
    text::block(&String::from_utf8_lossy(&bytes).replace("\r\n", "\n"))
}

impl std::fmt::Debug for Term {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Term").field("width", &self.width).field("json", &self.json).finish_non_exhaustive()
    }
}

/// How wide it is; none when it is no terminal.
fn columns(stream: &(impl IsTerminal + std::os::fd::AsFd)) -> Option<u16> {
    if !stream.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(stream).ok().map(|size| size.ws_col);
    // Eighty is what a terminal that does not know has always been taken for.
    Some(size.filter(|columns| *columns >= 20).unwrap_or(80))
}

pub const BOLD: Style = Style::new().bold();
pub const DIM: Style = Style::new().dimmed();
pub const GOOD: Style = AnsiColor::Green.on_default();
pub const BAD: Style = AnsiColor::Red.on_default();
pub const CARE: Style = AnsiColor::Yellow.on_default();
pub const BUSY: Style = AnsiColor::Cyan.on_default();

pub fn state_style(state: State) -> Style {
    match state {
        State::Succeeded => GOOD,
        State::Failed | State::Rejected | State::Expired => BAD,
        State::InDoubt => CARE,
        State::Cancelled => DIM,
        State::Submitting | State::Waiting => BUSY,
        State::Queued => Style::new(),
    }
}

pub fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn what_is_handed_through_cannot_steer_a_terminal_wherever_it_is_cut() {
        let text = "a,\u{1b}]0;PWN\u{7}x\u{7f}y\u{9b}31m\u{202e}Каналы\r\nb\n";
        let whole = shown(&mut Vec::new(), text.as_bytes());
        assert_eq!(whole, "a,\\u{1b}]0;PWN\\u{7}x\\u{7f}y\\u{9b}31m\\u{202e}Каналы\nb\n");
        for cut in 0..text.len() {
            let mut rest = Vec::new();
            let (first, second) = text.as_bytes().split_at(cut);
            let both = shown(&mut rest, first) + &shown(&mut rest, second);
            // A line's end may itself be cut in two: then its first half is spelt out.
            assert_eq!(both.replace("\\u{d}", ""), whole, "cut at {cut}");
            assert!(rest.is_empty());
        }
    }
}
