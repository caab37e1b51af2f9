//! What is kept of an answer. Each field is named: one that is new must be thought of here.

use super::{Mask, Masking};
use crate::domain::Reason;
use crate::domain::account::Balance;
use crate::domain::state::{End, Observation, Outcome};

impl Mask for Reason {
    fn mask(&mut self, masking: &Masking) {
        let Reason { code, message } = self;
        code.mask(masking);
        message.mask(masking);
    }
}

impl Mask for Balance {
    fn mask(&mut self, masking: &Masking) {
        let Balance { amount: _, unit, text, at: _ } = self;
        unit.mask(masking);
        text.mask(masking);
    }
}

impl Mask for Observation {
    fn mask(&mut self, masking: &Masking) {
        let Observation { fingerprint: _, data, changes, raw } = self;
        masking.json(data);
        masking.value(changes);
        masking.json(raw);
    }
}

impl Mask for End {
    fn mask(&mut self, masking: &Masking) {
        match self {
            End::Success { result } => masking.json(result),
            End::Failure { reason, result } => {
                reason.mask(masking);
                result.iter_mut().for_each(|result| masking.json(result));
            }
        }
    }
}

impl Mask for Outcome {
    fn mask(&mut self, masking: &Masking) {
        let memory = |memo: &mut Option<String>| memo.iter_mut().for_each(|memo| masking.json(memo));
        match self {
            Outcome::NotTaken { reason, again_at: _ }
            | Outcome::AccountHeld { reason }
            | Outcome::UnknownError { reason }
            | Outcome::Unclear { reason } => reason.mask(masking),
            Outcome::Accepted { remote_id, memo, next_at: _ } => {
                remote_id.mask(masking);
                memory(memo);
            }
            Outcome::NotMade { due_at: _ } => {}
            Outcome::Unchanged { memo, next_at: _ } => memory(memo),
            Outcome::Observed { observation, memo, next_at: _, end } => {
                observation.mask(masking);
                memory(memo);
                end.mask(masking);
            }
            Outcome::Progressed { partial, memo, next_at: _ } => {
                memory(partial);
                memory(memo);
            }
            Outcome::Ended(end) => end.mask(masking),
            Outcome::Found { remote_id, memo, next_at: _ } => {
                remote_id.mask(masking);
                memory(memo);
            }
            Outcome::Absent { settle: _, resubmit: _, memo } => memory(memo),
            Outcome::Told { refused } => refused.mask(masking),
        }
    }
}
