//! The admin socket: HTTP/1.1 and JSON for the CLI, for other programs and for Prometheus.
//!
//! Architecture invariant: handlers hold no state of their own and decide nothing about a job; they read requests, call the
//! engine or the store, and write answers. Every change runs in a task of its own, because hyper drops a handler when its
//! client leaves, and a change that was begun must end.

mod accounts;
mod authority;
mod backup;
mod body;
mod browsers;
mod bulk;
mod callbacks;
mod costs;
mod events;
mod export;
mod files;
mod gate;
mod health;
mod jobs;
mod key;
mod lines;
pub mod list;
mod live;
mod logs;
mod metrics;
mod moves;
mod pages;
mod params;
mod places;
mod problem;
mod purge;
mod reload;
mod request;
mod router;
mod schedules;
mod state;
mod views;
mod webhooks;
mod who;
mod words;

pub use self::browsers::BrowserGuard;
pub use self::gate::{Tokens, read_only};
pub use self::logs::{LogSwitch, LogView};
pub use self::metrics::{Exports, catalogue};
pub use self::problem::Problem;
pub use self::reload::{Changed, ConfigProblem, Reload, ReloadError, Reloaded};
pub use self::router::{openapi, router};
pub use self::state::AdminState;
