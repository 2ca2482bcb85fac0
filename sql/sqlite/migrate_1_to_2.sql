-- Schema 2: late messages of lapsed leases, second tries elsewhere, quarantine, journal. From the file of hpcnas 0.1's first weeks.
ALTER TABLE individual ADD COLUMN lapsed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE individual ADD COLUMN avoid_host TEXT NOT NULL DEFAULT '';
ALTER TABLE attempt ADD COLUMN closed INTEGER NOT NULL DEFAULT 0;
UPDATE attempt SET closed = 1 WHERE ended IS NOT NULL AND EXISTS (
    SELECT 1 FROM individual i WHERE i.id = attempt.individual_id AND i.token = attempt.token AND i.state IN ('evaluated', 'failed'));
ALTER TABLE tally ADD COLUMN journal INTEGER NOT NULL DEFAULT 0;
CREATE TABLE quarantine (
    host TEXT PRIMARY KEY,
    since REAL NOT NULL
) WITHOUT ROWID;
