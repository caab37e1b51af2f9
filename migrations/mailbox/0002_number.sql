-- A given number of 0 or -1 cannot be told from none before the row is there; afterwards it can: the mailbox's own begin at 1.
CREATE TRIGGER jobs_number AFTER INSERT ON jobs WHEN NEW.id < 1 BEGIN
    SELECT RAISE(ABORT, 'id: the mailbox gives the number; leave the column out and read last_insert_rowid()');
END;
