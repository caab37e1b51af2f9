//! One binary for all integration tests.

mod lifecycle_table;
mod vendors;
