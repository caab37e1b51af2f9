//! System calls that fail, kill or take long, by strace, on store and mailbox or on whatever the daemon does.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::life::Trouble;
use crate::campaign::Dice;

/// Reads and writes of sockets are not among them: what hears signals inside the daemon is a pair of sockets as well, and no
/// kernel fails those; the played vendors cut connections.
/// What the calls are, how they fail, and how many of them one thread makes in a life, more or less.
const CALLS: [(&str, &[&str], u64); 13] = [
    ("fsync", &["EIO", "ENOSPC"], 12),
    ("pwrite64", &["EIO", "ENOSPC"], 60),
    ("pread64", &["EIO"], 25),
    ("openat", &["EIO", "ENOSPC", "EMFILE", "EACCES"], 40),
    ("ftruncate", &["EIO", "ENOSPC"], 2),
    ("fallocate", &["EIO", "ENOSPC"], 2),
    ("unlink", &["EIO", "EROFS"], 3),
    ("rename", &["EIO", "ENOSPC"], 3),
    ("mkdir", &["ENOSPC", "EROFS"], 3),
    ("fcntl", &["ENOLCK", "EAGAIN"], 80),
    ("connect", &["ECONNREFUSED", "ENETUNREACH", "EMFILE"], 6),
    ("socket", &["EMFILE", "ENFILE"], 5),
    ("accept4", &["EMFILE", "ECONNABORTED"], 8),
];
/// Those that are made on files of the store or the mailbox too.
const ON_FILES: usize = 10;

#[derive(Debug, Clone)]
pub struct Injection {
    call: &'static str,
    how: How,
    /// The first call of a thread that is struck.
    nth: u64,
    /// Every later one too.
    onwards: bool,
    /// Only calls on the files of store and mailbox.
    on_files: bool,
    /// Ends the life if nothing else does; by SIGKILL or in order.
    pub lasts: Duration,
    pub by_force: bool,
}

#[derive(Debug, Clone, Copy)]
enum How {
    Error(&'static str),
    Kill,
    /// Microseconds before the call is made.
    Delay(u64),
}

pub fn missing() -> Option<String> {
    let version = Command::new("strace").arg("-V").output();
    version.is_err().then(|| "strace is not installed (apt-get install strace)".to_owned())
}

pub fn draw(dice: &mut Dice) -> Trouble {
    // The disk's calls more often than the others: it is they that money hangs on.
    let at = if dice.below(2) == 0 { dice.below(3) } else { dice.below(CALLS.len() as u64) } as usize;
    let (call, errors, most) = CALLS[at];
    let how = match dice.below(8) {
        0 | 1 => How::Kill,
        2 => How::Delay(5_000 + dice.below(60_000)),
        _ => How::Error(errors[dice.below(errors.len() as u64) as usize]),
    };
    let onwards = matches!(how, How::Delay(_)) || dice.below(4) == 0;
    Trouble::Syscall(Injection {
        call,
        how,
        // The start makes most of the calls: half of the draws are early ones, which a thread that is born later makes, too.
        nth: 1 + if dice.below(2) == 0 { dice.below(most) } else { dice.below(most.div_ceil(4)) },
        onwards,
        on_files: at < ON_FILES && dice.below(4) > 0,
        lasts: Duration::from_millis(1_500 + dice.below(2_000)),
        by_force: dice.below(3) == 0,
    })
}

impl Injection {
    /// The tracer is the daemon's grandchild, so that signals and exit codes are the daemon's own.
    pub fn wrapper(&self, trace: &Path, data: &Path) -> Vec<OsString> {
        let mut words: Vec<OsString> = ["strace", "-D", "-f", "-qq"].map(OsString::from).into();
        if !matches!(self.how, How::Kill) {
            // Quicker, since other calls are not stopped at; with it strace forgets its signals.
            words.push("--seccomp-bpf".into());
        }
        words.push("-e".into());
        words.push(format!("trace={}", self.call).into());
        words.push("-e".into());
        words.push(format!("inject={}", self.rule()).into());
        words.push("-o".into());
        words.push(trace.into());
        if self.on_files {
            let files = ["store/opros.db", "store/opros.db-wal", "mailbox/mailbox.db", "mailbox/mailbox.db-wal"];
            words.extend(files.iter().flat_map(|file| [OsString::from("-P"), data.join(file).into()]));
        }
        words
    }

    fn rule(&self) -> String {
        let how = match self.how {
            How::Error(name) => format!("error={name}"),
            How::Kill => "signal=SIGKILL".to_owned(),
            How::Delay(microseconds) => format!("delay_enter={microseconds}"),
        };
        format!("{}:{how}:when={}{}", self.call, self.nth, if self.onwards { "+" } else { "" })
    }

    pub fn name(&self) -> String {
        match self.how {
            How::Error(name) => format!("{} {name}", self.call),
            How::Kill => format!("{} SIGKILL", self.call),
            How::Delay(_) => format!("{} slow", self.call),
        }
    }

    pub fn words(&self) -> String {
        format!("{}{}", self.rule(), if self.on_files { " on store and mailbox" } else { "" })
    }
}

/// How many calls were struck; a kill leaves no such mark.
pub fn struck(trace: &Path) -> usize {
    let text = std::fs::read_to_string(trace).unwrap_or_default();
    text.lines().filter(|line| line.contains("(INJECTED)") || line.contains("(DELAYED)")).count()
}
