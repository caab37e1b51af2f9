-- Attempts and costs are kept in the order of their jobs. Under their random tokens each had a page of its own to write, and
-- three indexes to hold.

ALTER TABLE attempts RENAME TO attempts_by_token;
CREATE TABLE attempts (
    job_id       INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    token        TEXT    NOT NULL,
    request_hash TEXT    NOT NULL,
    epoch        INTEGER NOT NULL,
    intent_at    INTEGER NOT NULL,
    -- Its answer was lost.
    unclear_at   INTEGER,
    ended_at     INTEGER,
    -- How it ended, by evidence: not_sent, accepted, refused, absent, operator.
    outcome      TEXT,
    PRIMARY KEY (job_id, token)
) STRICT, WITHOUT ROWID;
INSERT INTO attempts (job_id, token, request_hash, epoch, intent_at, unclear_at, ended_at, outcome)
SELECT job_id, token, request_hash, epoch, intent_at, unclear_at, ended_at, outcome FROM attempts_by_token
ORDER BY job_id, token;
DROP TABLE attempts_by_token;
CREATE UNIQUE INDEX attempts_open ON attempts (job_id) WHERE outcome IS NULL;

ALTER TABLE costs RENAME TO costs_by_token;
CREATE TABLE costs (
    id          INTEGER PRIMARY KEY,
    job_id      INTEGER NOT NULL,
    token       TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    account     TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    tag         TEXT,
    -- Whether two orders are equal: only where the account had same_order_window set when it was ordered, and forgotten with
    -- the job, since a phone's hash can be guessed.
    params_hash TEXT,
    -- None: no price is configured.
    price       INTEGER,
    sure        TEXT    NOT NULL CHECK (sure IN
        ('ordered', 'booked', 'in_doubt', 'settled', 'operator', 'refused', 'not_sent', 'absent')),
    decided_at  INTEGER
) STRICT;
INSERT INTO costs (id, job_id, token, at, account, kind, tag, params_hash, price, sure, decided_at)
SELECT id, job_id, token, at, account, kind, tag, params_hash, price, sure, decided_at FROM costs_by_token ORDER BY id;
-- With its triggers: these come after the copy, or everything would be counted as spent again.
DROP TABLE costs_by_token;
CREATE INDEX costs_at ON costs (at);
CREATE INDEX costs_account ON costs (account, at);
CREATE INDEX costs_job ON costs (job_id);
CREATE INDEX costs_equal ON costs (account, kind, params_hash, at) WHERE params_hash IS NOT NULL;
CREATE TRIGGER costs_ordered AFTER INSERT ON costs
WHEN NEW.sure NOT IN ('refused', 'not_sent', 'absent')
BEGIN
    INSERT INTO spending (account, hour, submissions, amount)
    VALUES (NEW.account, NEW.at - NEW.at % 3600000, 1, coalesce(NEW.price, 0))
    ON CONFLICT (account, hour) DO UPDATE
    SET submissions = submissions + 1, amount = amount + excluded.amount;
END;
CREATE TRIGGER costs_given_back AFTER UPDATE OF sure ON costs
WHEN NEW.sure IN ('refused', 'not_sent', 'absent') AND OLD.sure NOT IN ('refused', 'not_sent', 'absent')
BEGIN
    UPDATE spending SET submissions = submissions - 1, amount = amount - coalesce(OLD.price, 0)
    WHERE account = OLD.account AND hour = OLD.at - OLD.at % 3600000;
END;
