-- Schema 3: without the state of the head's random numbers, which follow from seed and step alone; genotypes wait for twins. From the tables of hpcnas 0.1.0.
ALTER TABLE run DROP COLUMN rng_state;
ALTER TABLE run ALTER COLUMN schema_version SET DEFAULT 3;
UPDATE run SET schema_version = 3;
CREATE INDEX IF NOT EXISTS individual_waiting ON individual (copied_from) WHERE state = 'queued' AND copied_from IS NOT NULL;
