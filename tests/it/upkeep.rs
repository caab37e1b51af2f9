//! What keeps an opros in order: schedules, retention, purging, backup and restore, export, reload.

pub mod house;
mod leap;
mod purge;
mod reload;
mod restore;
mod retention;
mod schedules;
mod streams;
