//! opros carries paid requests to slow vendors, polls politely until the answer is there, and tells whoever waits.

pub mod clock;
pub mod domain;
pub mod simulator;
