//! opros carries paid requests to slow vendors, polls politely until the answer is there, and tells whoever waits.

pub mod admin;
pub mod app;
pub mod callbacks;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crash;
pub mod demo;
pub mod domain;
pub mod downloads;
pub mod engine;
pub mod guard;
pub mod health;
pub mod http;
pub mod lifecycle;
pub mod listener;
pub mod mailbox;
pub mod meters;
pub mod people;
pub mod restore;
pub mod simulator;
pub mod sinks;
pub mod store;
pub mod telemetry;
pub mod vendors;
