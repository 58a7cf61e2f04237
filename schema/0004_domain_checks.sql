-- What "waybill domain check" found, events of the directory itself, and when a login was last used.

CREATE TABLE waybill.domain_checks (
	domain     text NOT NULL REFERENCES waybill.domains ON DELETE CASCADE,
	name       text NOT NULL,                       -- "dkim s2026q4", "spf 192.0.2.1", "dmarc", …
	status     text NOT NULL CHECK (status IN ('good', 'note', 'warning', 'broken', 'unknown')),
	detail     text NOT NULL,
	advice     text NOT NULL DEFAULT '',
	checked_at timestamptz NOT NULL DEFAULT now(),
	changed_at timestamptz NOT NULL DEFAULT now(),  -- when the status became what it is
	PRIMARY KEY (domain, name)
);

-- An event about no message, such as domain.dns_broken: stored, numbered and owed to endpoints like every other.
CREATE FUNCTION waybill.record_own_event(customer text, type text, event_id text, host text, detail jsonb) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	number bigint;
BEGIN
	INSERT INTO waybill.event_seq AS s (customer, last) VALUES (record_own_event.customer, 1)
	ON CONFLICT (customer) DO UPDATE SET last = s.last + 1 RETURNING s.last INTO number;
	INSERT INTO waybill.events (customer, seq, event_id, type, occurred_at, host, instance, queue_id, source_kind, detail)
	VALUES (record_own_event.customer, number, record_own_event.event_id, record_own_event.type, now(),
	        record_own_event.host, 'waybill', '-', 'directory', record_own_event.detail);
	INSERT INTO waybill.deliveries (customer, endpoint, event_id, occurred_at)
	SELECT e.customer, e.endpoint, record_own_event.event_id, now() FROM waybill.endpoints AS e
	WHERE e.customer = record_own_event.customer AND e.status = 'active'
	  AND (e.events = '{}' OR record_own_event.type = ANY (e.events));
	NOTIFY waybill_deliveries;
END $$;

-- Keeps one finding. True when the domain got worse by it: it is broken now and was not before.
CREATE FUNCTION waybill.keep_domain_check(domain text, name text, status text, detail text, advice text) RETURNS boolean
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	before text;
BEGIN
	SELECT c.status INTO before FROM waybill.domain_checks AS c
	WHERE c.domain = keep_domain_check.domain AND c.name = keep_domain_check.name FOR UPDATE;
	-- Not to know is no news: a DNS server that does not answer neither breaks nor mends anything.
	IF keep_domain_check.status = 'unknown' AND before IS NOT NULL THEN
		RETURN false;
	END IF;
	INSERT INTO waybill.domain_checks AS c (domain, name, status, detail, advice)
	VALUES (keep_domain_check.domain, keep_domain_check.name, keep_domain_check.status, keep_domain_check.detail,
	        keep_domain_check.advice)
	ON CONFLICT ON CONSTRAINT domain_checks_pkey DO UPDATE
	SET status = excluded.status, detail = excluded.detail, advice = excluded.advice, checked_at = now(),
	    changed_at = CASE WHEN c.status = excluded.status THEN c.changed_at ELSE now() END;
	RETURN keep_domain_check.status = 'broken' AND before IS DISTINCT FROM 'broken';
END $$;

REVOKE EXECUTE ON FUNCTION waybill.record_own_event, waybill.keep_domain_check FROM PUBLIC;
GRANT EXECUTE ON FUNCTION waybill.record_own_event, waybill.keep_domain_check TO waybill_admin;

CREATE VIEW support.domain_checks WITH (security_barrier = true) AS
SELECT domain, name, status, detail, advice, checked_at, changed_at FROM waybill.domain_checks;

-- The last use of a login, to ten minutes: one small update a batch of events, if any. A row that somebody else is writing is
-- left for the next batch, so that this never makes a batch wait.
CREATE FUNCTION waybill.keep_last_use() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
	WITH used AS MATERIALIZED (
		SELECT lower(sasl_username) AS login, max(occurred_at) AS at FROM fresh WHERE sasl_username IS NOT NULL GROUP BY 1
	), free AS MATERIALIZED (
		SELECT l.login, u.at FROM waybill.logins AS l JOIN used AS u USING (login)
		WHERE l.last_used_at IS NULL OR l.last_used_at < u.at - interval '10 minutes'
		FOR NO KEY UPDATE OF l SKIP LOCKED
	)
	UPDATE waybill.logins AS l SET last_used_at = f.at FROM free AS f WHERE l.login = f.login;
	RETURN NULL;
END $$;
CREATE TRIGGER last_use AFTER INSERT ON waybill.events REFERENCING NEW TABLE AS fresh
	FOR EACH STATEMENT EXECUTE FUNCTION waybill.keep_last_use();
