//! Call-backs: what vendors POST to us by themselves.
//!
//! Reading and matching are pure: the raw bytes are stored first, and everything here can be done again from them.

pub mod delivery;
pub mod display_name;
pub mod files;
pub mod matching;
pub mod multipart;
pub mod parse;
