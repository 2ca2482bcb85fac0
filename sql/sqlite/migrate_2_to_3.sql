-- Schema 3: without the state of the head's random numbers, which follow from seed and step alone; genotypes wait for twins. From the file of hpcnas 0.1.0.
-- By a new table, as SQLite drops no column before 3.35.
CREATE TABLE run_without_rng_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    run_id TEXT NOT NULL,
    hpcnas TEXT NOT NULL,
    created REAL NOT NULL,
    config TEXT NOT NULL,
    repeats INTEGER NOT NULL CHECK (repeats > 0),
    epoch INTEGER NOT NULL DEFAULT 0,
    draining INTEGER NOT NULL DEFAULT 0,
    finished INTEGER NOT NULL DEFAULT 0
);
INSERT INTO run_without_rng_state SELECT id, run_id, hpcnas, created, config, repeats, epoch, draining, finished FROM run;
DROP TABLE run;
ALTER TABLE run_without_rng_state RENAME TO run;
CREATE INDEX IF NOT EXISTS individual_waiting ON individual (copied_from) WHERE state = 'queued' AND copied_from IS NOT NULL;
