-- What a delivery costs: leases that move no index, and one row written for an attempt that delivers.

-- A lease stands beside due_at, which the index of what is due holds: taking one is an update in place (HOT), given room
-- on the page. The attempt that delivered stands in the delivery's own row; the others, which are few, in a table of theirs.
ALTER TABLE waybill.deliveries
	ADD leased_until timestamptz,                   -- nobody else posts it before; NULL: nobody holds it
	ADD started_at   timestamptz,                   -- of the attempt that delivered it; NULL: none did since the last replay
	ADD duration_ms  integer,
	ADD status       integer,
	ADD answer       text,
	-- A batch: events that travel in one POST, and keep together until it is done.
	ADD batch         text,                         -- its id
	ADD batch_members text[],                       -- their event ids in order, in the row of the first, which leads the others
	SET (fillfactor = 60);

ALTER TABLE waybill.endpoints
	ADD batch_max    integer NOT NULL DEFAULT 1 CHECK (batch_max BETWEEN 1 AND 1000), -- events of a POST; 1: no batches
	ADD batch_wait_s integer NOT NULL DEFAULT 1 CHECK (batch_wait_s BETWEEN 0 AND 300), -- of an event, for company
	ADD CHECK (batch_max = 1 OR format IN ('waybill', 'sendgrid'));

-- A batch in the one format is none in the other.
CREATE FUNCTION waybill.dissolve_batches() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	UPDATE waybill.deliveries d SET batch = NULL, batch_members = NULL
	WHERE d.customer = NEW.customer AND d.endpoint = NEW.endpoint AND d.state = 'due' AND d.batch IS NOT NULL;
	RETURN NULL;
END $$;
CREATE TRIGGER dissolve_batches AFTER UPDATE ON waybill.endpoints FOR EACH ROW
	WHEN (OLD.format <> NEW.format) EXECUTE FUNCTION waybill.dissolve_batches();

ALTER TABLE waybill.attempts RENAME TO earlier_attempts;
ALTER TABLE waybill.earlier_attempts ADD batch text;
CREATE OR REPLACE FUNCTION waybill.forget_attempts() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM waybill.earlier_attempts a WHERE a.customer = OLD.customer AND a.endpoint = OLD.endpoint;
	RETURN NULL;
END $$;

-- Deliveries that ended before this migration have their attempts in the table, all of them.
CREATE VIEW support.attempts AS
SELECT customer, endpoint, event_id, attempt, started_at, duration_ms, status, error, answer, batch FROM waybill.earlier_attempts
UNION ALL
SELECT customer, endpoint, event_id, attempts, started_at, duration_ms, status, NULL, answer, batch FROM waybill.deliveries
WHERE started_at IS NOT NULL;

-- Owes events to an endpoint again: see 0003. What delivered them before stays on record; a batch that they are in ends.
CREATE OR REPLACE FUNCTION waybill.replay(customer text, endpoint text, events text[], failed boolean, since timestamptz, until timestamptz)
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	count bigint;
	batches text[];
BEGIN
	WITH again AS (
		INSERT INTO waybill.deliveries AS d (customer, endpoint, event_id, occurred_at)
		SELECT e.customer, p.endpoint, e.event_id, e.occurred_at
		FROM waybill.endpoints p JOIN waybill.events e USING (customer)
		WHERE p.customer = replay.customer AND p.endpoint = replay.endpoint
		  AND e.occurred_at >= coalesce(replay.since, '-infinity') AND e.occurred_at < coalesce(replay.until, 'infinity')
		  AND (replay.events IS NULL OR e.event_id = ANY (replay.events))
		  AND (p.events = '{}' OR e.type = ANY (p.events) OR replay.events IS NOT NULL)
		  AND (NOT replay.failed OR EXISTS (SELECT FROM waybill.deliveries o WHERE o.customer = p.customer
		       AND o.endpoint = p.endpoint AND o.event_id = e.event_id AND o.state = 'exhausted'))
		ON CONFLICT ON CONSTRAINT deliveries_pkey DO UPDATE
		SET state = 'due', due_at = now(), ladder_from = d.attempts, finished_at = NULL
		RETURNING d.*
	), kept AS (
		INSERT INTO waybill.earlier_attempts (customer, endpoint, event_id, attempt, started_at, duration_ms, status, answer, batch)
		SELECT customer, endpoint, event_id, attempts, started_at, duration_ms, status, answer, batch FROM again
		WHERE started_at IS NOT NULL ON CONFLICT DO NOTHING
	)
	SELECT count(*), array_agg(DISTINCT batch) FILTER (WHERE batch IS NOT NULL) FROM again INTO count, batches;
	-- A statement changes a row once: the rest is for one of its own.
	UPDATE waybill.deliveries d
	SET started_at = NULL, duration_ms = NULL, status = NULL, answer = NULL, batch = NULL, batch_members = NULL
	WHERE d.customer = replay.customer AND d.endpoint = replay.endpoint AND d.state = 'due'
	  AND (d.started_at IS NOT NULL OR d.batch = ANY (batches));
	IF count > 0 THEN
		NOTIFY waybill_deliveries;
	END IF;
	RETURN count;
END $$;

-- Forgets what is older, at most 10,000 rows of each table at a time; returns how many.
CREATE OR REPLACE FUNCTION waybill.prune_deliveries(keep interval)
RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	WITH a AS (DELETE FROM waybill.earlier_attempts WHERE ctid = ANY (ARRAY(
		SELECT ctid FROM waybill.earlier_attempts WHERE started_at < now() - keep LIMIT 10000)) RETURNING 1),
	d AS (DELETE FROM waybill.deliveries WHERE ctid = ANY (ARRAY(
		SELECT ctid FROM waybill.deliveries WHERE created_at < now() - keep
		AND (started_at IS NULL OR started_at < now() - keep) LIMIT 10000)) RETURNING 1)
	SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM d)
$$;

CREATE OR REPLACE VIEW support.webhook_lag AS
SELECT p.customer, p.endpoint, p.status, p.failures,
       (SELECT count(*) FROM waybill.deliveries d WHERE d.customer = p.customer AND d.endpoint = p.endpoint
        AND d.state = 'due') AS due,
       t.events, t.recorded_p50, t.recorded_p99, t.posted_p50, t.posted_p99, t.delivered_p50, t.delivered_p99
FROM waybill.endpoints p CROSS JOIN LATERAL (
	SELECT count(DISTINCT a.event_id) AS events,
	       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM e.recorded_at - e.occurred_at)) FILTER (WHERE a.attempt = 1) AS recorded_p50,
	       percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM e.recorded_at - e.occurred_at)) FILTER (WHERE a.attempt = 1) AS recorded_p99,
	       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM a.started_at - e.recorded_at)) FILTER (WHERE a.attempt = 1) AS posted_p50,
	       percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM a.started_at - e.recorded_at)) FILTER (WHERE a.attempt = 1) AS posted_p99,
	       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM a.started_at - e.occurred_at) + a.duration_ms / 1000.0) FILTER (WHERE a.status BETWEEN 200 AND 299) AS delivered_p50,
	       percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM a.started_at - e.occurred_at) + a.duration_ms / 1000.0) FILTER (WHERE a.status BETWEEN 200 AND 299) AS delivered_p99
	FROM support.attempts a
	JOIN waybill.deliveries d USING (customer, endpoint, event_id)
	JOIN waybill.events e ON e.customer = a.customer AND e.occurred_at = d.occurred_at AND e.event_id = a.event_id
	WHERE a.customer = p.customer AND a.endpoint = p.endpoint AND a.started_at > now() - interval '1 hour') AS t;

REVOKE EXECUTE ON FUNCTION waybill.dissolve_batches FROM PUBLIC;
GRANT UPDATE (ladder_from, leased_until, started_at, duration_ms, status, answer, batch, batch_members) ON waybill.deliveries TO waybill_webhookd;
SELECT waybill.open_views();
