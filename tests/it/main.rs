//! One binary for all integration tests.

mod admin;
mod alta;
mod callbacks;
mod canary;
mod cli;
mod clock_set;
mod config;
mod freshness;
mod hostile;
mod layers;
mod lifecycle_table;
mod mailbox;
mod memory;
mod money;
mod observe;
mod process;
mod repeats;
mod rlab;
mod simulator;
mod sinks;
mod store;
mod support;
mod systemd;
mod tronk;
mod upkeep;
mod vendors;
