//! What the store keeps of call-backs and of the files that came with them.

use bytes::Bytes;

use crate::domain::state::{Input, Refused};
use crate::domain::{Job, JobId, State, Timestamp};

/// A call-back as it came, with what could be read of it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewCallback {
    pub account: String,
    pub at: Timestamp,
    /// Who delivered it.
    pub peer: String,
    pub content_type: Option<String>,
    pub size: u64,
    /// The same for two that say the same.
    pub fingerprint: String,
    pub facts: Facts,
    pub body: RawBody,
}

/// Where the bytes of a call-back lie.
#[derive(Debug, Clone, PartialEq)]
pub enum RawBody {
    /// In the store's own file.
    Inline(Bytes),
    /// In the file store, under this SHA-256; it is there already.
    File(String),
}

/// What a call-back says of whose it is; a stranger's word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    pub vin: Option<String>,
    pub check_type: Option<String>,
    pub status: Option<String>,
    pub ids: Vec<String>,
    /// Why it could not be read.
    pub unreadable: Option<String>,
}

/// The verdict on a call-back that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    New(i64),
    /// The first that said the same.
    Repeated(i64),
}

/// A stored call-back without its body.
#[derive(Debug, Clone, PartialEq)]
pub struct Callback {
    pub id: i64,
    pub account: String,
    pub at: Timestamp,
    pub peer: String,
    pub content_type: Option<String>,
    pub size: u64,
    pub repeats: i64,
    pub last_at: Timestamp,
    /// The youngest job when it came.
    pub after_job: Option<JobId>,
    pub facts: Facts,
    pub belongs: Option<Belongs>,
}

/// Whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Belongs {
    pub job: JobId,
    pub at: Timestamp,
    pub how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Matched,
    /// By an operator.
    Assigned,
    /// It names a job that has its answer already.
    Answered,
}

impl How {
    pub const ALL: [How; 3] = [How::Matched, How::Assigned, How::Answered];

    pub const fn as_str(self) -> &'static str {
        match self {
            How::Matched => "matched",
            How::Assigned => "assigned",
            How::Answered => "answered",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct CallbackFilter {
    pub account: Option<String>,
    pub matched: Option<bool>,
    /// Those with a smaller number than this.
    pub before: Option<i64>,
    pub limit: usize,
}

/// Unmatched call-backs, the oldest first.
#[derive(Debug, Clone, PartialEq)]
pub enum Unmatched<'a> {
    /// With a larger number than this.
    After(i64),
    /// Of this car, or of none.
    OfCar { account: &'a str, vin: &'a str },
}

/// By what a job can be found that a call-back may be for.
#[derive(Debug, Clone, PartialEq)]
pub struct CandidateQuery<'a> {
    pub account: &'a str,
    pub kind: &'a str,
    pub vin: Option<&'a str>,
    /// What the vendor may call the job.
    pub ids: &'a [String],
    /// What we call it.
    pub jobs: &'a [JobId],
    pub limit: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CandidateJob {
    pub job: Job,
    pub params: String,
    /// A call-back belongs to it already.
    pub served: bool,
}

/// A call-back given to its job: the link, the files and the job's step, all of it or nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    pub callback: i64,
    pub job: JobId,
    pub how: How,
    pub at: Timestamp,
    /// The state in which the job was when it was chosen.
    pub expected: State,
    /// None where the job is not touched.
    pub input: Option<Input>,
    pub files: Vec<JobFile>,
    /// Also when the call-back belongs to another job: an operator says so.
    pub even_matched: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Delivered {
    Done(Option<Box<Job>>),
    NoCallback,
    /// It belongs to this job already.
    Taken(JobId),
    NoJob,
    /// The job moved on meanwhile: choose again.
    Moved(State),
    Refused(Refused),
}

/// A file of a job's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFile {
    pub name: String,
    pub sha256: String,
    pub content_type: Option<String>,
    pub size: u64,
}
