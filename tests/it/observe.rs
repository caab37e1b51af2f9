//! What the host sees of the daemon: its metrics, its log, and the doors to its socket.

mod browsers;
mod doors;
pub mod house;
mod logs;
mod metrics;
