-- A row that reuses the token of another order (INSERT OR REPLACE) is told apart when it is rejected: it gets a token of
-- its own, so that the answer to the first order still finds the row that asked for it.

DROP TRIGGER jobs_identity;
CREATE TRIGGER jobs_identity BEFORE UPDATE ON jobs
WHEN NEW.id IS NOT OLD.id
    OR (NEW.uid IS NOT OLD.uid AND NOT (OLD.state = 'new' AND NEW.state = 'rejected')) BEGIN
    SELECT RAISE(ABORT, 'id and uid: they stay what they are; insert a new row');
END;
