-- What happened to each message for each recipient, and how far the logs have been read.

-- A queue session that the tracker still follows, so that a restarted bouncer goes on where it was.
CREATE TABLE waybill.open_messages (
	source     text NOT NULL,                       -- of waybill.log_positions
	host       text NOT NULL,
	instance   text NOT NULL,
	queue_id   text NOT NULL,
	state      bytea NOT NULL,                      -- bouncer/track.h writes and reads it
	PRIMARY KEY (source, host, instance, queue_id)
);

CREATE TABLE waybill.log_positions (
	source     text PRIMARY KEY,                    -- "NODE FILE"
	batch      bigint NOT NULL DEFAULT 0,           -- the last one committed: a repeated one changes nothing
	position   jsonb NOT NULL DEFAULT '{}',         -- bouncer/tail.h
	log_time   timestamptz,                         -- of the last line read
	behind     bigint NOT NULL DEFAULT 0,           -- bytes of log not yet read
	updated_at timestamptz NOT NULL DEFAULT now()
);

-- Lines of Postfix that no parser knew, grouped by their shape.
CREATE TABLE waybill.unparsed (
	source     text NOT NULL,
	template   text NOT NULL,
	why        text NOT NULL,
	lines      bigint NOT NULL,
	sample     text NOT NULL,
	first_at   timestamptz NOT NULL DEFAULT now(),
	last_at    timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (source, template)
);

-- Events that Postgres refused: kept, so that nothing is dropped and nothing stands still.
CREATE TABLE waybill.dead_letters (
	id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	at         timestamptz NOT NULL DEFAULT now(),
	source     text NOT NULL,
	error      text NOT NULL,
	event      text NOT NULL                        -- JSON as the webhooks have it
);

-- seq: dense per customer, given in the transaction that inserts the event.
CREATE TABLE waybill.event_seq (
	customer text PRIMARY KEY,
	last     bigint NOT NULL DEFAULT 0
);

CREATE TABLE waybill.events (
	customer             text NOT NULL,             -- "-": mail of no customer
	occurred_at          timestamptz NOT NULL,      -- time of the log line, UTC
	event_id             text NOT NULL,
	seq                  bigint NOT NULL,
	recorded_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
	type                 text NOT NULL,
	host                 text NOT NULL,
	instance             text NOT NULL,
	queue_id             text NOT NULL,
	message_id           text,                      -- without angle brackets
	sender               text,                      -- '' is the null sender
	recipient            text,
	orig_recipient       text,
	recipient_domain     text,
	sasl_username        text,
	client_ip            inet,
	size                 bigint,
	attempt              integer,
	tag                  text,
	metadata             jsonb,
	smtp_code            smallint,
	enhanced_code        text,                      -- Postfix's dsn=
	remote_enhanced_code text,                      -- the one in the remote's reply
	stage                text,                      -- "RCPT TO", "end of DATA", "connect", …
	response             text,                      -- the remote's reply
	remote_mx            text,
	remote_ip            inet,
	remote_port          integer,
	remote_tls           text,
	provider             text,
	delay_total          real,
	delay_queue          real,
	delay_active         real,
	delay_connect        real,
	delay_transmit       real,
	bounce_class         text CHECK (bounce_class IN ('hard', 'soft', 'undetermined')),
	bounce_category      text,
	bounce_scope         text,
	bounce_async         boolean,
	bounce_rule          text,
	reason               text,                      -- Postfix's own words between the parentheses
	truncated            boolean NOT NULL DEFAULT false,
	suppression          text CHECK (suppression IN ('added', 'extended', 'frozen')),
	suppression_expires  timestamptz,
	source_kind          text NOT NULL DEFAULT 'log',
	partial              boolean NOT NULL DEFAULT false,
	detail               jsonb,                     -- of types that are not about a message (log.gap, limit.warning, …)
	PRIMARY KEY (customer, occurred_at, event_id)
) PARTITION BY RANGE (occurred_at);

CREATE TABLE waybill.events_default PARTITION OF waybill.events DEFAULT;
CREATE INDEX ON waybill.events (customer, seq);
CREATE INDEX ON waybill.events (customer, recipient, occurred_at);
CREATE INDEX ON waybill.events (message_id);
CREATE INDEX ON waybill.events (queue_id);

-- Partitions for DAYS days (UTC) from FIRST on. A day whose events already lie in the default partition stays there.
CREATE FUNCTION waybill.ensure_partitions(first date, days integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, waybill, pg_temp AS $$
DECLARE
	made integer := 0;
	day date;
BEGIN
	FOR day IN SELECT first + n FROM generate_series(0, least(days, 400) - 1) AS n LOOP
		CONTINUE WHEN to_regclass(format('waybill.%I', 'events_' || to_char(day, 'YYYYMMDD'))) IS NOT NULL;
		BEGIN
			EXECUTE format('CREATE TABLE waybill.%I PARTITION OF waybill.events FOR VALUES FROM (%L) TO (%L)',
			               'events_' || to_char(day, 'YYYYMMDD'), day || ' 00:00:00+00', (day + 1) || ' 00:00:00+00');
			made := made + 1;
		EXCEPTION WHEN check_violation OR duplicate_table THEN
			NULL;
		END;
	END LOOP;
	RETURN made;
END $$;

-- One batch of a bouncer, in one transaction: what the tracker remembers, events, suppressions, deliveries, position.
-- A batch that was committed before (the answer got lost) changes nothing; one that is not the next means that another
-- bouncer follows the same source, and is refused. BATCH NULL: events alone, without the rest. The arrays of events run in
-- parallel, one element an event. Events that exist are skipped, so that reading a log again adds nothing.
-- SECURITY DEFINER: the bouncer may add events by this door and cannot change one.
CREATE FUNCTION waybill.record_batch(
	source text, batch bigint, "position" jsonb, log_time timestamptz, behind bigint,
	gone_host text[], gone_instance text[], gone_queue_id text[],
	open_host text[], open_instance text[], open_queue_id text[], open_state bytea[],
	unparsed_template text[], unparsed_why text[], unparsed_sample text[], unparsed_lines bigint[],
	suppresses boolean[],
	event_id text[], type text[], occurred_at timestamptz[], host text[], instance text[], queue_id text[],
	message_id text[], sender text[], recipient text[], orig_recipient text[], recipient_domain text[],
	sasl_username text[], client_ip inet[], size bigint[], attempt integer[],
	smtp_code smallint[], enhanced_code text[], remote_enhanced_code text[], stage text[], response text[],
	remote_mx text[], remote_ip inet[], remote_port integer[], remote_tls text[], provider text[],
	delay_total real[], delay_queue real[], delay_active real[], delay_connect real[], delay_transmit real[],
	bounce_class text[], bounce_category text[], bounce_scope text[], bounce_async boolean[], bounce_rule text[],
	reason text[], truncated boolean[], source_kind text[], partial boolean[], detail jsonb[]
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	stored bigint;
	stored_position jsonb;
	owed bigint;
	added bigint;
	kept waybill.events[];
BEGIN
	IF record_batch.batch IS NOT NULL THEN
		INSERT INTO waybill.log_positions (source) VALUES (record_batch.source) ON CONFLICT DO NOTHING;
		SELECT p.batch, p.position INTO stored, stored_position
		FROM waybill.log_positions p WHERE p.source = record_batch.source FOR UPDATE;
		IF stored = record_batch.batch AND stored_position = record_batch."position" THEN
			RETURN 0;
		ELSIF stored <> record_batch.batch - 1 THEN
			RAISE EXCEPTION 'source % is at batch %, not %: another waybill-bouncer follows it',
				record_batch.source, stored, record_batch.batch - 1 USING ERRCODE = 'WB001';
		END IF;
		UPDATE waybill.log_positions p
		SET batch = record_batch.batch, position = record_batch."position", behind = record_batch.behind,
		    log_time = coalesce(record_batch.log_time, p.log_time), updated_at = now()
		WHERE p.source = record_batch.source;
		DELETE FROM waybill.open_messages o USING unnest(gone_host, gone_instance, gone_queue_id) AS g(host, instance, queue_id)
		WHERE o.source = record_batch.source AND o.host = g.host AND o.instance = g.instance AND o.queue_id = g.queue_id;
		INSERT INTO waybill.open_messages AS o (source, host, instance, queue_id, state)
		SELECT record_batch.source, n.* FROM unnest(open_host, open_instance, open_queue_id, open_state) AS n
		ON CONFLICT ON CONSTRAINT open_messages_pkey DO UPDATE SET state = excluded.state;
		INSERT INTO waybill.unparsed AS u (source, template, why, sample, lines)
		SELECT record_batch.source, n.* FROM unnest(unparsed_template, unparsed_why, unparsed_sample, unparsed_lines) AS n
		ON CONFLICT ON CONSTRAINT unparsed_pkey DO UPDATE
		SET lines = u.lines + excluded.lines, sample = excluded.sample, last_at = now();
	END IF;
	IF cardinality(record_batch.event_id) = 0 THEN
		RETURN 0;
	END IF;

	WITH input AS MATERIALIZED (
		SELECT coalesce(l.customer, '-') AS customer, i.*
		FROM unnest(suppresses, event_id, type, occurred_at, host, instance, queue_id, message_id, sender, recipient,
		            orig_recipient, recipient_domain, sasl_username, client_ip, size, attempt, smtp_code,
		            enhanced_code, remote_enhanced_code, stage, response, remote_mx, remote_ip, remote_port,
		            remote_tls, provider, delay_total, delay_queue, delay_active, delay_connect, delay_transmit,
		            bounce_class, bounce_category, bounce_scope, bounce_async, bounce_rule, reason, truncated,
		            source_kind, partial, detail)
		     WITH ORDINALITY
		     AS i(suppresses, event_id, type, occurred_at, host, instance, queue_id, message_id, sender, recipient,
		          orig_recipient, recipient_domain, sasl_username, client_ip, size, attempt, smtp_code,
		          enhanced_code, remote_enhanced_code, stage, response, remote_mx, remote_ip, remote_port,
		          remote_tls, provider, delay_total, delay_queue, delay_active, delay_connect, delay_transmit,
		          bounce_class, bounce_category, bounce_scope, bounce_async, bounce_rule, reason, truncated,
		          source_kind, partial, detail, ordinal)
		LEFT JOIN waybill.logins l ON l.login = lower(i.sasl_username)
	), fresh AS MATERIALIZED (
		SELECT i.*, row_number() OVER (PARTITION BY i.customer ORDER BY i.ordinal) AS place
		FROM input i
		WHERE NOT EXISTS (SELECT FROM waybill.events e WHERE e.customer = i.customer AND
		                  e.occurred_at = i.occurred_at AND e.event_id = i.event_id)
		  AND NOT EXISTS (SELECT FROM input j WHERE j.event_id = i.event_id AND j.ordinal < i.ordinal)
	), numbered AS (
		-- In the customers' order, so that two bouncers never wait for each other in a circle.
		INSERT INTO waybill.event_seq AS s (customer, last)
		SELECT f.customer, count(*) FROM fresh f GROUP BY f.customer ORDER BY f.customer
		ON CONFLICT (customer) DO UPDATE SET last = s.last + excluded.last
		RETURNING s.customer, s.last
	), counted AS (
		SELECT f.customer, count(*) AS events FROM fresh f GROUP BY f.customer
	), stored AS (
		INSERT INTO waybill.events
			(customer, seq, event_id, type, occurred_at, host, instance, queue_id, message_id, sender,
			 recipient, orig_recipient, recipient_domain, sasl_username, client_ip, size, attempt, smtp_code,
			 enhanced_code, remote_enhanced_code, stage, response, remote_mx, remote_ip, remote_port, remote_tls,
			 provider, delay_total, delay_queue, delay_active, delay_connect, delay_transmit, bounce_class,
			 bounce_category, bounce_scope, bounce_async, bounce_rule, reason, truncated, source_kind, partial,
			 detail, tag, metadata)
		SELECT f.customer, n.last - c.events + f.place,
			f.event_id, f.type, f.occurred_at, f.host, f.instance, f.queue_id, f.message_id, f.sender,
			f.recipient, f.orig_recipient, f.recipient_domain, f.sasl_username, f.client_ip, f.size, f.attempt,
			f.smtp_code, f.enhanced_code, f.remote_enhanced_code, f.stage, f.response, f.remote_mx, f.remote_ip,
			f.remote_port, f.remote_tls, f.provider, f.delay_total, f.delay_queue, f.delay_active,
			f.delay_connect, f.delay_transmit, f.bounce_class, f.bounce_category, f.bounce_scope, f.bounce_async,
			f.bounce_rule, f.reason, f.truncated, f.source_kind, f.partial, f.detail, a.tag, a.metadata
		FROM fresh f JOIN numbered n USING (customer) JOIN counted c USING (customer)
		LEFT JOIN waybill.annotations a ON a.customer = f.customer AND a.queue_id = f.queue_id
			AND f.occurred_at BETWEEN a.said_at AND a.said_at + waybill.annotation_life()
		ON CONFLICT DO NOTHING
		RETURNING *
	), due AS (
		INSERT INTO waybill.deliveries (customer, endpoint, event_id, occurred_at)
		SELECT s.customer, p.endpoint, s.event_id, s.occurred_at
		FROM stored s JOIN waybill.endpoints p USING (customer)
		WHERE p.status <> 'disabled' AND (p.events = '{}' OR s.type = ANY (p.events))
		  AND (s.type <> 'message.deferred' OR waybill.deferral_is_news(s.customer, p.endpoint, s.occurred_at,
		                                                               s.queue_id, s.recipient, s.bounce_category)
		       AND NOT EXISTS (SELECT FROM stored j WHERE j.type = s.type AND j.queue_id = s.queue_id
		                       AND j.recipient = s.recipient AND j.occurred_at < s.occurred_at
		                       AND j.bounce_category IS NOT DISTINCT FROM s.bounce_category))
		ON CONFLICT DO NOTHING
		RETURNING 1
	)
	SELECT count(*), (SELECT count(*) FROM due), array_agg(s::waybill.events)
	FROM stored s INTO added, owed, kept;
	IF added > 0 THEN
		PERFORM waybill.judge(kept);
	END IF;
	IF owed > 0 THEN
		NOTIFY waybill_deliveries;
	END IF;
	RETURN added;
END $$;

REVOKE EXECUTE ON FUNCTION waybill.ensure_partitions, waybill.record_batch FROM PUBLIC;
GRANT EXECUTE ON FUNCTION waybill.ensure_partitions, waybill.record_batch TO waybill_bouncer, waybill_report, waybill_admin;
GRANT SELECT ON waybill.log_positions, waybill.open_messages TO waybill_bouncer;
GRANT INSERT ON waybill.dead_letters TO waybill_bouncer, waybill_report;
GRANT SELECT, INSERT, UPDATE, DELETE ON waybill.open_messages, waybill.log_positions, waybill.unparsed,
	waybill.dead_letters, waybill.event_seq, waybill.events TO waybill_admin;

-- What support asks: one row an event, the words of the webhooks.
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

-- The life of one message, or all that is known about an address: a queue id, a Message-ID with or without its brackets,
-- or an address of sender or recipient.
CREATE FUNCTION support.timeline(what text) RETURNS SETOF support.events
LANGUAGE sql STABLE AS $$
	SELECT * FROM support.events
	WHERE queue_id = what OR message_id = btrim(what, '<>')
	   OR recipient = what OR orig_recipient = what OR sender = what
	ORDER BY occurred_at, seq
$$;

GRANT SELECT ON support.events, support.lag, support.unparsed, support.dead_letters TO waybill_support, waybill_admin;
GRANT EXECUTE ON FUNCTION support.timeline TO waybill_support, waybill_admin;
