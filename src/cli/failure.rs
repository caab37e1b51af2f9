//! Why a command did not do what it was asked for.

use std::io;

use super::exit::Exit;
use super::problem::Problem;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line or a file that it names.
    #[error("{0}")]
    Usage(String),
    /// Nobody answered at the socket; the sentence says what to do.
    #[error("{0}")]
    Unreachable(String),
    /// opros was there, and the connection broke or the answer made no sense.
    #[error("{0}")]
    Broken(String),
    /// What was asked for may have been done: the answer did not come, or not in time.
    #[error("{0}")]
    Unanswered(String),
    #[error("{problem}")]
    Refused { status: u16, problem: Problem },
    /// Nobody reads our output any more, or the disk is full.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    pub fn exit(&self) -> Exit {
        match self {
            Failure::Usage(_) => Exit::Usage,
            Failure::Unreachable(_) => Exit::Unreachable,
            Failure::Broken(_) => Exit::Failed,
            Failure::Unanswered(_) => Exit::Unanswered,
            Failure::Refused { status: 404, .. } => Exit::NotFound,
            Failure::Refused { status: 400..500, .. } => Exit::Refused,
            Failure::Refused { .. } => Exit::Failed,
            Failure::Output(_) => Exit::Failed,
        }
    }

    /// The reader of our output has seen enough, such as `head`: that is no error.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// opros may be restarting: asking again can help.
    pub fn may_pass(&self) -> bool {
        match self {
            Failure::Unreachable(_) | Failure::Broken(_) | Failure::Unanswered(_) => true,
            Failure::Refused { status, .. } => *status >= 500,
            Failure::Usage(_) | Failure::Output(_) => false,
        }
    }

    pub fn is_not_found(&self) -> bool {
        matches!(self, Failure::Refused { status: 404, .. })
    }
}
