//! Webhooks and commands: schedule, order, what survives, where they may go, and what is signed.

mod commands;
mod guarded;
mod house;
mod killed;
mod operators;
mod reloaded;
mod schedule;
mod signed;
