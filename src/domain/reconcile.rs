//! The vendor's balance against the ledger: did as much leave the account as was ordered?

use super::Timestamp;
use super::spending::Amount;

/// What the vendor said was left.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub at: Timestamp,
    pub amount: f64,
    pub unit: String,
}

/// What the ledger has between two readings; only what may have cost something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ordered {
    pub orders: i64,
    pub amount: Amount,
    /// Orders without a configured price.
    pub unpriced: i64,
    /// Orders of which nobody knows for certain whether the vendor took them.
    pub unsure: i64,
}

/// Both stories of one account, told together.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconciled {
    pub first: Reading,
    pub last: Reading,
    pub readings: usize,
    pub ordered: Ordered,
    /// What came in between readings: a balance that rose.
    pub paid_in: f64,
    /// What left the account beyond what was ordered; negative where less left.
    pub difference: f64,
}

/// Below this, two amounts are one: a vendor's rounding.
const SAME: f64 = 0.005;

/// `between[i]` is what was ordered after `readings[i]` and up to the next. None where fewer than two readings can be compared.
pub fn reconcile(readings: &[Reading], between: &[Ordered]) -> Option<Reconciled> {
    let (first, last) = (readings.first()?, readings.last()?);
    if readings.len() < 2 || between.len() + 1 != readings.len() {
        return None;
    }
    let mut all = Reconciled {
        first: first.clone(),
        last: last.clone(),
        readings: readings.len(),
        ordered: Ordered::default(),
        paid_in: 0.0,
        difference: 0.0,
    };
    for (pair, ordered) in readings.windows(2).zip(between) {
        let sum = &mut all.ordered;
        sum.orders += ordered.orders;
        sum.amount.0 = sum.amount.0.saturating_add(ordered.amount.0);
        sum.unpriced += ordered.unpriced;
        sum.unsure += ordered.unsure;
        let fell = pair[0].amount - pair[1].amount;
        if fell < 0.0 {
            // Somebody paid in; how much of it was spent again at once is the ledger's word.
            all.paid_in += ordered.amount.units() - fell;
        } else {
            all.difference += fell - ordered.amount.units();
        }
    }
    Some(all)
}

impl Reconciled {
    pub fn agrees(&self) -> bool {
        self.difference.abs() < SAME
    }

    /// For people.
    pub fn sentence(&self) -> String {
        let Reconciled { first, last, ordered, .. } = self;
        let unit = if last.unit.is_empty() { String::new() } else { format!(" {}", last.unit) };
        let orders = if ordered.orders == 1 { "1 order".to_owned() } else { format!("{} orders", ordered.orders) };
        let mut text = format!(
            "the balance went from {} to {}{unit}; the ledger has {orders} for {}{unit}",
            plain(first.amount),
            plain(last.amount),
            ordered.amount
        );
        if self.paid_in >= SAME {
            text.push_str(&format!("; {}{unit} were paid in", plain(self.paid_in)));
        }
        if self.agrees() {
            text.push_str(": they agree.");
        } else if self.difference > 0.0 {
            text.push_str(&format!(
                ": {}{unit} more left the account than opros ordered (orders made elsewhere, billing by the day, or a price that is too low).",
                plain(self.difference)
            ));
        } else {
            text.push_str(&format!(
                ": {}{unit} less left the account than opros ordered (billed later, not taken, or a price that is too high).",
                plain(-self.difference)
            ));
        }
        for (count, what) in
            [(ordered.unpriced, "no price in the configuration"), (ordered.unsure, "no certain answer of the vendor's")]
        {
            if count > 0 {
                text.push_str(&format!(" {count} of the orders {} {what}.", if count == 1 { "has" } else { "have" }));
            }
        }
        text
    }
}

fn plain(amount: f64) -> Amount {
    Amount::of(amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(ms: i64, amount: f64) -> Reading {
        Reading { at: Timestamp::from_millis(ms), amount, unit: "RUB".into() }
    }

    fn ordered(orders: i64, amount: f64) -> Ordered {
        Ordered { orders, amount: Amount::of(amount), ..Ordered::default() }
    }

    #[test]
    fn a_balance_that_fell_by_what_was_ordered_agrees() {
        let both = reconcile(&[reading(0, 100.0), reading(9, 40.0)], &[ordered(2, 60.0)]).unwrap();
        assert!(both.agrees());
        assert_eq!(
            both.sentence(),
            "the balance went from 100 to 40 RUB; the ledger has 2 orders for 60 RUB: they agree."
        );
    }

    #[test]
    fn what_left_besides_is_named_and_what_was_paid_in_is_told_apart() {
        let readings = [reading(0, 100.0), reading(1, 40.0), reading(2, 540.0), reading(3, 470.5)];
        let both = reconcile(&readings, &[ordered(1, 30.0), ordered(1, 30.0), ordered(2, 60.0)]).unwrap();
        assert_eq!((both.difference, both.paid_in), (39.5, 530.0));
        let sentence = both.sentence();
        assert!(sentence.contains("530 RUB were paid in: 39.50 RUB more left the account"), "{sentence}");
        let less = reconcile(&[reading(0, 100.0), reading(1, 90.0)], &[ordered(1, 30.0)]).unwrap();
        assert!(less.sentence().contains("20 RUB less left the account"), "{}", less.sentence());
    }

    #[test]
    fn one_reading_says_nothing() {
        assert_eq!(reconcile(&[reading(0, 1.0)], &[]), None);
        assert_eq!(reconcile(&[], &[]), None);
    }
}
