-- Money: what was ordered and at what price, how much of a budget is spent, which equal orders an operator let go, what the
-- vendors said was left, and documents that are still to be fetched. Amounts are millionths of the account's unit.

-- One row for each submit that may cost money, written with its intent. It outlives its job.
CREATE TABLE costs (
    id          INTEGER PRIMARY KEY,
    token       TEXT    NOT NULL UNIQUE,
    at          INTEGER NOT NULL,
    job_id      INTEGER NOT NULL,
    account     TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    tag         TEXT,
    -- Whether two orders are equal; forgotten with the job, since a phone's hash can be guessed.
    params_hash TEXT,
    -- None: no price is configured.
    price       INTEGER,
    sure        TEXT    NOT NULL CHECK (sure IN
        ('ordered', 'booked', 'in_doubt', 'settled', 'operator', 'refused', 'not_sent', 'absent')),
    decided_at  INTEGER
) STRICT;
CREATE INDEX costs_at ON costs (at);
CREATE INDEX costs_account ON costs (account, at);
CREATE INDEX costs_job ON costs (job_id);
CREATE INDEX costs_equal ON costs (account, kind, params_hash, at) WHERE params_hash IS NOT NULL;

-- What counts against budgets, by the hour in which it was ordered: a day is 24 of these, a month at most 744.
CREATE TABLE spending (
    account     TEXT    NOT NULL,
    hour        INTEGER NOT NULL,
    submissions INTEGER NOT NULL,
    amount      INTEGER NOT NULL,
    PRIMARY KEY (account, hour)
) STRICT, WITHOUT ROWID;

-- Kept by the ledger itself: no order is counted without its row, and none is given back but by its row.
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

-- Jobs that are sent although an equal order was sent shortly before: an operator said so.
CREATE TABLE released (
    job_id INTEGER PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    at     INTEGER NOT NULL
) STRICT;

-- What the vendors said was left, whenever they said so.
CREATE TABLE balances (
    account TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    amount  REAL    NOT NULL,
    unit    TEXT    NOT NULL,
    PRIMARY KEY (account, at)
) STRICT, WITHOUT ROWID;

-- Documents that a result names and that are to lie in the file store too. The wish is part of the job's success.
CREATE TABLE downloads (
    job_id  INTEGER PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    account TEXT    NOT NULL,
    url     TEXT    NOT NULL,
    -- When it is tried next; none once it is saved or given up.
    due_at  INTEGER,
    tries   INTEGER NOT NULL DEFAULT 0,
    error   TEXT,
    saved   INTEGER NOT NULL DEFAULT 0 CHECK (saved IN (0, 1)),
    CHECK (saved = 0 OR due_at IS NULL)
) STRICT;
CREATE INDEX downloads_due ON downloads (due_at) WHERE due_at IS NOT NULL;

-- What was submitted before there was this ledger.
INSERT INTO costs (token, at, job_id, account, kind, tag, params_hash, price, sure, decided_at)
SELECT attempts.token, attempts.intent_at, jobs.id, jobs.account, jobs.kind, jobs.tag, bodies.params_hash, NULL,
    CASE
        WHEN attempts.outcome = 'accepted' AND attempts.unclear_at IS NOT NULL THEN 'settled'
        WHEN attempts.outcome = 'accepted' THEN 'booked'
        WHEN attempts.outcome IS NOT NULL THEN attempts.outcome
        WHEN attempts.unclear_at IS NOT NULL THEN 'in_doubt'
        ELSE 'ordered'
    END,
    attempts.ended_at
FROM attempts JOIN jobs ON jobs.id = attempts.job_id JOIN bodies ON bodies.job_id = jobs.id
WHERE jobs.traits & 1 = 0;
