//! What opros is about, without I/O, without async and without a clock.

pub mod time;

pub use time::Timestamp;
