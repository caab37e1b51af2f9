//! What vendors and other programs may throw at opros, as tables that say what each thing must come to.

mod answers;
mod corpora;
mod exchanges;
mod fuzzed;
mod nearly;
mod rows;
