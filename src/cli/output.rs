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
            out: Box::new(anstream::AutoStream::auto(io::stdout())),
            err: Box::new(anstream::AutoStream::auto(io::stderr())),
        }
    }

    /// Streams of somebody else's, as if they were no terminal.
    pub fn captured(json: bool, out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Term {
        Term { out, err, width: None, progress: None, progress_shown: false, json }
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

    /// A piece of what is handed through.
    pub fn raw(&mut self, piece: &[u8]) -> io::Result<()> {
        self.wipe()?;
        self.out.write_all(piece)
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
