//! What costs money: orders, budgets, the ledger, and what was paid for.

mod downloads;
mod guard;
mod ledger;
mod rules;
