-- Webhooks: leases that move no index and one row written for an attempt that delivers; batches; notices by mail.

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
	ADD disabled_at  timestamptz,                   -- the last time; nothing that happened later is owed to it until it is resumed
	ADD CHECK (batch_max = 1 OR format IN ('waybill', 'sendgrid'));

CREATE FUNCTION waybill.note_disabled() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	NEW.disabled_at := now();
	RETURN NEW;
END $$;
-- After "fails" (triggers fire in the order of their names), which may be what disables it.
CREATE TRIGGER note_disabled BEFORE UPDATE ON waybill.endpoints FOR EACH ROW
	WHEN (NEW.status = 'disabled' AND OLD.status <> 'disabled') EXECUTE FUNCTION waybill.note_disabled();

DROP TRIGGER audit_update ON waybill.endpoints;
CREATE TRIGGER audit_update AFTER UPDATE ON waybill.endpoints FOR EACH ROW
	WHEN ((OLD.url, OLD.format, OLD.events, OLD.v1a, OLD.sealed_secret, OLD.sealed_header, OLD.sealed_certificate, OLD.timeout_s,
	       OLD.batch_max, OLD.batch_wait_s, OLD.status)
	      IS DISTINCT FROM (NEW.url, NEW.format, NEW.events, NEW.v1a, NEW.sealed_secret, NEW.sealed_header, NEW.sealed_certificate,
	       NEW.timeout_s, NEW.batch_max, NEW.batch_wait_s, NEW.status))
	EXECUTE FUNCTION waybill.keep_audit('endpoint', 'customer', 'endpoint');

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
-- By time, it is owed for the first time only what it would have been owed when it happened: deferrals that are news, and no
-- events about endpoints that were for others.
CREATE OR REPLACE FUNCTION waybill.replay(customer text, endpoint text, events text[], failed boolean, since timestamptz, until timestamptz)
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	count bigint;
	batches text[];
	deferred record;
BEGIN
	-- In their order, one by one: whether one is news hangs on those before it.
	FOR deferred IN
		SELECT e.occurred_at, e.event_id, e.queue_id, e.recipient, e.bounce_category
		FROM waybill.endpoints p JOIN waybill.events e USING (customer)
		WHERE p.customer = replay.customer AND p.endpoint = replay.endpoint AND replay.events IS NULL AND NOT replay.failed
		  AND e.occurred_at >= coalesce(replay.since, '-infinity') AND e.occurred_at < coalesce(replay.until, 'infinity')
		  AND e.type = 'message.deferred' AND (p.events = '{}' OR e.type = ANY (p.events))
		ORDER BY e.occurred_at
	LOOP
		INSERT INTO waybill.deliveries (customer, endpoint, event_id, occurred_at)
		SELECT replay.customer, replay.endpoint, deferred.event_id, deferred.occurred_at
		WHERE waybill.deferral_is_news(replay.customer, replay.endpoint, deferred.occurred_at, deferred.queue_id,
		                               deferred.recipient, deferred.bounce_category)
		ON CONFLICT DO NOTHING;
	END LOOP;
	WITH again AS (
		INSERT INTO waybill.deliveries AS d (customer, endpoint, event_id, occurred_at)
		SELECT e.customer, p.endpoint, e.event_id, e.occurred_at
		FROM waybill.endpoints p JOIN waybill.events e USING (customer)
		LEFT JOIN waybill.deliveries o ON o.customer = p.customer AND o.endpoint = p.endpoint AND o.event_id = e.event_id
		WHERE p.customer = replay.customer AND p.endpoint = replay.endpoint
		  AND e.occurred_at >= coalesce(replay.since, '-infinity') AND e.occurred_at < coalesce(replay.until, 'infinity')
		  AND (replay.events IS NULL OR e.event_id = ANY (replay.events))
		  AND (p.events = '{}' OR e.type = ANY (p.events) OR replay.events IS NOT NULL)
		  AND (NOT replay.failed OR o.state = 'exhausted')
		  AND (replay.events IS NOT NULL OR o.event_id IS NOT NULL
		       OR e.type <> 'message.deferred' AND e.type NOT LIKE 'webhook.%')
		ON CONFLICT ON CONSTRAINT deliveries_pkey DO UPDATE
		SET state = 'due', due_at = now(), created_at = now(), ladder_from = d.attempts, finished_at = NULL
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
		AND (started_at IS NULL OR started_at < now() - keep) LIMIT 10000)) RETURNING *),
	-- A batch that loses its first row, which alone knows the others, is none any more: they go on by themselves.
	m AS (UPDATE waybill.deliveries o SET batch = NULL FROM d
		WHERE d.batch_members IS NOT NULL AND o.customer = d.customer AND o.endpoint = d.endpoint
		AND o.event_id = ANY (d.batch_members) AND o.batch = d.batch AND o.state = 'due')
	SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM d)
$$;

-- Replays are no measure of haste: they count as events, and not in the times.
CREATE OR REPLACE VIEW support.webhook_lag AS
SELECT p.customer, p.endpoint, p.status, p.failures,
       (SELECT count(*) FROM waybill.deliveries d WHERE d.customer = p.customer AND d.endpoint = p.endpoint
        AND d.state = 'due') AS due,
       t.events, t.recorded_p50, t.recorded_p99, t.posted_p50, t.posted_p99, t.delivered_p50, t.delivered_p99
FROM waybill.endpoints p CROSS JOIN LATERAL (
	SELECT count(DISTINCT a.event_id) AS events,
	       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM e.recorded - e.occurred)) FILTER (WHERE a.attempt = 1) AS recorded_p50,
	       percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM e.recorded - e.occurred)) FILTER (WHERE a.attempt = 1) AS recorded_p99,
	       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM a.started_at - e.recorded)) FILTER (WHERE a.attempt = 1) AS posted_p50,
	       percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM a.started_at - e.recorded)) FILTER (WHERE a.attempt = 1) AS posted_p99,
	       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM a.started_at - e.occurred) + a.duration_ms / 1000.0) FILTER (WHERE a.status BETWEEN 200 AND 299) AS delivered_p50,
	       percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM a.started_at - e.occurred) + a.duration_ms / 1000.0) FILTER (WHERE a.status BETWEEN 200 AND 299) AS delivered_p99
	FROM support.attempts a
	JOIN waybill.deliveries d USING (customer, endpoint, event_id)
	CROSS JOIN LATERAL (
		SELECT CASE WHEN haste THEN recorded_at END AS recorded, CASE WHEN haste THEN occurred_at END AS occurred
		FROM (SELECT v.recorded_at, v.occurred_at, d.created_at < v.recorded_at + interval '1 minute' AS haste
		      FROM waybill.events v
		      WHERE v.customer = a.customer AND v.occurred_at = d.occurred_at AND v.event_id = a.event_id) v) AS e
	WHERE a.customer = p.customer AND a.endpoint = p.endpoint AND a.started_at > now() - interval '1 hour') AS t;

-- Notices of an endpoint's trouble that go out by mail, to the customer and to the postmaster: the customer's other
-- endpoints, if there are any, may be in the same trouble. waybill notice send sends them.
ALTER TABLE waybill.customers ADD contact text NOT NULL DEFAULT '';  -- mail address; empty: none

CREATE TABLE waybill.notices (
	id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	customer      text NOT NULL,
	endpoint      text NOT NULL,
	type          text NOT NULL,                    -- the event's
	reason        text NOT NULL,
	failing_since timestamptz,
	failures      integer NOT NULL,
	created_at    timestamptz NOT NULL DEFAULT now(),
	taken_at      timestamptz,                      -- somebody sends it, or began to
	settled_at    timestamptz,
	outcome       text,                             -- sent, over (there was nothing to say any more), nobody (to tell), failed
	tries         integer NOT NULL DEFAULT 0,
	customer_told   timestamptz,                    -- each of the two is told once
	postmaster_told timestamptz,
	FOREIGN KEY (customer, endpoint) REFERENCES waybill.endpoints ON DELETE CASCADE
);
CREATE INDEX ON waybill.notices (id) WHERE settled_at IS NULL;
CREATE INDEX ON waybill.notices (customer, endpoint);
CREATE INDEX ON waybill.notices (created_at);

CREATE OR REPLACE FUNCTION waybill.endpoint_notice(e waybill.endpoints, type text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id text := waybill.endpoint_event(e.customer, type, jsonb_build_object('endpoint', e.endpoint, 'url', e.url,
		'reason', e.status_reason, 'failing_since', e.failing_since, 'failures', e.failures));
BEGIN
	INSERT INTO waybill.notices (customer, endpoint, type, reason, failing_since, failures)
	VALUES (e.customer, e.endpoint, endpoint_notice.type, e.status_reason, e.failing_since, e.failures);
	INSERT INTO waybill.deliveries (customer, endpoint, event_id, occurred_at)
	SELECT o.customer, o.endpoint, id, now() FROM waybill.endpoints o
	WHERE o.customer = e.customer AND o.endpoint <> e.endpoint AND o.status <> 'disabled'
	  AND (o.events = '{}' OR endpoint_notice.type = ANY (o.events));
	NOTIFY waybill_deliveries;
END $$;

-- Takes notices to be sent, the oldest first, MOST at most; nobody else gets them within ten minutes, and none is taken more
-- than five times: a mail whose sender died is sent again rather than never. What is over by now is settled, and so is what
-- could not be sent in five tries or in a day.
CREATE FUNCTION waybill.take_notices(most integer)
RETURNS TABLE (id bigint, customer text, contact text, endpoint text, url text, type text, reason text,
               failing_since timestamptz, failures integer, created_at timestamptz, customer_told boolean,
               postmaster_told boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
	DELETE FROM waybill.notices n WHERE n.created_at < now() - interval '30 days';
	UPDATE waybill.notices n SET settled_at = now(), outcome = CASE WHEN e.status = 'active' AND e.failing_since IS NULL THEN 'over'
	                                                                   ELSE 'failed' END
	FROM waybill.endpoints e
	WHERE n.settled_at IS NULL AND e.customer = n.customer AND e.endpoint = n.endpoint
	  AND (n.tries >= 5 AND n.taken_at < now() - interval '10 minutes' OR n.created_at < now() - interval '1 day'
	       OR e.status = 'active' AND e.failing_since IS NULL);
	RETURN QUERY WITH taken AS (
		UPDATE waybill.notices n SET taken_at = now(), tries = n.tries + 1
		WHERE n.id IN (SELECT f.id FROM waybill.notices f WHERE f.settled_at IS NULL
		               AND (f.taken_at IS NULL OR f.taken_at < now() - interval '10 minutes')
		               ORDER BY f.id LIMIT most FOR UPDATE SKIP LOCKED)
		RETURNING n.*
	)
	SELECT t.id, t.customer, c.contact, t.endpoint, e.url, t.type, t.reason, t.failing_since, t.failures, t.created_at,
	       t.customer_told IS NOT NULL, t.postmaster_told IS NOT NULL
	FROM taken t JOIN waybill.customers c ON c.customer = t.customer
	JOIN waybill.endpoints e ON e.customer = t.customer AND e.endpoint = t.endpoint
	ORDER BY t.customer, t.id;
END $$;

-- They were sent to WHO, the customer or the postmaster.
CREATE FUNCTION waybill.told_notices(ids bigint[], who text)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	UPDATE waybill.notices n
	SET customer_told = CASE WHEN who = 'customer' THEN now() ELSE n.customer_told END,
	    postmaster_told = CASE WHEN who = 'postmaster' THEN now() ELSE n.postmaster_told END
	WHERE n.id = ANY (ids)
$$;

-- Gives back those that were taken and not tried.
CREATE FUNCTION waybill.release_notices(ids bigint[])
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	UPDATE waybill.notices n SET taken_at = NULL, tries = greatest(0, n.tries - 1)
	WHERE n.id = ANY (ids) AND n.settled_at IS NULL
$$;

CREATE FUNCTION waybill.settle_notices(ids bigint[], outcome text)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	UPDATE waybill.notices n SET settled_at = now(), outcome = settle_notices.outcome
	WHERE n.id = ANY (ids) AND n.settled_at IS NULL
$$;

CREATE VIEW support.notices AS
SELECT created_at, customer, endpoint, type, reason, failing_since, failures, settled_at, outcome, tries,
       customer_told, postmaster_told
FROM waybill.notices;

-- Who sends them needs to read and write nothing else.
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'waybill_notices') THEN
		CREATE ROLE waybill_notices LOGIN;
	END IF;
END $$;
GRANT USAGE ON SCHEMA waybill TO waybill_notices;

REVOKE EXECUTE ON FUNCTION waybill.dissolve_batches, waybill.note_disabled, waybill.take_notices, waybill.told_notices, waybill.release_notices,
	waybill.settle_notices FROM PUBLIC;
GRANT EXECUTE ON FUNCTION waybill.take_notices, waybill.told_notices, waybill.release_notices, waybill.settle_notices
	TO waybill_notices, waybill_admin;
GRANT EXECUTE ON FUNCTION waybill.deferral_is_news TO waybill_admin;
GRANT UPDATE (ladder_from, leased_until, started_at, duration_ms, status, answer, batch, batch_members) ON waybill.deliveries TO waybill_webhookd;
SELECT waybill.open_views();
