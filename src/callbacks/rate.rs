//! How much one account's vendor may send, and how often one stranger may guess.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use crate::domain::Timestamp;

/// A bucket that fills at a steady rate.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Timestamp,
}

/// One bucket for each key; bounded, whoever calls.
#[derive(Debug)]
pub struct Rate<K> {
    per_second: f64,
    burst: f64,
    keys: usize,
    buckets: Mutex<HashMap<K, Bucket>>,
}

impl<K: Eq + Hash + Clone> Rate<K> {
    pub fn new(per_second: u32, burst: u32, keys: usize) -> Self {
        Self { per_second: f64::from(per_second), burst: f64::from(burst), keys, buckets: Mutex::default() }
    }

    /// Takes one; false when the bucket is empty.
    pub fn take(&self, key: &K, now: Timestamp) -> bool {
        // Every change is whole: a panic elsewhere leaves the buckets usable.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |bucket: &Bucket| bucket.left + now.since(bucket.at).as_secs_f64() * self.per_second >= self.burst;
        if buckets.len() >= self.keys && !buckets.contains_key(key) {
            buckets.retain(|_, bucket| !full(bucket));
            if buckets.len() >= self.keys {
                // So many at once are no vendor's: they share the refusal.
                return false;
            }
        }
        let bucket = buckets.entry(key.clone()).or_insert(Bucket { left: self.burst, at: now });
        bucket.left = (bucket.left + now.since(bucket.at).as_secs_f64() * self.per_second).min(self.burst);
        bucket.at = now;
        let has_one = bucket.left >= 1.0;
        if has_one {
            bucket.left -= 1.0;
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Rate;
    use crate::domain::Timestamp;

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let (rate, start) = (Rate::new(2, 3, 10), Timestamp::from_millis(1_800_000_000_000));
        let taken = |at| (0..10).filter(|_| rate.take(&"a", at)).count();
        assert_eq!((taken(start), taken(start)), (3, 0));
        assert_eq!(taken(start + Duration::from_secs(1)), 2);
        assert_eq!(taken(start + Duration::from_secs(3600)), 3);
    }

    #[test]
    fn keys_are_bounded_and_idle_ones_make_room() {
        let (rate, start) = (Rate::new(1, 1, 2), Timestamp::from_millis(1_800_000_000_000));
        assert!(rate.take(&1, start) && rate.take(&2, start) && !rate.take(&3, start));
        assert!(rate.take(&3, start + Duration::from_secs(2)));
    }
}
