//! Secrets are put out of what drivers make of answers. Each field is named: one that is new must be thought of here.

use super::{AccountNews, AccountReading, Reading, Seen, Verdict};
use crate::domain::masking::{Mask, Masking};

impl Mask for Reading {
    fn mask(&mut self, masking: &Masking) {
        let Reading { account, readable: _, verdicts } = self;
        account.mask(masking);
        verdicts.mask(masking);
    }
}

impl Mask for Verdict {
    fn mask(&mut self, masking: &Masking) {
        match self {
            Verdict::Outcome(outcome) => outcome.mask(masking),
            Verdict::Seen(seen) => seen.mask(masking),
            Verdict::Split { reason } => reason.mask(masking),
        }
    }
}

impl Mask for Seen {
    fn mask(&mut self, masking: &Masking) {
        let Seen { fingerprint: _, data, raw, memo, next_at: _, end } = self;
        masking.value(data);
        masking.json(raw);
        memo.iter_mut().for_each(|memo| masking.json(memo));
        end.mask(masking);
    }
}

impl Mask for AccountNews {
    fn mask(&mut self, masking: &Masking) {
        match self {
            AccountNews::Pause { reason, submits_only: _ } => reason.mask(masking),
            AccountNews::Balance(balance) => balance.mask(masking),
            AccountNews::TariffEnds(_) => {}
        }
    }
}

impl Mask for AccountReading {
    fn mask(&mut self, masking: &Masking) {
        let AccountReading { news, unclear } = self;
        news.mask(masking);
        unclear.mask(masking);
    }
}
