-- The highest number that a job had when the call-back came: which came first does not hang on a clock. None: it came before
-- this was kept.
ALTER TABLE callbacks ADD COLUMN after_job INTEGER;
