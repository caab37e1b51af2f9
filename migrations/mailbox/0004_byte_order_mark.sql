-- A byte order mark before the params' JSON (1C, PowerShell) is taken for what it is, as through every other door.

DROP TRIGGER jobs_insert;
CREATE TRIGGER jobs_insert BEFORE INSERT ON jobs BEGIN
    SELECT CASE
    WHEN NEW.id > 0 OR NEW.id < -1 THEN
        RAISE(ABORT, 'id: the mailbox gives the number; leave the column out and read last_insert_rowid()')
    WHEN NEW.uid IS NULL OR length(CAST(NEW.uid AS BLOB)) NOT BETWEEN 1 AND 200 THEN
        RAISE(ABORT, 'uid: give a token of 1 to 200 bytes, or leave the column out for a random one')
    WHEN NEW.kind IS NULL OR length(CAST(NEW.kind AS BLOB)) NOT BETWEEN 1 AND 200 THEN
        RAISE(ABORT, 'kind: say what to order, such as tronk.report')
    WHEN NEW.params IS NULL THEN
        RAISE(ABORT, 'params: give a JSON object such as {"phone":"79990000111"}, or leave the column out for {}')
    WHEN length(CAST(NEW.params AS BLOB)) > 65536 THEN
        RAISE(ABORT, 'params: larger than 64 KiB; send less')
    WHEN NOT json_valid(iif(substr(NEW.params, 1, 1) = char(65279), substr(NEW.params, 2), NEW.params)) THEN
        RAISE(ABORT, 'params: not valid JSON; give an object such as {"phone":"79990000111"}')
    WHEN json_type(iif(substr(NEW.params, 1, 1) = char(65279), substr(NEW.params, 2), NEW.params)) <> 'object' THEN
        RAISE(ABORT, 'params: not a JSON object; give one such as {"phone":"79990000111"}')
    WHEN NEW.account IS NOT NULL AND length(CAST(NEW.account AS BLOB)) NOT BETWEEN 1 AND 200 THEN
        RAISE(ABORT, 'account: name a configured account, or leave the column out')
    WHEN NEW.dedupe_key IS NOT NULL AND length(CAST(NEW.dedupe_key AS BLOB)) NOT BETWEEN 1 AND 200 THEN
        RAISE(ABORT, 'dedupe_key: give 1 to 200 bytes, or leave the column out')
    WHEN NEW.priority IS NULL OR NEW.priority NOT BETWEEN 0 AND 9 THEN
        RAISE(ABORT, 'priority: give a whole number from 0 (first) to 9 (last), or leave the column out for 5')
    WHEN NEW.not_before IS NOT NULL AND NEW.not_before NOT BETWEEN 0 AND 253402300799999 THEN
        RAISE(ABORT, 'not_before: give Unix milliseconds, UTC, or leave the column out')
    WHEN NEW.deadline IS NOT NULL AND NEW.deadline NOT BETWEEN 0 AND 253402300799999 THEN
        RAISE(ABORT, 'deadline: give Unix milliseconds, UTC, or leave the column out')
    WHEN NEW.tag IS NOT NULL AND length(CAST(NEW.tag AS BLOB)) NOT BETWEEN 1 AND 200 THEN
        RAISE(ABORT, 'tag: give 1 to 200 bytes, or leave the column out')
    WHEN NEW.cancel_requested IS NOT 0 THEN
        RAISE(ABORT, 'cancel_requested: leave the column out; UPDATE it to 1 later to cancel the job')
    WHEN NEW.state IS NOT 'new' THEN
        RAISE(ABORT, 'state: opros writes it; leave the column out, every row begins as new')
    WHEN NEW.job_id IS NOT NULL THEN RAISE(ABORT, 'job_id: opros writes it; leave the column out')
    WHEN NEW.remote_id IS NOT NULL THEN RAISE(ABORT, 'remote_id: opros writes it; leave the column out')
    WHEN NEW.error_code IS NOT NULL THEN RAISE(ABORT, 'error_code: opros writes it; leave the column out')
    WHEN NEW.error IS NOT NULL THEN RAISE(ABORT, 'error: opros writes it; leave the column out')
    WHEN NEW.result IS NOT NULL THEN RAISE(ABORT, 'result: opros writes it; leave the column out')
    WHEN NEW.updated_at IS NOT NULL THEN RAISE(ABORT, 'updated_at: opros writes it; leave the column out')
    WHEN NEW.finished_at IS NOT NULL THEN RAISE(ABORT, 'finished_at: opros writes it; leave the column out')
    END;
END;
