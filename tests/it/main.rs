//! One binary for all integration tests.

mod config;
mod simulator;
mod store;
