//! opros carries paid requests to slow vendors, polls politely until the answer is there, and tells whoever waits.

pub mod callbacks;
pub mod clock;
pub mod config;
pub mod domain;
pub mod engine;
pub mod http;
pub mod mailbox;
pub mod simulator;
pub mod store;
pub mod vendors;
