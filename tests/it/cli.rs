//! The command line against a daemon that says what a test wrote for it.

mod commands;
mod fake;
mod jobs;
mod lost;
mod pages;
mod streams;
mod words;
