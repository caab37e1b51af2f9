//! One event, handed to a program on its standard input. No shell, no inherited environment, and nothing that it started
//! outlives its time.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin};

use super::Parcel;
use crate::domain::Reason;
use crate::domain::delivery::Attempt;
use crate::domain::masking::Masks;
use crate::domain::privacy::masked;

/// What is kept of what it says on stderr: enough for its last line.
const STDERR: usize = 4 << 10;
/// What it left running may keep stderr open; it is not waited for longer than this.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// All that it is given of an environment.
const ENVIRONMENT: [(&str, &str); 2] =
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("LANG", "C.UTF-8")];

#[derive(Debug)]
pub struct Command {
    program: String,
    arguments: Vec<String>,
    timeout: Duration,
    masks: Masks,
}

impl Command {
    /// None where no program is named.
    pub fn new(run: Vec<String>, timeout: Duration, masks: Masks) -> Option<Command> {
        let mut words = run.into_iter();
        let program = words.next().filter(|program| !program.is_empty())?;
        Some(Command { program, arguments: words.collect(), timeout, masks })
    }

    /// Arguments may hold a secret.
    pub fn shown(&self) -> &str {
        &self.program
    }

    pub async fn deliver(&self, parcel: &Parcel) -> Attempt {
        let mut child = match self.spawn() {
            Ok(child) => child,
            Err(error) => return failed("not_started", format!("{} cannot be started: {error}", self.program), None),
        };
        // Whatever ends this, the time-out or the daemon's own end, ends the program and what it started.
        let mut group = Group(child.id().and_then(|id| Pid::from_raw(id as i32)));
        let fed = feed(child.stdin.take(), format!("{}\n", parcel.cloud_event));
        let mut said = Tail::default();
        let ended = tokio::time::timeout(self.timeout, run(&mut child, fed, &mut said)).await;
        match ended {
            Ok(Ok(status)) => {
                group.0 = None;
                self.verdict(status, &said)
            }
            Ok(Err(error)) => failed("broke", format!("{} could not be waited for: {error}", self.program), None),
            Err(_) => {
                drop(group);
                // The zombie is taken away; a killed program ends at once.
                let _ = tokio::time::timeout(LAST_WORDS, child.wait()).await;
                let message =
                    format!("it did not end within {:?} and was killed{}", self.timeout, self.last_line(&said));
                failed("timeout", message, None)
            }
        }
    }

    fn spawn(&self) -> std::io::Result<Child> {
        tokio::process::Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .envs(ENVIRONMENT)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    }

    fn verdict(&self, status: ExitStatus, said: &Tail) -> Attempt {
        if status.success() {
            return Attempt::Acknowledged { status: None };
        }
        let end = match status.code() {
            Some(code) => format!("it ended with exit code {code}"),
            None => "it was ended by a signal".to_owned(),
        };
        failed("exit", format!("{end}{}", self.last_line(said)), status.code())
    }

    /// What it said last, fit for a log.
    fn last_line(&self, said: &Tail) -> String {
        let text = String::from_utf8_lossy(&said.0);
        let Some(line) = text.lines().map(str::trim).rfind(|line| !line.is_empty()) else { return String::new() };
        format!(": {}", masked(&self.masks.text(line)))
    }
}

async fn run(child: &mut Child, fed: impl Future<Output = ()>, said: &mut Tail) -> std::io::Result<ExitStatus> {
    let mut stderr = child.stderr.take();
    let mut fed = std::pin::pin!(fed);
    let (mut is_fed, mut is_silent) = (false, stderr.is_none());
    loop {
        tokio::select! {
            status = child.wait() => {
                let status = status?;
                while !is_silent && matches!(tokio::time::timeout(LAST_WORDS, said.read(&mut stderr)).await, Ok(true)) {}
                return Ok(status);
            }
            () = &mut fed, if !is_fed => is_fed = true,
            more = said.read(&mut stderr), if !is_silent => is_silent = !more,
        }
    }
}

/// A program that does not read its input is no failure: its exit code decides.
async fn feed(stdin: Option<ChildStdin>, text: String) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(text.as_bytes()).await;
        let _ = stdin.shutdown().await;
    }
}

/// The last of what was said.
#[derive(Debug, Default)]
struct Tail(Vec<u8>);

impl Tail {
    /// False when there is no more.
    async fn read(&mut self, stderr: &mut Option<ChildStderr>) -> bool {
        let Some(stream) = stderr else { return false };
        let mut piece = [0; 1024];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.0.extend_from_slice(&piece[..read]);
                let beyond = self.0.len().saturating_sub(STDERR);
                self.0.drain(..beyond);
                true
            }
        }
    }
}

/// A process group that is killed when this is dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // Gone already is as good.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

fn failed(code: &str, message: String, status: Option<i32>) -> Attempt {
    Attempt::Failed { reason: Reason::new(code, message), status: status.and_then(|code| u16::try_from(code).ok()) }
}
