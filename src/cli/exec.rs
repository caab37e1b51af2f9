//! `watch --exec`: a program for every event, with the event as JSON on its standard input; and the place that was reached.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::failure::Failure;

/// A program and its arguments; no shell.
#[derive(Debug)]
pub struct Program {
    program: String,
    arguments: Vec<String>,
}

impl Program {
    /// None where there are no words.
    pub fn of(words: &[String]) -> Option<Program> {
        let (program, arguments) = words.split_first()?;
        Some(Program { program: program.clone(), arguments: arguments.to_vec() })
    }

    /// Runs it to its end. `Err` holds why it did not take the event.
    pub async fn take(&self, event: &str) -> Result<Result<(), String>, Failure> {
        let mut command = Command::new(&self.program);
        let spawned = command.args(&self.arguments).stdin(Stdio::piped()).kill_on_drop(true).spawn();
        let mut child =
            spawned.map_err(|error| Failure::Usage(format!("{} cannot be started: {error}", self.program)))?;
        let input = child.stdin.take();
        let feed = async {
            // A program that does not read its input is no failure: its exit code decides.
            if let Some(mut input) = input {
                let _ = input.write_all(format!("{event}\n").as_bytes()).await;
                let _ = input.shutdown().await;
            }
        };
        let ((), status) = tokio::join!(feed, child.wait());
        let status = status.map_err(|error| Failure::Broken(format!("{}: {error}", self.program)))?;
        Ok(self.verdict(status))
    }

    fn verdict(&self, status: ExitStatus) -> Result<(), String> {
        match status.code() {
            Some(0) => Ok(()),
            Some(code) => Err(format!("{} ended with exit code {code}", self.program)),
            None => Err(format!("{} was ended by a signal", self.program)),
        }
    }
}

/// Events that were not asked for are noted this often: after a crash they are passed over once more, which nobody sees.
const PASSED_EVERY: Duration = Duration::from_secs(1);

/// A file that holds the number of the last event that is done with.
#[derive(Debug)]
pub struct Cursor {
    path: PathBuf,
    /// When the file was written last, and how often so far.
    written: Cell<Option<Instant>>,
    writes: Cell<u64>,
}

impl Cursor {
    /// The place to go on from; none in a file that is not there yet.
    pub fn open(path: &Path) -> Result<(Cursor, Option<i64>), Failure> {
        let cursor = Cursor { path: path.to_owned(), written: Cell::new(None), writes: Cell::new(0) };
        match std::fs::read_to_string(path) {
            Ok(text) => match text.trim().parse::<i64>().ok().filter(|seq| *seq >= 0) {
                Some(seq) => Ok((cursor, Some(seq))),
                None => Err(Failure::Usage(format!(
                    "{} does not hold the number of an event; remove it to begin with what happens from now on",
                    path.display()
                ))),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok((cursor, None)),
            Err(error) => Err(cursor.trouble(&error)),
        }
    }

    /// Replaces the file as a whole: a crash leaves the old number or the new one.
    pub fn reached(&self, seq: i64) -> Result<(), Failure> {
        let directory = self.path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            std::io::Write::write_all(&mut file, format!("{seq}\n").as_bytes())?;
            file.as_file().sync_data()?;
            file.persist(&self.path).map_err(|error| error.error).map(drop)
        };
        write().map_err(|error| self.trouble(&error))?;
        self.written.set(Some(Instant::now()));
        self.writes.set(self.writes.get() + 1);
        Ok(())
    }

    /// An event that nobody asked for: it costs no write of its own.
    pub fn passed(&self, seq: i64) -> Result<(), Failure> {
        if self.written.get().is_some_and(|at| at.elapsed() < PASSED_EVERY) { Ok(()) } else { self.reached(seq) }
    }

    fn trouble(&self, error: &std::io::Error) -> Failure {
        Failure::Usage(format!("the place cannot be kept in {}: {error}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::Cursor;

    #[test]
    fn events_that_nobody_asked_for_do_not_each_cost_a_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cursor");
        let (cursor, place) = Cursor::open(&path).unwrap();
        assert_eq!(place, None);
        let begun = std::time::Instant::now();
        for seq in 1..=10_000 {
            cursor.passed(seq).unwrap();
        }
        let seconds = begun.elapsed().as_secs();
        assert!(cursor.writes.get() <= seconds + 2, "{} writes in {seconds} s", cursor.writes.get());
        // One that was asked for is noted at once.
        cursor.reached(10_001).unwrap();
        assert_eq!(Cursor::open(&path).unwrap().1, Some(10_001));
    }
}
