//! systemd's journal: each line with its fields, to be found by them (`journalctl -u opros JOB_ID=812`).
//!
//! The protocol is a datagram of `KEY=value` lines. Values are clean, so none holds a newline, and short, so each entry fits.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::Level;

use super::line::{Line, name};

/// A journal that stands still must not hold up the daemon.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// Fails where no journal listens.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Journal> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        // An empty entry is passed over; it shows that somebody is there.
        socket.send_to(b"", path.as_ref())?;
        Ok(Journal { socket, path: path.as_ref().to_owned() })
    }

    pub fn send(&self, line: &Line) -> io::Result<()> {
        // By its path each time: the journal may have been started anew.
        self.socket.send_to(entry(line).as_bytes(), &self.path).map(drop)
    }
}

/// `MESSAGE` is what the text log would say: whoever does not ask for fields sees them there.
fn entry(line: &Line) -> String {
    let priority = match line.level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    };
    let mut entry = format!("PRIORITY={priority}\nSYSLOG_IDENTIFIER=opros\nTARGET={}\n", line.target);
    entry.push_str(&format!("MESSAGE={}\n", line.text()));
    for (field, value) in &line.fields {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        entry.push_str(&format!("{}={value}\n", key(name(field))));
    }
    entry
}

/// Capitals, digits and underscores; the journal's own keys are not ours to set.
fn key(field: &str) -> String {
    let upper: String =
        field.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    match upper.as_str() {
        "MESSAGE" | "PRIORITY" | "SYSLOG_IDENTIFIER" | "TARGET" => format!("FIELD_{upper}"),
        _ if upper.starts_with(|c: char| c == '_' || c.is_ascii_digit()) => format!("FIELD{upper}"),
        _ => upper,
    }
}
