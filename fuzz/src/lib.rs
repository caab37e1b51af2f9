//! What the targets do stands in the project's own tests, which go through the same corpora on every run.

#[path = "../../tests/it/hostile/fuzzed.rs"]
pub mod fuzzed;
#[path = "../../tests/it/vendors/play.rs"]
pub mod play;
#[path = "../../tests/it/vendors/samples.rs"]
pub mod samples;

/// Where the tests have them.
pub mod vendors {
    pub use crate::{play, samples};
}
