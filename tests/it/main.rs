//! One binary for all integration tests.

mod cli;
mod config;
mod lifecycle_table;
mod layers;
mod simulator;
mod store;
mod vendors;
