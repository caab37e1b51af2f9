-- Lists by account or kind are found by index: a look at one account must not read a million rows of others.
CREATE INDEX jobs_account ON jobs (account, id);
CREATE INDEX jobs_kind    ON jobs (kind, id);
-- Old balances are found by their age.
CREATE INDEX balances_at  ON balances (at);
