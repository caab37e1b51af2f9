//! How a command ends, for programs. The numbers are public.

use std::process::ExitCode;

use crate::domain::State;

/// The numbers are public. Of several jobs, the one with the highest number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    Failed = 1,
    /// clap's own number too.
    Usage = 2,
    Unreachable = 3,
    NotFound = 4,
    Refused = 5,
    ProgramFailed = 6,
    /// What was asked for may have been done.
    Unanswered = 7,
    JobFailed = 10,
    JobCancelled = 11,
    JobExpired = 12,
    JobInDoubt = 13,
    JobRejected = 14,
    TimedOut = 15,
}

/// Stands under `opros --help` and `opros wait --help`.
pub const HELP: &str = "\
Exit codes:
   0  done; `wait`: every job succeeded; `health`: ready or degraded; `doctor`: no problem
   1  failed in general; `health`: blocked; `doctor`: a problem; `webhooks test`: not taken
   2  the command line or its input is wrong
   3  opros cannot be reached at its socket
   4  there is no such job, account, webhook or code
   5  opros refused: bad params, wrong state, a bad line in a file; `init`: the vendor refused
   6  `watch --exec`: the program failed; the event counts as not taken
   7  no answer came to what may have been done all the same; the message says how to find out
  10  `wait`: a job failed               13  `wait`: a job is in doubt and needs you
  11  `wait`: a job was cancelled        14  `wait`: a job was rejected
  12  `wait`: a job expired              15  `wait`: --timeout ran out
`serve`: 0 stopped in order, 1 it cannot start, 70 its store cannot be trusted, 78 the configuration is wrong.
Of several jobs, the highest number counts.

Colours obey NO_COLOR and CLICOLOR_FORCE. With --json a command prints what opros said, one JSON value a line.";

impl Exit {
    pub const ALL: [Exit; 14] = [
        Exit::Ok,
        Exit::Failed,
        Exit::Usage,
        Exit::Unreachable,
        Exit::NotFound,
        Exit::Refused,
        Exit::ProgramFailed,
        Exit::Unanswered,
        Exit::JobFailed,
        Exit::JobCancelled,
        Exit::JobExpired,
        Exit::JobInDoubt,
        Exit::JobRejected,
        Exit::TimedOut,
    ];

    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What `wait` says of a job that stands still; an unfinished one only when time ran out.
    pub const fn of_job(state: State) -> Exit {
        match state {
            State::Succeeded => Exit::Ok,
            State::Failed => Exit::JobFailed,
            State::Cancelled => Exit::JobCancelled,
            State::Expired => Exit::JobExpired,
            State::InDoubt => Exit::JobInDoubt,
            State::Rejected => Exit::JobRejected,
            State::Queued | State::Submitting | State::Waiting => Exit::TimedOut,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}
