//! Alta through the whole engine: days of reports, manners across restarts, doubt, ends, the account.

mod account;
mod doubt;
mod ends;
mod house;
mod pace;
mod reports;
#[path = "support/alta_watch.rs"]
mod watch;
