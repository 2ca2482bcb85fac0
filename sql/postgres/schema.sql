-- The population of one run, in a schema of PostgreSQL of its own (search_path); the columns are those of sql/sqlite.
-- States and arrows: hpcnas/population/rules.py. Times are the server's, in seconds since 1970, for people.

CREATE FUNCTION clock_s() RETURNS DOUBLE PRECISION LANGUAGE sql VOLATILE
    RETURN extract(epoch FROM clock_timestamp())::DOUBLE PRECISION;

CREATE TABLE run (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    run_id TEXT NOT NULL,                    -- equal to the file run.id beside the database
    hpcnas TEXT NOT NULL,                    -- version that created the run
    created DOUBLE PRECISION NOT NULL,
    config TEXT NOT NULL,                    -- RunConfig.to_dict as JSON
    repeats INTEGER NOT NULL CHECK (repeats > 0),
    epoch INTEGER NOT NULL DEFAULT 0,        -- one more with each head; writes of an earlier head are refused
    draining INTEGER NOT NULL DEFAULT 0,
    finished INTEGER NOT NULL DEFAULT 0,
    schema_version INTEGER NOT NULL DEFAULT 3 -- migrate_*.sql lead here from older ones
);

CREATE TABLE worker (
    id TEXT PRIMARY KEY,                     -- a fresh uuid per process
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    device TEXT NOT NULL,
    slurm_job TEXT NOT NULL,
    slurm_task TEXT NOT NULL,
    joined DOUBLE PRECISION NOT NULL,
    ended DOUBLE PRECISION,                  -- NULL while it is thought alive
    end_reason TEXT NOT NULL DEFAULT '',
    waiting INTEGER NOT NULL DEFAULT 0       -- asked and found nothing since its last lease
);
CREATE INDEX worker_live ON worker (host) WHERE ended IS NULL;

CREATE TABLE individual (
    id INTEGER PRIMARY KEY,
    step INTEGER NOT NULL CHECK (step = id),
    digest TEXT NOT NULL,
    genotype TEXT NOT NULL,
    parent_id INTEGER REFERENCES individual (id),
    mutation TEXT NOT NULL,
    parameters BIGINT NOT NULL,
    copied_from INTEGER REFERENCES individual (id),  -- whose fitness it takes over; queued: waits for it, no worker gets it
    born DOUBLE PRECISION NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'leased', 'evaluated', 'failed')),
    token INTEGER NOT NULL DEFAULT 0,
    claim_id TEXT NOT NULL DEFAULT '',
    worker_id TEXT NOT NULL DEFAULT '',
    heartbeat INTEGER NOT NULL DEFAULT 0,
    progress DOUBLE PRECISION NOT NULL DEFAULT 0,
    errors INTEGER NOT NULL DEFAULT 0,
    losses INTEGER NOT NULL DEFAULT 0,
    preemptions INTEGER NOT NULL DEFAULT 0,
    priority INTEGER NOT NULL DEFAULT 0,     -- 1: given back, goes first
    lapsed INTEGER NOT NULL DEFAULT 0,       -- 1: the lease was taken away and not granted anew
    avoid_host TEXT NOT NULL DEFAULT '',     -- failed or was lost there: next time elsewhere, if there is an elsewhere
    reason TEXT NOT NULL DEFAULT '',         -- why it failed
    fitness DOUBLE PRECISION,                            -- mean accuracy, once evaluated
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
    started DOUBLE PRECISION NOT NULL,
    ended DOUBLE PRECISION,
    ended_order BIGINT,                      -- 1, 2, ... in the order of ending
    outcome TEXT NOT NULL DEFAULT '',        -- '' while it runs; evaluated, lost, stalled, preempted or a FailureKind
    closed INTEGER NOT NULL DEFAULT 0,       -- 1: the individual became evaluated or failed by it
    error TEXT NOT NULL DEFAULT '',
    trace TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (individual_id, token)
);
CREATE INDEX attempt_ended ON attempt (ended_order) WHERE ended_order IS NOT NULL;
CREATE INDEX attempt_failed ON attempt (host, ended_order) WHERE outcome NOT IN ('', 'evaluated', 'lost', 'preempted');

CREATE TABLE fitness (
    individual_id INTEGER NOT NULL REFERENCES individual (id),
    repeat INTEGER NOT NULL CHECK (repeat >= 0),
    accuracy DOUBLE PRECISION NOT NULL CHECK (accuracy BETWEEN 0 AND 1),
    seed BIGINT NOT NULL,
    token INTEGER NOT NULL,                  -- the grant under which it was recorded; 0: copied
    steps BIGINT NOT NULL,
    seconds DOUBLE PRECISION NOT NULL,
    device TEXT NOT NULL,
    recorded DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (individual_id, repeat)
);

CREATE TABLE final (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    individual_id INTEGER REFERENCES individual (id),
    digest TEXT NOT NULL,
    model TEXT NOT NULL,
    channels INTEGER NOT NULL,
    dataset TEXT NOT NULL,
    run INTEGER NOT NULL,
    error_top1 DOUBLE PRECISION NOT NULL,
    error_top5 DOUBLE PRECISION,
    parameters BIGINT NOT NULL,
    seconds DOUBLE PRECISION NOT NULL,
    devices TEXT NOT NULL,
    details TEXT NOT NULL,
    recorded DOUBLE PRECISION NOT NULL,
    UNIQUE (digest, model, channels, dataset, run)
);

CREATE TABLE event (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at DOUBLE PRECISION NOT NULL,
    kind TEXT NOT NULL,
    details TEXT NOT NULL
);

CREATE TABLE quarantine (
    host TEXT PRIMARY KEY,
    since DOUBLE PRECISION NOT NULL
);

CREATE SEQUENCE attempt_order;
CREATE TABLE evaluation_order (last INTEGER NOT NULL);    -- its one row is locked last of all, so nobody who holds it waits
INSERT INTO evaluation_order VALUES (0);

CREATE TABLE tally (                         -- kept by triggers, so that counting takes constant time; 64 rows for 64 writers
    slot INTEGER PRIMARY KEY,
    queued INTEGER NOT NULL DEFAULT 0,
    leased INTEGER NOT NULL DEFAULT 0,
    evaluated INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    repeats INTEGER NOT NULL DEFAULT 0,
    repeat_s DOUBLE PRECISION NOT NULL DEFAULT 0    -- running mean of the seconds of the last repeats
) WITH (fillfactor = 50);
INSERT INTO tally (slot) SELECT generate_series(0, 63);

CREATE FUNCTION count_birth() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE tally SET queued = queued + (NEW.state = 'queued')::int, leased = leased + (NEW.state = 'leased')::int,
        evaluated = evaluated + (NEW.state = 'evaluated')::int, failed = failed + (NEW.state = 'failed')::int
        WHERE slot = NEW.id % 64;
    RETURN NULL;
END $$;
CREATE TRIGGER individual_born AFTER INSERT ON individual FOR EACH ROW EXECUTE FUNCTION count_birth();

CREATE FUNCTION count_move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE tally SET queued = queued + (NEW.state = 'queued')::int - (OLD.state = 'queued')::int,
        leased = leased + (NEW.state = 'leased')::int - (OLD.state = 'leased')::int,
        evaluated = evaluated + (NEW.state = 'evaluated')::int - (OLD.state = 'evaluated')::int,
        failed = failed + (NEW.state = 'failed')::int - (OLD.state = 'failed')::int
        WHERE slot = NEW.id % 64;
    RETURN NULL;
END $$;
CREATE TRIGGER individual_moved AFTER UPDATE OF state ON individual FOR EACH ROW WHEN (OLD.state <> NEW.state)
    EXECUTE FUNCTION count_move();

CREATE FUNCTION count_repeat() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE tally SET repeats = repeats + 1, repeat_s = repeat_s + (NEW.seconds - repeat_s) / LEAST(repeats + 1, 200)
        WHERE slot = NEW.individual_id % 64;
    RETURN NULL;
END $$;
CREATE TRIGGER fitness_written AFTER INSERT ON fitness FOR EACH ROW WHEN (NEW.token > 0) EXECUTE FUNCTION count_repeat();

CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION '% is insert-only', TG_TABLE_NAME;
END $$;
CREATE TRIGGER individual_stays BEFORE DELETE ON individual FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE TRIGGER fitness_stays BEFORE UPDATE OR DELETE ON fitness FOR EACH ROW EXECUTE FUNCTION refuse();
