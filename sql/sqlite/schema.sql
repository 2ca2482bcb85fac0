-- The population of one run. `PRAGMA user_version` numbers this schema; migrate_*.sql lead here from older ones.
-- States and arrows: hpcnas/population/rules.py. Times are seconds since 1970, for people: no decision reads them.

CREATE TABLE run (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    run_id TEXT NOT NULL,                    -- equal to the file run.id beside the database
    hpcnas TEXT NOT NULL,                    -- version that created the run
    created REAL NOT NULL,
    config TEXT NOT NULL,                    -- RunConfig.to_dict as JSON
    repeats INTEGER NOT NULL CHECK (repeats > 0),
    epoch INTEGER NOT NULL DEFAULT 0,        -- one more with each head; writes of an earlier head are refused
    draining INTEGER NOT NULL DEFAULT 0,
    finished INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE worker (
    id TEXT PRIMARY KEY,                     -- a fresh uuid per process
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    device TEXT NOT NULL,
    slurm_job TEXT NOT NULL,
    slurm_task TEXT NOT NULL,
    joined REAL NOT NULL,
    ended REAL,                              -- NULL while it is thought alive
    end_reason TEXT NOT NULL DEFAULT '',
    waiting INTEGER NOT NULL DEFAULT 0       -- asked and found nothing since its last lease
) WITHOUT ROWID;
CREATE INDEX worker_live ON worker (host) WHERE ended IS NULL;

CREATE TABLE individual (
    id INTEGER PRIMARY KEY,
    step INTEGER NOT NULL CHECK (step = id),
    digest TEXT NOT NULL,
    genotype TEXT NOT NULL,
    parent_id INTEGER REFERENCES individual (id),
    mutation TEXT NOT NULL,
    parameters INTEGER NOT NULL,
    copied_from INTEGER REFERENCES individual (id),  -- whose fitness it takes over; queued: waits for it, no worker gets it
    born REAL NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'leased', 'evaluated', 'failed')),
    token INTEGER NOT NULL DEFAULT 0,
    claim_id TEXT NOT NULL DEFAULT '',
    worker_id TEXT NOT NULL DEFAULT '',
    heartbeat INTEGER NOT NULL DEFAULT 0,
    progress REAL NOT NULL DEFAULT 0,
    errors INTEGER NOT NULL DEFAULT 0,
    losses INTEGER NOT NULL DEFAULT 0,
    preemptions INTEGER NOT NULL DEFAULT 0,
    priority INTEGER NOT NULL DEFAULT 0,     -- 1: given back, goes first
    lapsed INTEGER NOT NULL DEFAULT 0,       -- 1: the lease was taken away and not granted anew
    avoid_host TEXT NOT NULL DEFAULT '',     -- failed or was lost there: next time elsewhere, if there is an elsewhere
    reason TEXT NOT NULL DEFAULT '',         -- why it failed
    fitness REAL,                            -- mean accuracy, once evaluated
    position INTEGER,                        -- 1, 2, ... in the order of becoming evaluated
    CHECK ((state = 'evaluated') = (fitness IS NOT NULL) AND (fitness IS NULL) = (position IS NULL))
);
CREATE INDEX individual_queued ON individual (priority DESC, id) WHERE state = 'queued';
CREATE INDEX individual_waiting ON individual (copied_from) WHERE state = 'queued' AND copied_from IS NOT NULL;
CREATE INDEX individual_leased ON individual (id) WHERE state = 'leased';
CREATE INDEX individual_digest ON individual (digest);
CREATE INDEX individual_position ON individual (position, fitness) WHERE position IS NOT NULL;

CREATE TABLE attempt (
    individual_id INTEGER NOT NULL REFERENCES individual (id),
    token INTEGER NOT NULL,
    claim_id TEXT NOT NULL UNIQUE,
    worker_id TEXT NOT NULL REFERENCES worker (id),
    host TEXT NOT NULL,
    started REAL NOT NULL,
    ended REAL,
    ended_order INTEGER,                     -- 1, 2, ... in the order of ending
    outcome TEXT NOT NULL DEFAULT '',        -- '' while it runs; evaluated, lost, stalled, preempted or a FailureKind
    closed INTEGER NOT NULL DEFAULT 0,       -- 1: the individual became evaluated or failed by it
    error TEXT NOT NULL DEFAULT '',
    trace TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (individual_id, token)
) WITHOUT ROWID;
CREATE INDEX attempt_ended ON attempt (ended_order) WHERE ended_order IS NOT NULL;
CREATE INDEX attempt_failed ON attempt (host, ended_order) WHERE outcome NOT IN ('', 'evaluated', 'lost', 'preempted');

CREATE TABLE fitness (
    individual_id INTEGER NOT NULL REFERENCES individual (id),
    repeat INTEGER NOT NULL CHECK (repeat >= 0),
    accuracy REAL NOT NULL CHECK (accuracy BETWEEN 0 AND 1),
    seed INTEGER NOT NULL,
    token INTEGER NOT NULL,                  -- the grant under which it was recorded; 0: copied
    steps INTEGER NOT NULL,
    seconds REAL NOT NULL,
    device TEXT NOT NULL,
    recorded REAL NOT NULL,
    PRIMARY KEY (individual_id, repeat)
) WITHOUT ROWID;

CREATE TABLE final (
    id INTEGER PRIMARY KEY,
    individual_id INTEGER REFERENCES individual (id),
    digest TEXT NOT NULL,
    model TEXT NOT NULL,
    channels INTEGER NOT NULL,
    dataset TEXT NOT NULL,
    run INTEGER NOT NULL,
    error_top1 REAL NOT NULL,
    error_top5 REAL,
    parameters INTEGER NOT NULL,
    seconds REAL NOT NULL,
    devices TEXT NOT NULL,
    details TEXT NOT NULL,
    recorded REAL NOT NULL,
    UNIQUE (digest, model, channels, dataset, run)
);

CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    details TEXT NOT NULL
);

CREATE TABLE quarantine (
    host TEXT PRIMARY KEY,
    since REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE tally (                         -- kept by triggers, so that counting takes constant time
    slot INTEGER PRIMARY KEY,
    queued INTEGER NOT NULL DEFAULT 0,
    leased INTEGER NOT NULL DEFAULT 0,
    evaluated INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    repeats INTEGER NOT NULL DEFAULT 0,
    repeat_s REAL NOT NULL DEFAULT 0,        -- running mean of the seconds of about the last 200 repeats
    journal INTEGER NOT NULL DEFAULT 0       -- number of the last transaction in backup/journal-*
);
INSERT INTO tally (slot) VALUES (0);

CREATE TRIGGER individual_born AFTER INSERT ON individual BEGIN
    UPDATE tally SET queued = queued + (NEW.state = 'queued'), leased = leased + (NEW.state = 'leased'),
        evaluated = evaluated + (NEW.state = 'evaluated'), failed = failed + (NEW.state = 'failed') WHERE slot = 0;
END;
CREATE TRIGGER individual_moved AFTER UPDATE OF state ON individual WHEN OLD.state <> NEW.state BEGIN
    UPDATE tally SET queued = queued + (NEW.state = 'queued') - (OLD.state = 'queued'),
        leased = leased + (NEW.state = 'leased') - (OLD.state = 'leased'),
        evaluated = evaluated + (NEW.state = 'evaluated') - (OLD.state = 'evaluated'),
        failed = failed + (NEW.state = 'failed') - (OLD.state = 'failed') WHERE slot = 0;
END;
CREATE TRIGGER individual_stays BEFORE DELETE ON individual BEGIN
    SELECT RAISE(ABORT, 'individuals are never deleted');
END;
CREATE TRIGGER fitness_written AFTER INSERT ON fitness WHEN NEW.token > 0 BEGIN
    UPDATE tally SET repeats = repeats + 1, repeat_s = repeat_s + (NEW.seconds - repeat_s) / MIN(repeats + 1, 200) WHERE slot = 0;
END;
CREATE TRIGGER fitness_unchanged BEFORE UPDATE ON fitness BEGIN
    SELECT RAISE(ABORT, 'fitness is insert-only');
END;
CREATE TRIGGER fitness_stays BEFORE DELETE ON fitness BEGIN
    SELECT RAISE(ABORT, 'fitness is insert-only');
END;
