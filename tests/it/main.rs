//! One binary for all integration tests.

mod admin;
mod config;
mod lifecycle_table;
mod simulator;
mod store;
mod vendors;
