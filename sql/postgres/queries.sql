-- Named queries: a line "-- name: what it is for", then one statement. The same names stand in sql/sqlite.

-- create_run: the run's one row, written with the tables
INSERT INTO run (id, run_id, hpcnas, created, config, repeats) VALUES (1, %(run_id)s, %(hpcnas)s, clock_s(), %(config)s, %(repeats)s);

-- read_run: everything about the run
SELECT run_id, hpcnas, created, config, repeats, epoch, draining, finished FROM run;

-- read_flags: what every transaction has to know; the head's epoch among it
SELECT epoch, draining, finished FROM run;

-- lock_flags: the same for the head; no other head can begin before this transaction has ended
SELECT epoch, draining, finished FROM run FOR SHARE;

-- next_epoch: a new head begins
UPDATE run SET epoch = epoch + 1;

-- write_epoch: after a restore that may have lost grants
UPDATE run SET epoch = %(epoch)s;

-- write_draining: no new leases, or again
UPDATE run SET draining = %(draining)s;

-- write_finished: all genotypes are there, or not any more
UPDATE run SET finished = %(finished)s;

-- write_config: what may change on resume
UPDATE run SET config = %(config)s;

-- next_id: steps are dense
SELECT coalesce(max(id), 0) + 1 FROM individual;

-- insert_individual: an offspring
INSERT INTO individual (id, step, digest, genotype, parent_id, mutation, parameters, copied_from, born, state)
VALUES (%(id)s, %(id)s, %(digest)s, %(genotype)s, %(parent_id)s, %(mutation)s, %(parameters)s, %(copied_from)s, clock_s(), 'queued');

-- copy_fitness: a duplicate takes over the rows of its twin
INSERT INTO fitness (individual_id, repeat, accuracy, seed, token, steps, seconds, device, recorded)
SELECT %(id)s, repeat, accuracy, seed, 0, steps, 0, device, clock_s() FROM fitness WHERE individual_id = %(copied_from)s;

-- read_twin: the state of the individual whose fitness is taken over, and whether that one waits itself, locked
SELECT state, copied_from FROM individual WHERE id = %(id)s FOR UPDATE;

-- list_waiting: those that take over its fitness once it is there, locked
SELECT id FROM individual WHERE state = 'queued' AND copied_from = %(id)s ORDER BY id FOR UPDATE;

-- write_twin: whose fitness is waited for; NULL: it is trained itself
UPDATE individual SET copied_from = %(copied_from)s WHERE id = %(id)s;

-- read_attempt_of_claim: was this claim granted before?
SELECT individual_id, token FROM attempt WHERE claim_id = %(claim_id)s;

-- pick_queued: given-back ones first, then the oldest; one that failed on this host only if nobody is elsewhere; none that waits
SELECT id FROM individual WHERE state = 'queued' AND copied_from IS NULL AND (avoid_host <> %(host)s OR NOT EXISTS (
    SELECT 1 FROM worker WHERE ended IS NULL AND host <> %(host)s AND host NOT IN (SELECT host FROM quarantine)))
ORDER BY priority DESC, id LIMIT 1 FOR UPDATE OF individual SKIP LOCKED;

-- read_lease_state: the lease columns of one individual, locked where the dialect locks rows
SELECT state, token, claim_id, worker_id, heartbeat, progress, errors, losses, preemptions, priority, lapsed, avoid_host, reason
FROM individual WHERE id = %(id)s FOR UPDATE;

-- write_lease_state: one arrow of the lease table
UPDATE individual SET state = %(state)s, token = %(token)s, claim_id = %(claim_id)s, worker_id = %(worker_id)s, heartbeat = %(heartbeat)s,
    progress = %(progress)s, errors = %(errors)s, losses = %(losses)s, preemptions = %(preemptions)s, priority = %(priority)s,
    lapsed = %(lapsed)s, avoid_host = %(avoid_host)s, reason = %(reason)s WHERE id = %(id)s;

-- write_evaluated: the last repeat is there
UPDATE individual SET state = 'evaluated', fitness = %(fitness)s, position = %(position)s, progress = 1, lapsed = 0, priority = 0,
    avoid_host = '', reason = '' WHERE id = %(id)s;

-- write_beat: one heartbeat
UPDATE individual SET heartbeat = heartbeat + 1, progress = %(progress)s WHERE id = %(id)s;

-- next_position: the order of becoming evaluated
UPDATE evaluation_order SET last = last + 1 RETURNING last;

-- read_genotype: what the lease carries
SELECT genotype, digest, parameters FROM individual WHERE id = %(id)s;

-- read_repeats: finished repeats of one individual
SELECT repeat, accuracy FROM fitness WHERE individual_id = %(id)s ORDER BY repeat;

-- read_expected_s: how long a repeat took lately
SELECT sum(repeat_s * repeats) / sum(repeats) FROM tally HAVING sum(repeats) > 0;

-- insert_fitness: one repeat
INSERT INTO fitness (individual_id, repeat, accuracy, seed, token, steps, seconds, device, recorded)
VALUES (%(id)s, %(repeat)s, %(accuracy)s, %(seed)s, %(token)s, %(steps)s, %(seconds)s, %(device)s, clock_s());

-- insert_attempt: a grant
INSERT INTO attempt (individual_id, token, claim_id, worker_id, host, started)
VALUES (%(id)s, %(token)s, %(claim_id)s, %(worker_id)s, %(host)s, clock_s());

-- next_ended_order: the order of ending
SELECT nextval('attempt_order');

-- end_attempt: how a grant ended
UPDATE attempt SET ended = clock_s(), ended_order = %(ended_order)s, outcome = %(outcome)s, closed = %(closed)s, error = %(error)s, trace = %(trace)s
WHERE individual_id = %(id)s AND token = %(token)s;

-- date_attempt: the news of a grant's end came late
UPDATE attempt SET ended = %(at)s WHERE individual_id = %(id)s AND token = %(token)s AND started <= %(at)s AND ended > %(at)s;

-- list_next_heartbeats: when the next heartbeat of each lease was due, by the number of those that came
SELECT i.id, i.token, i.heartbeat, a.started + (i.heartbeat + 1) * (SELECT (config::json #>> '{cluster,heartbeat_s}')::double precision FROM run)
FROM individual i JOIN attempt a ON a.individual_id = i.id AND a.token = i.token WHERE i.state = 'leased' ORDER BY i.id;

-- resume_attempt: a lapsed grant whose worker was heard of again
UPDATE attempt SET ended = NULL, ended_order = NULL, outcome = '', closed = 0, error = '' WHERE individual_id = %(id)s AND token = %(token)s;

-- insert_worker: a process joins, perhaps twice
INSERT INTO worker (id, host, pid, device, slurm_job, slurm_task, joined)
VALUES (%(id)s, %(host)s, %(pid)s, %(device)s, %(slurm_job)s, %(slurm_task)s, clock_s())
ON CONFLICT (id) DO UPDATE SET ended = NULL, end_reason = '';

-- read_worker: who asks, and may it
SELECT host, ended, waiting, (SELECT count(*) FROM quarantine q WHERE q.host = w.host) FROM worker w WHERE id = %(id)s;

-- write_waiting: a worker that found nothing, or got something
UPDATE worker SET waiting = %(waiting)s, ended = NULL, end_reason = '' WHERE id = %(id)s;

-- end_worker: a worker left or was lost
UPDATE worker SET ended = clock_s(), end_reason = %(reason)s, waiting = 0 WHERE id = %(id)s AND ended IS NULL;

-- count_waiting: for stores without a service, one child per waiting worker
SELECT count(*) FROM worker WHERE ended IS NULL AND waiting = 1;

-- count_claimable: queued ones that a worker may be granted
SELECT count(*) FROM individual WHERE state = 'queued' AND copied_from IS NULL;

-- count_states: individuals by state
SELECT sum(queued), sum(leased), sum(evaluated), sum(failed) FROM tally;

-- read_steps: evaluated genotypes that the run ends with
SELECT (config::json #>> '{search,steps}')::integer FROM run;

-- count_reused: evaluated genotypes that took over the fitness of an earlier one, and the seconds of its repeats
SELECT count(DISTINCT i.id), coalesce(sum(f.seconds), 0) FROM individual i JOIN fitness f ON f.individual_id = i.copied_from
WHERE i.state = 'evaluated';

-- count_workers: workers thought alive
SELECT count(*) FROM worker WHERE ended IS NULL;

-- read_leases: what the head watches
SELECT id, token, worker_id, heartbeat, progress FROM individual WHERE state = 'leased' ORDER BY id;

-- read_evaluated: in the order of becoming so, from a position on
SELECT id, fitness FROM individual WHERE position > %(offset)s ORDER BY position;

-- find_digest: the best twin to copy from
SELECT id FROM individual WHERE digest = %(digest)s AND state <> 'failed' ORDER BY state = 'evaluated' DESC, id LIMIT 1;

-- find_twin: the first of the very same genotype whose fitness is there, else the one that is trained for it
SELECT id FROM individual WHERE digest = %(digest)s AND genotype = %(genotype)s AND (state = 'evaluated' OR (state IN ('queued', 'leased') AND copied_from IS NULL))
ORDER BY state = 'evaluated' DESC, id LIMIT 1;

-- read_final: has this training been recorded?
SELECT error_top1, error_top5 FROM final
WHERE digest = %(digest)s AND model = %(model)s AND channels = %(channels)s AND dataset = %(dataset)s AND run = %(run)s;

-- insert_final: one full-size training
INSERT INTO final (individual_id, digest, model, channels, dataset, run, error_top1, error_top5, parameters, seconds, devices,
    details, recorded)
VALUES (%(individual_id)s, %(digest)s, %(model)s, %(channels)s, %(dataset)s, %(run)s, %(error_top1)s, %(error_top5)s, %(parameters)s, %(seconds)s, %(devices)s,
    %(details)s, clock_s());

-- insert_event: the event log
INSERT INTO event (at, kind, details) VALUES (clock_s(), %(kind)s, %(details)s);

-- read_last_closed: how the last genotypes ended
SELECT outcome FROM attempt WHERE closed = 1 AND ended_order > %(after)s AND host NOT IN (SELECT host FROM quarantine)
ORDER BY ended_order DESC LIMIT %(last)s;

-- read_first_trace: the traceback to show when a run is stopped
SELECT individual_id, host, outcome, error, trace FROM attempt
WHERE ended_order > %(after)s AND outcome NOT IN ('', 'evaluated', 'lost', 'preempted') ORDER BY ended_order LIMIT 1;

-- count_attempts: claims that were granted
SELECT count(*) FROM attempt;

-- count_failures: attempts that failed, and hosts where some did
SELECT count(*), count(DISTINCT host) FROM attempt
WHERE ended_order > %(after)s AND outcome NOT IN ('', 'evaluated', 'lost', 'preempted');

-- has_fitness: did any repeat ever succeed?
SELECT EXISTS (SELECT 1 FROM fitness);

-- has_untried_host: does a host train on which nothing has failed yet?
SELECT EXISTS (SELECT 1 FROM attempt a WHERE a.outcome = '' AND NOT EXISTS (SELECT 1 FROM attempt b
    WHERE b.host = a.host AND b.ended_order > %(after)s AND b.outcome NOT IN ('', 'evaluated', 'lost', 'preempted')));

-- read_failed_hosts: hosts to look at
SELECT DISTINCT host FROM attempt WHERE outcome NOT IN ('', 'evaluated', 'lost', 'preempted')
AND host NOT IN (SELECT host FROM quarantine);

-- read_last_failures: the newest ones of a host, and whether the genotype failed elsewhere too
SELECT a.individual_id, a.ended_order, EXISTS (SELECT 1 FROM attempt b WHERE b.individual_id = a.individual_id AND b.host <> a.host
    AND b.outcome NOT IN ('', 'evaluated', 'lost', 'preempted'))
FROM attempt a WHERE a.host = %(host)s AND a.outcome NOT IN ('', 'evaluated', 'lost', 'preempted')
ORDER BY a.ended_order DESC LIMIT %(last)s;

-- was_evaluated_since: has a host worked after an attempt ended?
SELECT EXISTS (SELECT 1 FROM attempt WHERE ended_order > %(after)s AND host = %(host)s AND outcome = 'evaluated');

-- was_evaluated_elsewhere: is there a host that works?
SELECT EXISTS (SELECT 1 FROM attempt WHERE host <> %(host)s AND outcome = 'evaluated');

-- insert_quarantine: no more leases for a host
INSERT INTO quarantine (host, since) VALUES (%(host)s, clock_s()) ON CONFLICT (host) DO NOTHING;

-- delete_quarantine: a host may work again
DELETE FROM quarantine WHERE host = %(host)s;

-- read_quarantine: hosts that get no leases
SELECT host FROM quarantine ORDER BY host;

-- read_blamed_on_host: genotypes that failed on a host, and how often
SELECT individual_id, count(*) FROM attempt
WHERE host = %(host)s AND outcome NOT IN ('', 'evaluated', 'lost', 'preempted', 'build', 'too-large')
GROUP BY individual_id ORDER BY individual_id;

-- list_individuals: rows of the population; every state for an empty one
SELECT id, digest, genotype, parent_id, mutation, step, parameters, state, token, worker_id, errors, losses, preemptions, reason,
    (SELECT count(*) FROM attempt WHERE individual_id = individual.id)
FROM individual WHERE %(state)s::text = '' OR state = %(state)s ORDER BY id;

-- read_individual: one of them
SELECT id, digest, genotype, parent_id, mutation, step, parameters, state, token, worker_id, errors, losses, preemptions, reason,
    (SELECT count(*) FROM attempt WHERE individual_id = individual.id)
FROM individual WHERE id = %(id)s;

-- find_best: the fittest; the older one of equals
SELECT id FROM individual WHERE position IS NOT NULL ORDER BY fitness DESC, id LIMIT 1;

-- list_twins: whose fitness is taken over, by whom
SELECT id, copied_from FROM individual WHERE copied_from IS NOT NULL ORDER BY id;

-- list_accuracies: repeats of all individuals
SELECT individual_id, accuracy, seconds FROM fitness ORDER BY individual_id, repeat;

-- read_accuracies: repeats of one individual
SELECT individual_id, accuracy, seconds FROM fitness WHERE individual_id = %(id)s ORDER BY repeat;

-- list_fitness: all fitness rows
SELECT individual_id, repeat, accuracy, seed, token, steps, seconds, device, recorded FROM fitness ORDER BY individual_id, repeat;

-- list_finals: all full-size trainings
SELECT individual_id, digest, model, channels, dataset, run, error_top1, error_top5, parameters, seconds, devices, details
FROM final ORDER BY id;

-- list_attempts: all grants
SELECT individual_id, token, worker_id, host, started, ended, outcome, error, trace FROM attempt ORDER BY individual_id, token;

-- list_recent_attempts: those that run, and the last ones that ended
SELECT individual_id, token, worker_id, host, started, ended, outcome, error, '' FROM attempt
WHERE ended_order IS NULL OR ended_order IN
    (SELECT ended_order FROM attempt WHERE ended_order IS NOT NULL ORDER BY ended_order DESC LIMIT %(last)s);

-- list_devices: what trained, such as cpu or the name of a GPU
SELECT DISTINCT device FROM fitness ORDER BY device;

-- list_workers: all processes that ever joined
SELECT id, host, pid, device, slurm_job, slurm_task, joined, ended, end_reason FROM worker ORDER BY joined, id;

-- list_events: the event log; every kind for an empty one
SELECT id, at, kind, details FROM event WHERE %(kind)s::text = '' OR kind = %(kind)s ORDER BY id;

-- read_config: the configuration as JSON
SELECT config FROM run;

