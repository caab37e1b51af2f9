//! One binary for all integration tests.

mod config;
mod lifecycle_table;
mod mailbox;
mod simulator;
mod store;
mod vendors;
