//! One binary for all integration tests.

mod config;
mod simulator;
mod store;
mod lifecycle_table;
mod vendors;
