//! What the mailbox promises to other programs, on real files, with real foreign connections.

mod damage;
mod disk;
mod forged;
mod hostile;
pub mod house;
mod latency;
mod neighbours;
mod own_means;
mod rows;
mod schema;
mod swaps;
