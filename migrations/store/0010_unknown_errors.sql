-- Errors of unknown meaning that the vendor gave to free calls about the job, in a row: it is asked again some times.
ALTER TABLE jobs ADD COLUMN unknown_errors INTEGER NOT NULL DEFAULT 0 CHECK (unknown_errors >= 0);
