//! One binary for all integration tests.

mod admin;
mod alta;
mod callbacks;
mod canary;
mod cli;
mod config;
mod hostile;
mod layers;
mod lifecycle_table;
mod mailbox;
mod memory;
mod process;
mod rlab;
mod simulator;
mod store;
mod support;
mod tronk;
mod vendors;
