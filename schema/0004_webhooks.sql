-- Endpoints, and what is owed to them. One delivery is one event for one endpoint; attempts are its POSTs.

CREATE TABLE waybill.endpoints (
	customer         text NOT NULL REFERENCES waybill.customers ON DELETE CASCADE,
	endpoint         text NOT NULL CHECK (endpoint ~ '^ep_[a-z2-7]{16}$'),
	url              text NOT NULL,
	format           text NOT NULL DEFAULT 'waybill' CHECK (format IN ('waybill', 'sendgrid', 'mailgun', 'postmark', 'ses')),
	events           text[] NOT NULL DEFAULT '{}',  -- wanted types; empty: all
	sealed_secret    bytea NOT NULL,                -- common/seal.h under the webhook key; data "customer endpoint"
	sealed_previous  bytea,                         -- signs as well until previous_until
	previous_until   timestamptz,
	v1a              boolean NOT NULL DEFAULT false, -- signs with Ed25519 (v1a) as well
	sealed_header    bytea,                         -- a header field "Name: value"; data "customer endpoint header"
	sealed_certificate bytea,                       -- client certificates and key, PEM; data "customer endpoint certificate"
	timeout_s        integer CHECK (timeout_s BETWEEN 1 AND 30), -- of a POST; NULL: webhookd's
	batch_max        integer NOT NULL DEFAULT 1 CHECK (batch_max BETWEEN 1 AND 1000), -- events of a POST; 1: no batches
	batch_wait_s     integer NOT NULL DEFAULT 1 CHECK (batch_wait_s BETWEEN 0 AND 300), -- of an event, for company
	status           text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused', 'disabled')),
	status_reason    text NOT NULL DEFAULT '',
	disabled_at      timestamptz,                   -- the last time; nothing that happened later is owed to it until it is resumed
	failures         integer NOT NULL DEFAULT 0,    -- attempts failed in a row
	failing_since    timestamptz,                   -- the first of them
	notices          integer NOT NULL DEFAULT 0,    -- of that outage, sent
	retry_at         timestamptz,                   -- nothing is posted before: Retry-After, or the breaker
	created_at       timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (customer, endpoint),
	CHECK (batch_max = 1 OR format IN ('waybill', 'sendgrid'))
);

CREATE TRIGGER audit AFTER INSERT OR DELETE ON waybill.endpoints
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_audit('endpoint', 'customer', 'endpoint');
-- What people change, and disabling; not the book-keeping of failures.
CREATE TRIGGER audit_update AFTER UPDATE ON waybill.endpoints FOR EACH ROW
	WHEN ((OLD.url, OLD.format, OLD.events, OLD.v1a, OLD.sealed_secret, OLD.sealed_header, OLD.sealed_certificate, OLD.timeout_s,
	       OLD.batch_max, OLD.batch_wait_s, OLD.status)
	      IS DISTINCT FROM (NEW.url, NEW.format, NEW.events, NEW.v1a, NEW.sealed_secret, NEW.sealed_header, NEW.sealed_certificate,
	       NEW.timeout_s, NEW.batch_max, NEW.batch_wait_s, NEW.status))
	EXECUTE FUNCTION waybill.keep_audit('endpoint', 'customer', 'endpoint');

-- A lease stands beside due_at, which the index of what is due holds: taking one is an update in place (HOT), given room on
-- the page. The attempt that delivered stands in the delivery's own row: one row is written for it.
CREATE TABLE waybill.deliveries (
	customer      text NOT NULL,
	endpoint      text NOT NULL,
	event_id      text NOT NULL,
	occurred_at   timestamptz NOT NULL,             -- the event's: finds its partition
	state         text NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'delivered', 'exhausted', 'dropped')),
	attempts      integer NOT NULL DEFAULT 0,
	ladder_from   integer NOT NULL DEFAULT 0,       -- attempts made before the last replay: the ladder begins anew
	due_at        timestamptz NOT NULL DEFAULT now(), -- when due: the next attempt
	leased_until  timestamptz,                      -- nobody else posts it before; NULL: nobody holds it
	created_at    timestamptz NOT NULL DEFAULT now(),
	finished_at   timestamptz,
	-- The attempt that delivered.
	started_at    timestamptz,                      -- NULL: none did since the last replay
	duration_ms   integer,
	status        integer,
	answer        text,
	-- A batch: events that travel in one POST, and keep together until it is done.
	batch         text,                             -- its id
	batch_members text[],                           -- their event ids in order, in the row of the first, which leads the others
	PRIMARY KEY (customer, endpoint, event_id),
	FOREIGN KEY (customer, endpoint) REFERENCES waybill.endpoints ON DELETE CASCADE
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
-- A lease walks from endpoint to endpoint and takes the oldest of each, so that a long backlog of one costs the others
-- nothing.
CREATE INDEX deliveries_due ON waybill.deliveries (customer, endpoint, due_at) WHERE state = 'due';
-- Old rows go in the order they came.
CREATE INDEX ON waybill.deliveries USING brin (created_at);

-- The attempts that did not deliver, which are few, and those that did before a replay.
CREATE TABLE waybill.earlier_attempts (
	customer    text NOT NULL,
	endpoint    text NOT NULL,
	event_id    text NOT NULL,
	attempt     integer NOT NULL,                   -- from 1
	started_at  timestamptz NOT NULL,
	duration_ms integer NOT NULL,
	status      integer,                            -- HTTP status; NULL: no answer
	error       text,                               -- why there was none
	answer      text,                               -- its first 1 KiB
	batch       text,
	PRIMARY KEY (customer, endpoint, event_id, attempt)
);
CREATE INDEX ON waybill.earlier_attempts USING brin (started_at);

-- They belong to deliveries, but a foreign key would cost more than all the rest of a record.
CREATE FUNCTION waybill.forget_attempts() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM waybill.earlier_attempts a WHERE a.customer = OLD.customer AND a.endpoint = OLD.endpoint;
	RETURN NULL;
END $$;
CREATE TRIGGER forget_attempts AFTER DELETE ON waybill.endpoints
	FOR EACH ROW EXECUTE FUNCTION waybill.forget_attempts();

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

-- Deferrals come every few minutes for days: an endpoint is owed the first one of a message for a recipient, one of each
-- further category, and one every four hours. The events themselves are all kept.
CREATE FUNCTION waybill.deferral_is_news(customer text, endpoint text, occurred_at timestamptz, queue_id text, recipient text, category text)
RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT NOT EXISTS (
		SELECT FROM waybill.events e
		JOIN waybill.deliveries d ON d.customer = e.customer AND d.endpoint = deferral_is_news.endpoint AND d.event_id = e.event_id
		WHERE e.customer = deferral_is_news.customer AND e.queue_id = deferral_is_news.queue_id
		  AND e.recipient = deferral_is_news.recipient AND e.type = 'message.deferred'
		  AND e.bounce_category IS NOT DISTINCT FROM deferral_is_news.category
		  AND e.occurred_at < deferral_is_news.occurred_at
		  AND e.occurred_at > deferral_is_news.occurred_at - interval '4 hours')
$$;

-- Owes events to an endpoint again, whatever became of them, and those it was never owed; nothing that its filter does not
-- want. EVENTS: these, or NULL; FAILED: only those that were exhausted; else by time. Returns how many. What delivered them
-- before stays on record; a batch that they are in ends. By time, it is owed for the first time only what it would have been
-- owed when it happened: deferrals that are news, and no events about endpoints that were for others.
CREATE FUNCTION waybill.replay(customer text, endpoint text, events text[], failed boolean, since timestamptz, until timestamptz)
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
CREATE FUNCTION waybill.prune_deliveries(keep interval)
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


-- An endpoint in trouble.

-- An event of our own about a customer's endpoint. Returns its id.
CREATE FUNCTION waybill.endpoint_event(customer text, type text, detail jsonb)
RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id text := waybill.random_event_id();
BEGIN
	INSERT INTO waybill.events (customer, occurred_at, event_id, seq, type, host, instance, queue_id, source_kind, detail)
	VALUES (customer, now(), id, waybill.next_seq(customer), type, '', '', '', 'webhookd', detail);
	RETURN id;
END $$;

-- An event that says nothing, owed to one endpoint: does it arrive? Returns its id.
CREATE FUNCTION waybill.test_endpoint(customer text, endpoint text)
RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id text := waybill.endpoint_event(customer, 'webhook.test', jsonb_build_object('endpoint', endpoint));
BEGIN
	INSERT INTO waybill.deliveries (customer, endpoint, event_id, occurred_at)
	VALUES (test_endpoint.customer, test_endpoint.endpoint, id, now());
	NOTIFY waybill_deliveries;
	RETURN id;
END $$;

-- Notices that go out by mail, to the customer and to the postmaster: the customer's other endpoints, if there are any, may
-- be in the same trouble. waybill notice send sends them.
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

-- Tells by mail, and the customer's other endpoints.
CREATE FUNCTION waybill.endpoint_notice(e waybill.endpoints, type text)
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

-- A failure was recorded: notices after 1, 24 and 72 hours of nothing but failures, and after five days the end.
CREATE FUNCTION waybill.endpoint_fails() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	passed integer := (SELECT count(*) FROM unnest('{1 hour,24 hours,72 hours,120 hours}'::interval[]) AS t
	                   WHERE now() - NEW.failing_since >= t);
BEGIN
	IF passed > NEW.notices THEN
		NEW.notices := passed;
		IF passed < 4 THEN
			PERFORM waybill.endpoint_notice(NEW, 'webhook.endpoint.failing');
		ELSE
			NEW.status := 'disabled';
			NEW.status_reason := 'every attempt failed for five days';
		END IF;
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER fails BEFORE UPDATE ON waybill.endpoints FOR EACH ROW
	WHEN (NEW.failures > OLD.failures AND NEW.status = 'active') EXECUTE FUNCTION waybill.endpoint_fails();

CREATE FUNCTION waybill.note_disabled() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	NEW.disabled_at := now();
	RETURN NEW;
END $$;
-- After "fails" (triggers fire in the order of their names), which may be what disables it.
CREATE TRIGGER note_disabled BEFORE UPDATE ON waybill.endpoints FOR EACH ROW
	WHEN (NEW.status = 'disabled' AND OLD.status <> 'disabled') EXECUTE FUNCTION waybill.note_disabled();

CREATE FUNCTION waybill.endpoint_disabled() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM waybill.endpoint_notice(NEW, 'webhook.endpoint.disabled');
	RETURN NULL;
END $$;
CREATE TRIGGER disabled AFTER UPDATE ON waybill.endpoints FOR EACH ROW
	WHEN (NEW.status = 'disabled' AND OLD.status <> 'disabled') EXECUTE FUNCTION waybill.endpoint_disabled();

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


REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA waybill FROM PUBLIC;
GRANT SELECT, UPDATE (status, status_reason, failures, failing_since, notices, retry_at) ON waybill.endpoints TO waybill_webhookd;
GRANT SELECT, UPDATE (state, attempts, ladder_from, due_at, leased_until, finished_at, started_at, duration_ms, status, answer,
	batch, batch_members) ON waybill.deliveries TO waybill_webhookd;
GRANT SELECT, INSERT ON waybill.earlier_attempts TO waybill_webhookd;
GRANT EXECUTE ON FUNCTION waybill.prune_deliveries TO waybill_webhookd;
-- Who sends notices needs to read and write nothing else.
GRANT EXECUTE ON FUNCTION waybill.take_notices, waybill.told_notices, waybill.release_notices, waybill.settle_notices
	TO waybill_notices;
