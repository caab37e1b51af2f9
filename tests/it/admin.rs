//! The admin socket as its clients meet it: over a real Unix socket, with a real store. Nothing is sent to a vendor: the
//! engine is not started, or its vendor's address leads nowhere.

mod bulk;
mod contract;
pub mod house;
mod live;
mod moves;
mod socket;
mod submit;
