-- What people see: a view for each question, with the rows that are for who asks.

-- Who of the staff sees which customers. waybill_support itself sees all; a role that is a member of it and has no row
-- here sees none.
CREATE TABLE waybill.staff (
	role      name PRIMARY KEY,
	customers text[] NOT NULL                       -- {*}: all
);

CREATE FUNCTION waybill.my_customers() RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce((SELECT s.customers FROM waybill.staff s WHERE s.role = session_user), '{}')
$$;

CREATE FUNCTION waybill.sees_all() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT session_user = 'waybill_support' OR coalesce((SELECT s.customers @> '{*}' FROM waybill.staff s WHERE s.role = session_user), false)
$$;


-- The directory.

CREATE VIEW support.customers AS
	SELECT c.customer, c.title, c.plan, c.status, c.status_reason, c.status_until, c.time_zone, c.header_from, c.created_at,
	       (SELECT count(*) FROM waybill.logins AS l WHERE l.customer = c.customer) AS logins,
	       (SELECT count(*) FROM waybill.domains AS d WHERE d.customer = c.customer) AS domains, c.takeover
	FROM waybill.customers AS c;

CREATE VIEW support.logins AS
	SELECT l.login, l.customer, l.label, l.enabled, l.expires_at, l.networks, l.destinations,
	       ARRAY(SELECT CASE WHEN r.allow THEN '' ELSE 'not ' END || r.pattern FROM waybill.rights AS r
	             WHERE r.login = l.login ORDER BY r.allow DESC, r.pattern) AS rights,
	       l.previous_until, l.created_at, l.last_used_at, l.suspended_at, l.suspended_reason
	FROM waybill.logins AS l;

CREATE VIEW support.domains AS
	SELECT d.domain, d.customer, d.dkim_mode, d.header_profile, d.created_at,
	       ARRAY(SELECT k.selector || ' ' || k.state FROM waybill.dkim_keys AS k
	             WHERE k.domain = d.domain ORDER BY k.created_at) AS keys
	FROM waybill.domains AS d;

CREATE VIEW support.domain_checks AS
	SELECT domain, name, status, detail, advice, checked_at, changed_at FROM waybill.domain_checks;

CREATE VIEW support.limits AS
	SELECT id, scope, customer, login, domain, unit, spec, action, created_at, destination FROM waybill.limits;

CREATE VIEW support.suppressions AS
	SELECT customer, recipient, reason, event_id, note, created_at, expires_at,
	       coalesce(expires_at > now(), true) AS in_force, rule, provider, remote_mx
	FROM waybill.suppressions;

CREATE VIEW support.audit AS
	SELECT id, at, who, what, object, before, after FROM waybill.audit;


-- Events.

-- One row an event, the words of the webhooks.
CREATE VIEW support.events AS
	SELECT occurred_at, customer, type, recipient, bounce_category AS category, bounce_class AS class, enhanced_code,
	       smtp_code, reason, message_id, sender, orig_recipient, sasl_username, client_ip, queue_id, host, attempt, size,
	       stage, response, remote_enhanced_code, remote_mx, remote_ip, remote_port, remote_tls, provider, delay_total,
	       delay_queue, delay_active, delay_connect, delay_transmit, bounce_scope AS scope, bounce_rule AS rule,
	       suppression, truncated, partial, tag, metadata, detail, seq, event_id, recorded_at
	FROM waybill.events;

-- Messages that the queue still holds as far as the logs tell, and how far each log is read.
CREATE VIEW support.lag AS
	SELECT source, behind AS bytes_behind, log_time, now() - log_time AS age, updated_at,
	       (SELECT count(*) FROM waybill.open_messages o WHERE o.source = p.source AND o.queue_id <> 'NOQUEUE')
	         AS open_messages
	FROM waybill.log_positions p;

CREATE VIEW support.unparsed AS
	SELECT source, lines, why, template, sample, first_at, last_at FROM waybill.unparsed;

CREATE VIEW support.dead_letters AS
	SELECT id, at, source, error, event FROM waybill.dead_letters;

CREATE VIEW support.unverified_reports AS
	SELECT id, at, customer, queue_id, why, kind, report FROM waybill.unverified_reports;

CREATE VIEW support.accounting AS
	SELECT customer, hour, file, events, first_seq, last_seq, sha256, written_at FROM waybill.accounting_files;

CREATE VIEW support.rollups AS
	SELECT customer, hour, nullif(provider, '') AS provider, type, nullif(category, '') AS category, nullif(class, '') AS class, events
	FROM waybill.rollups;

CREATE VIEW support.bounces_by_provider AS
	SELECT customer, hour, nullif(provider, '') AS provider, category, class, sum(events)::bigint AS bounces
	FROM waybill.rollups WHERE type = 'message.bounced' GROUP BY 1, 2, 3, 4, 5;

CREATE VIEW support.brakes AS
	SELECT provider, since, frozen_until, final, hard, spared FROM waybill.brakes;

CREATE VIEW support.dead_domains AS
	SELECT domain, reason, expires_at > now() AS in_force, created_at, expires_at, customers, messages, event_id, rule, note
	FROM waybill.dead_domains;


-- Webhooks.

CREATE VIEW support.attempts AS
	SELECT customer, endpoint, event_id, attempt, started_at, duration_ms, status, error, answer, batch
	FROM waybill.earlier_attempts
	UNION ALL
	SELECT customer, endpoint, event_id, attempts, started_at, duration_ms, status, NULL, answer, batch
	FROM waybill.deliveries WHERE started_at IS NOT NULL;

CREATE VIEW support.notices AS
	SELECT created_at, customer, endpoint, type, reason, failing_since, failures, settled_at, outcome, tries,
	       customer_told, postmaster_told
	FROM waybill.notices;

-- How long events took on their way in the last hour, in seconds: log line to database, database to first POST, log line
-- to 2xx. And what waits. Replays are no measure of haste: they count as events, and not in the times.
CREATE VIEW support.webhook_lag AS
	SELECT p.customer, p.endpoint, p.status, p.failures,
	       (SELECT count(*) FROM waybill.deliveries d WHERE d.customer = p.customer AND d.endpoint = p.endpoint
	        AND d.state = 'due') AS due,
	       t.events, t.recorded_p50, t.recorded_p99, t.posted_p50, t.posted_p99, t.delivered_p50, t.delivered_p99
	FROM waybill.endpoints p CROSS JOIN LATERAL (
		SELECT count(DISTINCT a.event_id) AS events,
		       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM e.recorded - e.occurred))
		           FILTER (WHERE a.attempt = 1) AS recorded_p50,
		       percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM e.recorded - e.occurred))
		           FILTER (WHERE a.attempt = 1) AS recorded_p99,
		       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM a.started_at - e.recorded))
		           FILTER (WHERE a.attempt = 1) AS posted_p50,
		       percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM a.started_at - e.recorded))
		           FILTER (WHERE a.attempt = 1) AS posted_p99,
		       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM a.started_at - e.occurred) + a.duration_ms / 1000.0)
		           FILTER (WHERE a.status BETWEEN 200 AND 299) AS delivered_p50,
		       percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM a.started_at - e.occurred) + a.duration_ms / 1000.0)
		           FILTER (WHERE a.status BETWEEN 200 AND 299) AS delivered_p99
		FROM support.attempts a
		JOIN waybill.deliveries d USING (customer, endpoint, event_id)
		CROSS JOIN LATERAL (
			SELECT CASE WHEN haste THEN recorded_at END AS recorded, CASE WHEN haste THEN occurred_at END AS occurred
			FROM (SELECT v.recorded_at, v.occurred_at, d.created_at < v.recorded_at + interval '1 minute' AS haste
			      FROM waybill.events v
			      WHERE v.customer = a.customer AND v.occurred_at = d.occurred_at AND v.event_id = a.event_id) v) AS e
		WHERE a.customer = p.customer AND a.endpoint = p.endpoint AND a.started_at > now() - interval '1 hour') AS t;


-- Every view of SUPPORT asks with the rights of who asks (row-level security is barrier enough: a barrier of the view would
-- hide its order from the planner), and those who ask may read just the columns that the views show. A migration that adds a
-- view calls this again.
CREATE FUNCTION waybill.open_views() RETURNS void LANGUAGE plpgsql SET client_min_messages = warning AS $$
DECLARE
	v record;
BEGIN
	FOR v IN SELECT c.relname FROM pg_class c WHERE c.relkind = 'v' AND c.relnamespace = 'support'::regnamespace LOOP
		EXECUTE format('ALTER VIEW support.%I SET (security_invoker = true, security_barrier = false)', v.relname);
		EXECUTE format('GRANT SELECT ON support.%I TO waybill_support, waybill_admin', v.relname);
	END LOOP;
	FOR v IN SELECT DISTINCT table_name, column_name FROM information_schema.view_column_usage
	         WHERE view_schema = 'support' AND table_schema = 'waybill' LOOP
		EXECUTE format('GRANT SELECT (%I) ON waybill.%I TO waybill_support', v.column_name, v.table_name);
	END LOOP;
	-- Daemons see what their grants say. Staff see their customers' rows, some of which are theirs by another table: a right
	-- by its login, a key and a finding by their domain. Rows of no customer are for those who see all.
	FOR v IN SELECT DISTINCT u.table_name, p.key, p.parent,
	                EXISTS (SELECT FROM information_schema.columns k WHERE k.table_schema = 'waybill'
	                        AND k.table_name = u.table_name AND k.column_name = 'customer') AS has_customer
	         FROM information_schema.view_column_usage u
	         LEFT JOIN (VALUES ('rights', 'login', 'logins'), ('dkim_keys', 'domain', 'domains'),
	                           ('domain_checks', 'domain', 'domains')) AS p (name, key, parent) ON p.name = u.table_name
	         WHERE u.view_schema = 'support' AND u.table_schema = 'waybill' LOOP
		EXECUTE format('ALTER TABLE waybill.%I ENABLE ROW LEVEL SECURITY', v.table_name);
		EXECUTE format('DROP POLICY IF EXISTS daemons ON waybill.%I', v.table_name);
		EXECUTE format('DROP POLICY IF EXISTS staff ON waybill.%I', v.table_name);
		EXECUTE format('CREATE POLICY daemons ON waybill.%I TO waybill_admin, waybill_follow, waybill_bouncer, waybill_report, '
		               'waybill_webhookd, waybill_dovecot USING (true) WITH CHECK (true)', v.table_name);
		EXECUTE format('CREATE POLICY staff ON waybill.%I FOR SELECT TO waybill_support USING ((SELECT waybill.sees_all())%s)',
		               v.table_name, CASE
			WHEN v.parent IS NOT NULL THEN
				format(' OR EXISTS (SELECT FROM waybill.%1$I p WHERE p.%2$I = %3$I.%2$I)', v.parent, v.key, v.table_name)
			WHEN v.has_customer THEN ' OR customer = ANY ((SELECT waybill.my_customers())::text[])'
			ELSE '' END);
	END LOOP;
END $$;
SELECT waybill.open_views();


-- Questions in time, however many days are kept. To plan a question over every day's partition takes longer than to answer
-- it. So each is a statement of its own with one plan for all its uses (force_generic_plan), which skips the days out of its
-- bounds when it begins. A page is looked for in the latest days first, in windows that grow until it is full.

-- The last events of a customer, a page at a time: BEFORE and BEFORE_ID are time and id of the last one on the page before.
-- WHAT is a recipient's address, its domain ("@example.net"), a Message-ID or a queue id; NULL: all. Where WHAT has an index,
-- the customer is written so that its own cannot be taken: for a small customer the planner would, and one plan serves all.
CREATE FUNCTION support.message_search(customer text, what text DEFAULT NULL, page integer DEFAULT 50,
                                       before timestamptz DEFAULT 'infinity', before_id text DEFAULT '')
RETURNS SETOF support.events LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
	wanted text := btrim(what, '<>');
	page_left integer := least(page, 1000);
	-- An address or an id is looked up, not walked to: all days at once.
	spans interval[] := CASE WHEN what IS NULL OR what LIKE '@%' THEN '{1 day,3 days,7 days,15 days}'::interval[] ELSE '{}' END;
	since timestamptz;
	got integer;
BEGIN
	FOR round IN 1 .. cardinality(spans) + 1 LOOP
		since := coalesce(least(before, now()) - spans[round], '-infinity');
		IF what IS NULL THEN
			RETURN QUERY SELECT e.* FROM support.events e
				WHERE e.customer = message_search.customer AND e.occurred_at BETWEEN since AND before
				  AND (e.occurred_at, e.event_id) < (before, before_id)
				ORDER BY e.occurred_at DESC, e.event_id DESC LIMIT page_left;
		ELSIF what LIKE '@%' THEN
			RETURN QUERY SELECT e.* FROM support.events e
				WHERE e.customer = message_search.customer AND e.occurred_at BETWEEN since AND before
				  AND (e.occurred_at, e.event_id) < (before, before_id) AND right(e.recipient, length(what)) = lower(what)
				ORDER BY e.occurred_at DESC, e.event_id DESC LIMIT page_left;
		ELSE
			RETURN QUERY SELECT e.* FROM support.events e
				WHERE e.customer || '' = message_search.customer AND e.recipient = wanted AND e.occurred_at <= before
				  AND (e.occurred_at, e.event_id) < (before, before_id)
				ORDER BY e.occurred_at DESC, e.event_id DESC LIMIT page_left;
			IF NOT FOUND THEN
				RETURN QUERY SELECT e.* FROM support.events e
					WHERE e.customer || '' = message_search.customer AND e.message_id = wanted
					  AND (e.occurred_at, e.event_id) < (before, before_id)
					ORDER BY e.occurred_at DESC, e.event_id DESC LIMIT page_left;
			END IF;
			IF NOT FOUND THEN
				RETURN QUERY SELECT e.* FROM support.events e
					WHERE e.customer || '' = message_search.customer AND e.queue_id = wanted
					  AND (e.occurred_at, e.event_id) < (before, before_id)
					ORDER BY e.occurred_at DESC, e.event_id DESC LIMIT page_left;
			END IF;
		END IF;
		GET DIAGNOSTICS got = ROW_COUNT;
		page_left := page_left - got;
		EXIT WHEN page_left <= 0;
		before := since;
		before_id := '';
	END LOOP;
END $$;

-- The life of a message by its queue id or Message-ID, with or without its brackets, or all mail to an address. A sender has
-- no index: search by customer.
CREATE FUNCTION support.timeline(what text) RETURNS SETOF support.events
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
DECLARE
	wanted text := btrim(what, '<>');
BEGIN
	IF what NOT LIKE '%@%' THEN
		RETURN QUERY SELECT e.* FROM support.events e WHERE e.queue_id = wanted ORDER BY e.occurred_at, e.seq;
		IF FOUND THEN
			RETURN;
		END IF;
	ELSIF what NOT LIKE '<%' THEN
		RETURN QUERY SELECT e.* FROM support.events e WHERE e.recipient = wanted ORDER BY e.occurred_at, e.seq;
		IF FOUND THEN
			RETURN;
		END IF;
	END IF;
	RETURN QUERY SELECT e.* FROM support.events e WHERE e.message_id = wanted ORDER BY e.occurred_at, e.seq;
END $$;


REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA waybill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION waybill.my_customers, waybill.sees_all TO waybill_support;
GRANT EXECUTE ON FUNCTION support.message_search, support.timeline TO waybill_support, waybill_admin;
