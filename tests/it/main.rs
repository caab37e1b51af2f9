//! One binary for all integration tests.

mod cli;
mod config;
mod lifecycle_table;
mod rlab;
mod simulator;
mod store;
mod support;
mod vendors;
