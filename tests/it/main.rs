//! One binary for all integration tests.

mod cli;
mod config;
mod layers;
mod lifecycle_table;
mod process;
mod simulator;
mod store;
mod vendors;
