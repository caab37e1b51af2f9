//! Questions to the cost ledger.

use crate::domain::spending::{Amount, Sure};
use crate::domain::{JobId, Timestamp};

/// Which lines, and by what they are summed up.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CostQuery {
    pub from: Timestamp,
    /// Not included.
    pub to: Timestamp,
    pub account: Option<String>,
    pub kind: Option<String>,
    pub tag: Option<String>,
    pub by: CostsBy,
    /// Whose midnight begins a day: hours before UTC's.
    pub utc_offset: i32,
    pub limit: usize,
}

/// Lines that are alike in all of these are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CostsBy {
    pub account: bool,
    pub kind: bool,
    pub tag: bool,
    pub day: bool,
    pub job: bool,
}

/// One order, as the ledger has it.
#[derive(Debug, Clone, PartialEq)]
pub struct CostLine {
    pub id: i64,
    pub at: Timestamp,
    pub job: JobId,
    pub account: String,
    pub kind: String,
    pub tag: Option<String>,
    /// None: no price was configured.
    pub price: Option<Amount>,
    pub sure: Sure,
    /// When it became as sure as it is.
    pub decided_at: Option<Timestamp>,
}

/// Orders of one certainty.
#[derive(Debug, Clone, PartialEq)]
pub struct CostSum {
    pub account: Option<String>,
    pub kind: Option<String>,
    pub tag: Option<String>,
    /// The start of the day.
    pub day: Option<Timestamp>,
    pub job: Option<JobId>,
    pub sure: Sure,
    pub orders: i64,
    /// Of those that have a price.
    pub amount: Amount,
    pub unpriced: i64,
    /// When the first of them was ordered.
    pub first_at: Timestamp,
}
