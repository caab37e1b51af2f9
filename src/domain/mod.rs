//! What opros is about, without I/O, without async and without a clock.

pub mod account;
pub mod ages;
pub mod calendar;
pub mod charset;
pub mod delivery;
pub mod event;
pub mod exchange;
pub mod hosts;
pub mod job;
pub mod json;
pub mod masking;
pub mod policy;
pub mod privacy;
pub mod reconcile;
pub mod repeat;
pub mod spending;
pub mod state;
pub mod time;

pub use account::{Account, Breaker, Pause, PauseSource};
pub use event::{Event, EventType, NewEvent};
pub use job::{Call, Job, JobId, NewJob, Reason, State, Traits};
pub use time::Timestamp;
