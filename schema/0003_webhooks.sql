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
	status           text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused', 'disabled')),
	status_reason    text NOT NULL DEFAULT '',
	failures         integer NOT NULL DEFAULT 0,    -- attempts failed in a row
	failing_since    timestamptz,                   -- the first of them
	notices          integer NOT NULL DEFAULT 0,    -- of that outage, sent
	retry_at         timestamptz,                   -- nothing is posted before: Retry-After, or the breaker
	created_at       timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (customer, endpoint)
);

CREATE TRIGGER audit AFTER INSERT OR DELETE ON waybill.endpoints
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_audit('endpoint', 'customer', 'endpoint');
-- What people change, and disabling; not the book-keeping of failures.
CREATE TRIGGER audit_update AFTER UPDATE ON waybill.endpoints FOR EACH ROW
	WHEN ((OLD.url, OLD.format, OLD.events, OLD.sealed_secret, OLD.sealed_header, OLD.sealed_certificate, OLD.timeout_s, OLD.status)
	      IS DISTINCT FROM (NEW.url, NEW.format, NEW.events, NEW.sealed_secret, NEW.sealed_header, NEW.sealed_certificate, NEW.timeout_s, NEW.status))
	EXECUTE FUNCTION waybill.keep_audit('endpoint', 'customer', 'endpoint');

CREATE TABLE waybill.deliveries (
	customer    text NOT NULL,
	endpoint    text NOT NULL,
	event_id    text NOT NULL,
	occurred_at timestamptz NOT NULL,               -- the event's: finds its partition
	state       text NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'delivered', 'exhausted', 'dropped')),
	attempts    integer NOT NULL DEFAULT 0,
	ladder_from integer NOT NULL DEFAULT 0,         -- attempts made before the last replay: the ladder begins anew
	due_at      timestamptz NOT NULL DEFAULT now(), -- when due: the next attempt, or the end of a lease
	created_at  timestamptz NOT NULL DEFAULT now(),
	finished_at timestamptz,
	PRIMARY KEY (customer, endpoint, event_id),
	FOREIGN KEY (customer, endpoint) REFERENCES waybill.endpoints ON DELETE CASCADE
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
-- A lease walks from endpoint to endpoint and takes the oldest of each, so that a long backlog of one costs the others
-- nothing.
CREATE INDEX deliveries_due ON waybill.deliveries (customer, endpoint, due_at) WHERE state = 'due';

-- Old rows go in the order they came.
CREATE INDEX ON waybill.deliveries USING brin (created_at);

CREATE TABLE waybill.attempts (
	customer    text NOT NULL,
	endpoint    text NOT NULL,
	event_id    text NOT NULL,
	attempt     integer NOT NULL,                   -- from 1
	started_at  timestamptz NOT NULL,
	duration_ms integer NOT NULL,
	status      integer,                            -- HTTP status; NULL: no answer
	error       text,                               -- why there was none
	answer      text,                               -- its first 1 KiB
	PRIMARY KEY (customer, endpoint, event_id, attempt)
);
-- They belong to deliveries, but a foreign key would cost more than all the rest of a record.
CREATE FUNCTION waybill.forget_attempts() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM waybill.attempts a WHERE a.customer = OLD.customer AND a.endpoint = OLD.endpoint;
	RETURN NULL;
END $$;
CREATE TRIGGER forget_attempts AFTER DELETE ON waybill.endpoints
	FOR EACH ROW EXECUTE FUNCTION waybill.forget_attempts();
CREATE INDEX ON waybill.attempts USING brin (started_at);

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

-- Owes events to an endpoint again, whatever became of them, and those it was never owed; nothing that its filter does
-- not want. EVENTS: these, or NULL; FAILED: only those that were exhausted; else by time. Returns how many.
CREATE FUNCTION waybill.replay(customer text, endpoint text, events text[], failed boolean, since timestamptz, until timestamptz)
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	count bigint;
BEGIN
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
	SET state = 'due', due_at = now(), ladder_from = d.attempts, finished_at = NULL;
	GET DIAGNOSTICS count = ROW_COUNT;
	IF count > 0 THEN
		NOTIFY waybill_deliveries;
	END IF;
	RETURN count;
END $$;

-- An event of our own about a customer's endpoint. Returns its id.
CREATE FUNCTION waybill.endpoint_event(customer text, type text, detail jsonb)
RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	id text := 'evt_' || substr(translate(replace(gen_random_uuid()::text, '-', ''), '0189', 'ghij'), 1, 26);
	number bigint;
BEGIN
	INSERT INTO waybill.event_seq AS s (customer, last) VALUES (endpoint_event.customer, 1)
	ON CONFLICT (customer) DO UPDATE SET last = s.last + 1 RETURNING s.last INTO number;
	INSERT INTO waybill.events (customer, occurred_at, event_id, seq, type, host, instance, queue_id, source_kind, detail)
	VALUES (endpoint_event.customer, now(), id, number, endpoint_event.type, '', '', '', 'webhookd', endpoint_event.detail);
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

-- Tells the customer's other endpoints.
CREATE FUNCTION waybill.endpoint_notice(e waybill.endpoints, type text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id text := waybill.endpoint_event(e.customer, type, jsonb_build_object('endpoint', e.endpoint, 'url', e.url,
		'reason', e.status_reason, 'failing_since', e.failing_since, 'failures', e.failures));
BEGIN
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

CREATE FUNCTION waybill.endpoint_disabled() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM waybill.endpoint_notice(NEW, 'webhook.endpoint.disabled');
	RETURN NULL;
END $$;
CREATE TRIGGER disabled AFTER UPDATE ON waybill.endpoints FOR EACH ROW
	WHEN (NEW.status = 'disabled' AND OLD.status <> 'disabled') EXECUTE FUNCTION waybill.endpoint_disabled();

-- Forgets what is older, at most 10,000 rows of each table at a time; returns how many.
CREATE FUNCTION waybill.prune_deliveries(keep interval)
RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	WITH a AS (DELETE FROM waybill.attempts WHERE ctid = ANY (ARRAY(
		SELECT ctid FROM waybill.attempts WHERE started_at < now() - keep LIMIT 10000)) RETURNING 1),
	d AS (DELETE FROM waybill.deliveries WHERE ctid = ANY (ARRAY(
		SELECT ctid FROM waybill.deliveries WHERE created_at < now() - keep LIMIT 10000)) RETURNING 1)
	SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM d)
$$;

-- How long events took on their way in the last hour, in seconds: log line to database, database to first POST, log line
-- to 2xx. And what waits.
CREATE VIEW support.webhook_lag WITH (security_barrier = true) AS
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
	FROM waybill.attempts a
	JOIN waybill.deliveries d USING (customer, endpoint, event_id)
	JOIN waybill.events e ON e.customer = a.customer AND e.occurred_at = d.occurred_at AND e.event_id = a.event_id
	WHERE a.customer = p.customer AND a.endpoint = p.endpoint AND a.started_at > now() - interval '1 hour') AS t;

REVOKE EXECUTE ON FUNCTION waybill.deferral_is_news, waybill.replay, waybill.endpoint_event, waybill.endpoint_notice,
	waybill.test_endpoint, waybill.prune_deliveries FROM PUBLIC;
GRANT EXECUTE ON FUNCTION waybill.replay, waybill.endpoint_event, waybill.test_endpoint TO waybill_admin;
GRANT EXECUTE ON FUNCTION waybill.prune_deliveries TO waybill_webhookd;
GRANT SELECT, INSERT, UPDATE, DELETE ON waybill.endpoints, waybill.deliveries, waybill.attempts TO waybill_admin;

-- What the bouncer and waybill-report may do: owe an event to those who want it. They never see a secret.
GRANT SELECT (customer, endpoint, events, status) ON waybill.endpoints TO waybill_bouncer, waybill_report;
GRANT INSERT ON waybill.deliveries TO waybill_bouncer, waybill_report;
-- ON CONFLICT DO NOTHING reads the key.
GRANT SELECT (customer, endpoint, event_id) ON waybill.deliveries TO waybill_bouncer, waybill_report;

GRANT SELECT ON waybill.events TO waybill_webhookd;
GRANT SELECT, UPDATE (status, status_reason, failures, failing_since, notices, retry_at) ON waybill.endpoints TO waybill_webhookd;
GRANT SELECT, UPDATE (state, attempts, due_at, finished_at) ON waybill.deliveries TO waybill_webhookd;
GRANT SELECT, INSERT ON waybill.attempts TO waybill_webhookd;
