-- Errors of unknown meaning that the vendor gave to free calls about the job, in a row: it is asked again some times.
ALTER TABLE jobs ADD COLUMN unknown_errors INTEGER NOT NULL DEFAULT 0 CHECK (unknown_errors >= 0);

-- Jobs that opros fails on: health names them.
CREATE INDEX jobs_set_aside ON jobs (id) WHERE reason_code = 'quarantined' AND state < 4 AND due_at IS NULL;
