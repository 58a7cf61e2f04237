-- A batch of events for little more than their INSERT. What record_batch does and promises stands in 0002; here the events come
-- as one array of rows, each statement that needs them unfolds it, and nothing wide is sorted, aggregated or returned.

-- An event as a bouncer tells it: texts but for the time, in the order in which bouncer/store.c sends them.
CREATE TYPE waybill.told_event AS (
	event_id text, type text, occurred_at timestamptz, host text, instance text, queue_id text,
	orig_queue_id text, message_id text, sender text, recipient text, orig_recipient text, recipient_domain text,
	sasl_username text, client_ip text, size text, attempt text,
	smtp_code text, enhanced_code text, remote_enhanced_code text, stage text, response text,
	remote_mx text, remote_ip text, remote_port text, remote_tls text, provider text,
	delay_total text, delay_queue text, delay_active text, delay_connect text, delay_transmit text,
	bounce_class text, bounce_category text, bounce_scope text, bounce_async text, bounce_rule text,
	reason text, truncated text, source_kind text, partial text, detail text
);

CREATE FUNCTION waybill.told(e waybill.events) RETURNS waybill.told_event LANGUAGE sql STABLE AS $$
	SELECT ROW(e.event_id, e.type, e.occurred_at, e.host, e.instance, e.queue_id,
		e.orig_queue_id, e.message_id, e.sender, e.recipient, e.orig_recipient, e.recipient_domain,
		e.sasl_username, host(e.client_ip), e.size, e.attempt,
		e.smtp_code, e.enhanced_code, e.remote_enhanced_code, e.stage, e.response,
		e.remote_mx, host(e.remote_ip), e.remote_port, e.remote_tls, e.provider,
		e.delay_total, e.delay_queue, e.delay_active, e.delay_connect, e.delay_transmit,
		e.bounce_class, e.bounce_category, e.bounce_scope, e.bounce_async, e.bounce_rule,
		e.reason, e.truncated, e.source_kind, e.partial, e.detail)::waybill.told_event
$$;

-- The batch's place in the log, with what the tracker remembers behind it. False: it was committed before.
CREATE FUNCTION waybill.keep_place(
	source text, batch bigint, "position" jsonb, log_time timestamptz, behind bigint,
	gone_host text[], gone_instance text[], gone_queue_id text[],
	open_host text[], open_instance text[], open_queue_id text[], open_state bytea[],
	unparsed_template text[], unparsed_why text[], unparsed_sample text[], unparsed_lines bigint[]
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	stored bigint;
	stored_position jsonb;
BEGIN
	INSERT INTO waybill.log_positions (source) VALUES (keep_place.source) ON CONFLICT DO NOTHING;
	SELECT p.batch, p.position INTO stored, stored_position
	FROM waybill.log_positions p WHERE p.source = keep_place.source FOR UPDATE;
	IF stored = keep_place.batch AND stored_position = keep_place."position" THEN
		RETURN false;
	ELSIF stored <> keep_place.batch - 1 THEN
		RAISE EXCEPTION 'source % is at batch %, not %: another waybill-bouncer follows it',
			keep_place.source, stored, keep_place.batch - 1 USING ERRCODE = 'WB001';
	END IF;
	UPDATE waybill.log_positions p
	SET batch = keep_place.batch, position = keep_place."position", behind = keep_place.behind,
	    log_time = coalesce(keep_place.log_time, p.log_time), updated_at = now()
	WHERE p.source = keep_place.source;
	DELETE FROM waybill.open_messages o USING unnest(gone_host, gone_instance, gone_queue_id) AS g(host, instance, queue_id)
	WHERE o.source = keep_place.source AND o.host = g.host AND o.instance = g.instance AND o.queue_id = g.queue_id;
	INSERT INTO waybill.open_messages AS o (source, host, instance, queue_id, state)
	-- A key twice in one command would be refused, whatever the bouncer makes of a line.
	SELECT DISTINCT ON (n.host, n.instance, n.queue_id) keep_place.source, n.*
	FROM unnest(open_host, open_instance, open_queue_id, open_state) AS n(host, instance, queue_id, state)
	ON CONFLICT ON CONSTRAINT open_messages_pkey DO UPDATE SET state = excluded.state;
	INSERT INTO waybill.unparsed AS u (source, template, why, sample, lines)
	SELECT keep_place.source, n.template, min(n.why), min(n.sample), sum(n.lines)
	FROM unnest(unparsed_template, unparsed_why, unparsed_sample, unparsed_lines) AS n(template, why, sample, lines)
	GROUP BY n.template
	ON CONFLICT ON CONSTRAINT unparsed_pkey DO UPDATE
	SET lines = u.lines + excluded.lines, sample = excluded.sample, last_at = now();
	RETURN true;
END $$;

-- Whose each event is, and its number. A login's last use is kept to ten minutes; one that somebody else is writing is left
-- for the next batch, so that this never makes a batch wait.
DROP TRIGGER last_use ON waybill.events;
DROP FUNCTION waybill.keep_last_use();
CREATE FUNCTION waybill.number_events(told waybill.told_event[], OUT customers text[], OUT numbers bigint[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
	WITH whose AS MATERIALIZED (
		SELECT t.ordinality AS place, coalesce(l.customer, '-') AS customer, l.login, t.occurred_at, l.last_used_at
		FROM unnest(told) WITH ORDINALITY AS t
		LEFT JOIN LATERAL (SELECT o.customer, o.login, o.last_used_at FROM waybill.logins o
		                   WHERE o.login = lower(t.sasl_username COLLATE "C") COLLATE "default" LIMIT 1) AS l ON true
	), used AS (
		SELECT w.login, max(w.occurred_at) AS at FROM whose w
		WHERE w.login IS NOT NULL AND coalesce(w.last_used_at, '-infinity') < w.occurred_at - interval '10 minutes'
		GROUP BY w.login
	), free AS MATERIALIZED (
		SELECT l.login, u.at FROM used u JOIN waybill.logins l USING (login) FOR NO KEY UPDATE OF l SKIP LOCKED
	), noted AS (
		UPDATE waybill.logins l SET last_used_at = f.at FROM free f WHERE l.login = f.login
	), counted AS (
		-- In the customers' order, so that two bouncers never wait for each other in a circle.
		INSERT INTO waybill.event_seq AS s (customer, last)
		SELECT w.customer, count(*) FROM whose w GROUP BY w.customer ORDER BY w.customer
		ON CONFLICT (customer) DO UPDATE SET last = s.last + excluded.last
		RETURNING s.customer, s.last
	), placed AS (
		SELECT w.place, w.customer, row_number() OVER (PARTITION BY w.customer ORDER BY w.place DESC) - 1 AS behind FROM whose w
	)
	SELECT array_agg(n.customer), array_agg(n.number) INTO customers, numbers
	FROM (SELECT p.customer, c.last - p.behind AS number FROM placed p JOIN counted c USING (customer) ORDER BY p.place) AS n;
END $$;

-- Stores the events, and owes them to who wants them. All of them must be new.
CREATE FUNCTION waybill.store_events(told waybill.told_event[], OUT customers text[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	numbers bigint[];
BEGIN
	SELECT n.customers, n.numbers INTO customers, numbers FROM waybill.number_events(told) AS n;
	INSERT INTO waybill.events
		(customer, seq, event_id, type, occurred_at, host, instance, queue_id, orig_queue_id, message_id, sender,
		recipient, orig_recipient, recipient_domain, sasl_username, client_ip, size, attempt, smtp_code, enhanced_code,
		remote_enhanced_code, stage, response, remote_mx, remote_ip, remote_port, remote_tls, provider, delay_total,
		delay_queue, delay_active, delay_connect, delay_transmit, bounce_class, bounce_category, bounce_scope,
		bounce_async, bounce_rule, reason, truncated, source_kind, partial, detail, tag, metadata)
	SELECT i.customer, i.seq, i.event_id, i.type, i.occurred_at, i.host, i.instance, i.queue_id, i.orig_queue_id,
		i.message_id, coalesce(a.sender, i.sender), i.recipient, i.orig_recipient, i.recipient_domain, i.sasl_username,
		i.client_ip::inet, i.size::bigint, i.attempt::integer, i.smtp_code::smallint, i.enhanced_code,
		i.remote_enhanced_code, i.stage, i.response, i.remote_mx, i.remote_ip::inet, i.remote_port::integer, i.remote_tls,
		i.provider, i.delay_total::real, i.delay_queue::real, i.delay_active::real, i.delay_connect::real,
		i.delay_transmit::real, i.bounce_class, i.bounce_category, i.bounce_scope, i.bounce_async::boolean, i.bounce_rule,
		i.reason, i.truncated::boolean, i.source_kind, i.partial::boolean, i.detail::jsonb, a.tag, a.metadata
	FROM ROWS FROM (unnest(customers), unnest(numbers), unnest(told)) AS i (customer, seq)
	LEFT JOIN waybill.annotations a ON a.customer = i.customer AND a.queue_id = coalesce(i.orig_queue_id, i.queue_id)
		AND i.occurred_at BETWEEN a.said_at AND a.said_at + waybill.annotation_life();
	INSERT INTO waybill.deliveries (customer, endpoint, event_id, occurred_at)
	SELECT d.customer, d.endpoint, d.event_id, d.occurred_at
	FROM (
		SELECT i.customer, p.endpoint, i.event_id, i.occurred_at, i.type, i.queue_id, i.recipient, i.bounce_category,
		       rank() OVER (PARTITION BY p.endpoint, i.type, i.queue_id, i.recipient, i.bounce_category
		                    ORDER BY i.occurred_at) AS nth
		FROM ROWS FROM (unnest(customers), unnest(told)) AS i (customer) JOIN waybill.endpoints p USING (customer)
		WHERE p.status <> 'disabled' AND (p.events = '{}' OR i.type = ANY (p.events))
	) AS d
	WHERE d.type <> 'message.deferred' OR d.nth = 1 AND waybill.deferral_is_news(
	      d.customer, d.endpoint, d.occurred_at, d.queue_id, d.recipient, d.bounce_category)
	ON CONFLICT DO NOTHING;
	IF FOUND THEN
		NOTIFY waybill_deliveries;
	END IF;
END $$;

-- Those that are not stored yet, each once.
CREATE FUNCTION waybill.new_events(told waybill.told_event[]) RETURNS waybill.told_event[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce(array_agg(n.t ORDER BY n.place), '{}')
	FROM (SELECT DISTINCT ON ((u.t).event_id) u.t, u.place
	      FROM (SELECT t::waybill.told_event AS t, row_number() OVER () AS place FROM unnest(told) AS t) AS u
	      ORDER BY (u.t).event_id, u.place) AS n
	LEFT JOIN LATERAL (SELECT o.customer FROM waybill.logins o WHERE o.login = lower((n.t).sasl_username) LIMIT 1) AS l ON true
	WHERE NOT EXISTS (SELECT FROM waybill.events e WHERE e.customer = coalesce(l.customer, '-')
	                  AND e.occurred_at = (n.t).occurred_at AND e.event_id = (n.t).event_id)
$$;

DROP FUNCTION waybill.record_batch;
CREATE FUNCTION waybill.record_batch(
	source text, batch bigint, "position" jsonb, log_time timestamptz, behind bigint,
	gone_host text[], gone_instance text[], gone_queue_id text[],
	open_host text[], open_instance text[], open_queue_id text[], open_state bytea[],
	unparsed_template text[], unparsed_why text[], unparsed_sample text[], unparsed_lines bigint[],
	told waybill.told_event[]
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
	customers text[];
BEGIN
	IF batch IS NOT NULL AND NOT waybill.keep_place(source, batch, "position", log_time, behind, gone_host, gone_instance,
		gone_queue_id, open_host, open_instance, open_queue_id, open_state, unparsed_template, unparsed_why, unparsed_sample,
		unparsed_lines) THEN
		RETURN 0;
	ELSIF cardinality(told) = 0 THEN
		RETURN 0;
	END IF;
	-- Nearly always all of them are new.
	BEGIN
		customers := waybill.store_events(told);
	EXCEPTION WHEN unique_violation THEN
		told := waybill.new_events(told);
		customers := waybill.store_events(told);
	END;
	PERFORM waybill.judge(customers, told);
	RETURN cardinality(told);
END $$;

-- What follows from events that were just stored, of their recipients: counts of outcomes, reset by deliveries, then each
-- bounce and complaint in its order.
DROP FUNCTION waybill.judge_recipients;
CREATE FUNCTION waybill.judge_recipients(customers text[], told waybill.told_event[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	whose text[];
	times timestamptz[];
	ids text[];
	first timestamptz;
	last timestamptz;
	e waybill.events;
	word text;
	judged waybill.events[] := '{}';
BEGIN
	WITH v AS MATERIALIZED (
		SELECT i.customer, i.occurred_at, i.type, i.provider, i.recipient, i.recipient_domain, i.event_id, i.bounce_class AS class,
		       i.bounce_category AS category, i.bounce_scope AS scope
		FROM ROWS FROM (unnest(customers), unnest(told)) AS i (customer)
	), rolled AS (
		INSERT INTO waybill.rollups AS r (customer, hour, provider, type, category, class, events)
		SELECT v.customer, date_bin('1 hour', v.occurred_at, 'epoch'), coalesce(v.provider, ''), v.type, coalesce(v.category, ''),
		       coalesce(v.class, ''), count(*)
		FROM v GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
		ON CONFLICT (customer, hour, provider, type, category, class) DO UPDATE SET events = r.events + excluded.events
	), counted AS (
		INSERT INTO waybill.outcomes AS o (provider, minute, final, hard)
		SELECT coalesce(v.provider, v.recipient_domain, ''), date_bin('1 minute', v.occurred_at, 'epoch'), count(*),
		       count(*) FILTER (WHERE waybill.consequence(v.class, v.category, v.scope) IN ('permanent', 'temporary'))
		FROM v WHERE v.type IN ('message.delivered', 'message.bounced')
		GROUP BY 1, 2 ORDER BY 1, 2
		ON CONFLICT (provider, minute) DO UPDATE SET final = o.final + excluded.final, hard = o.hard + excluded.hard
	), reset AS (
		DELETE FROM waybill.soft_failures s USING v
		WHERE v.type = 'message.delivered' AND s.customer = v.customer AND s.recipient = v.recipient
		  AND s.failed_at <= v.occurred_at AND NOT s.async
	)
	-- A delivery between two failures of one batch counts where it stands.
	SELECT array_agg(v.customer), array_agg(v.occurred_at), array_agg(v.event_id), min(v.occurred_at), max(v.occurred_at)
	INTO whose, times, ids, first, last FROM v
	WHERE v.customer <> '-' AND v.type IN ('message.bounced', 'message.complained', 'message.delivered')
	  AND (v.customer, v.recipient) IN (SELECT f.customer, f.recipient FROM v AS f
	                                    WHERE f.type IN ('message.bounced', 'message.complained'));
	-- FIRST and LAST let Postgres leave the other days alone.
	FOR e IN
		SELECT v.* FROM unnest(whose, times, ids) AS f (customer, occurred_at, event_id)
		JOIN waybill.events v USING (customer, occurred_at, event_id)
		WHERE v.occurred_at BETWEEN first AND last
		ORDER BY v.customer, v.recipient, v.occurred_at, v.seq
	LOOP
		IF e.type = 'message.delivered' THEN
			DELETE FROM waybill.soft_failures s
			WHERE s.customer = e.customer AND s.recipient = e.recipient AND s.failed_at <= e.occurred_at AND NOT s.async;
			CONTINUE;
		END IF;
		word := CASE WHEN e.type = 'message.complained'
		             THEN waybill.suppress(e, 'complaint', e.occurred_at + (waybill.policy_of(e.customer)).complaint_ttl)
		             ELSE waybill.judge_bounce(e) END;
		CONTINUE WHEN word IS NULL;
		e.suppression := word;
		SELECT s.expires_at INTO e.suppression_expires FROM waybill.suppressions s
		WHERE word <> 'frozen' AND s.customer = e.customer AND s.recipient = e.recipient;
		judged := judged || e;
	END LOOP;
	UPDATE waybill.events v SET suppression = j.suppression, suppression_expires = j.suppression_expires
	FROM unnest(judged) AS j
	WHERE v.customer = j.customer AND v.occurred_at = j.occurred_at AND v.event_id = j.event_id
	  AND v.occurred_at BETWEEN first AND last;
END $$;

-- What follows of their recipients, then of their domains, where the relay looks at those.
CREATE FUNCTION waybill.judge(customers text[], told waybill.told_event[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM waybill.judge_recipients(customers, told);
	IF EXISTS (SELECT FROM waybill.dead_domain_policy p WHERE p.enabled) THEN
		PERFORM waybill.judge_domains(ARRAY(
			SELECT v FROM ROWS FROM (unnest(customers), unnest(told)) AS i (customer)
			JOIN waybill.events v USING (customer, occurred_at, event_id)
			WHERE i.type IN ('message.delivered', 'message.bounced')
			  AND v.occurred_at BETWEEN (SELECT min(t.occurred_at) FROM unnest(told) AS t)
			                        AND (SELECT max(t.occurred_at) FROM unnest(told) AS t)));
	END IF;
END $$;

CREATE OR REPLACE FUNCTION waybill.judge(stored waybill.events[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT waybill.judge(array_agg(s.customer), array_agg(waybill.told(s))) FROM unnest(stored) AS s
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA waybill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION waybill.record_batch TO waybill_bouncer, waybill_admin;
