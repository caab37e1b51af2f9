//! What vendors and other programs may throw at opros, as tables that say what each thing must come to.

mod answers;
mod exchanges;
mod rows;
