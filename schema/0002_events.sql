-- What happened to each message for each recipient, and how far the logs and spools have been read.

CREATE TABLE waybill.events (
	customer             text NOT NULL,             -- "-": mail of no customer
	occurred_at          timestamptz NOT NULL,      -- time of the log line, UTC
	event_id             text NOT NULL,
	seq                  bigint NOT NULL,           -- dense per customer, given in the transaction that inserts the event
	recorded_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
	type                 text NOT NULL,
	host                 text NOT NULL,
	instance             text NOT NULL,
	queue_id             text NOT NULL,
	orig_queue_id        text,                      -- the first one; NULL: queue_id is
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
-- By recipient alone: the same index answers for one customer and for all of them, and has few other rows to skip.
CREATE INDEX ON waybill.events (recipient, occurred_at);
CREATE INDEX ON waybill.events (message_id);
CREATE INDEX ON waybill.events (queue_id);
-- A message that was requeued, or came back from a content filter, has another queue id; what its first one names (its
-- annotation, the token in its return path) is still about it.
CREATE INDEX ON waybill.events (orig_queue_id) WHERE orig_queue_id IS NOT NULL;

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

-- The last seq of each customer.
CREATE TABLE waybill.event_seq (
	customer text PRIMARY KEY,
	last     bigint NOT NULL DEFAULT 0
);

-- The next number among a customer's events: whoever else records one of this customer waits for the end of the transaction.
CREATE FUNCTION waybill.next_seq(customer text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	number bigint;
BEGIN
	INSERT INTO waybill.event_seq AS s (customer, last) VALUES (next_seq.customer, 1)
	ON CONFLICT (customer) DO UPDATE SET last = s.last + 1 RETURNING s.last INTO number;
	RETURN number;
END $$;

-- An event's id where nothing it could be made from tells it from others.
CREATE FUNCTION waybill.random_event_id() RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT 'evt_' || substr(translate(replace(gen_random_uuid()::text, '-', ''), '0189', 'ghij'), 1, 26)
$$;

-- An event is owed to those endpoints of its customer that want its type; to a paused one when it goes on.
CREATE FUNCTION waybill.owe(customer text, type text, event_id text, occurred_at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	INSERT INTO waybill.deliveries (customer, endpoint, event_id, occurred_at)
	SELECT p.customer, p.endpoint, owe.event_id, owe.occurred_at FROM waybill.endpoints p
	WHERE p.customer = owe.customer AND p.status <> 'disabled' AND (p.events = '{}' OR owe.type = ANY (p.events));
	IF FOUND THEN
		NOTIFY waybill_deliveries;
	END IF;
END $$;

-- An event that no log line told: stored, numbered and owed like every other.
CREATE FUNCTION waybill.record_event(
	customer text, type text, event_id text, occurred_at timestamptz, source_kind text, detail jsonb,
	host text DEFAULT '', instance text DEFAULT '', queue_id text DEFAULT '', recipient text DEFAULT NULL, login text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	INSERT INTO waybill.events (customer, seq, event_id, type, occurred_at, host, instance, queue_id, recipient, recipient_domain,
	                            sasl_username, source_kind, detail)
	VALUES (customer, waybill.next_seq(customer), event_id, type, occurred_at, host, instance, queue_id, recipient,
	        nullif(lower(substring(recipient FROM '@([^@]*)$')), ''), login, source_kind, detail);
	PERFORM waybill.owe(customer, type, event_id, occurred_at);
END $$;

-- What Postgres itself does: suppressions, the brake.
CREATE FUNCTION waybill.tell(customer text, type text, recipient text, detail jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM waybill.record_event(customer, type, waybill.random_event_id(), now(), 'database', detail, recipient => recipient);
END $$;

-- What is found out about the directory, such as domain.dns_broken.
CREATE FUNCTION waybill.record_own_event(customer text, type text, event_id text, host text, detail jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM waybill.record_event(customer, type, event_id, now(), 'directory', detail, host => host, instance => 'waybill',
	                             queue_id => '-');
END $$;

-- policyd's word that a login is suspended comes as an event, through the spool; the login is suspended in the transaction
-- that stores it. A decision over facts that have been forgotten since (waybill login enable) is nothing but an event.
CREATE FUNCTION waybill.suspend_login() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM set_config('waybill.what', 'takeover guard', true);
	UPDATE waybill.logins l SET suspended_at = NEW.occurred_at, suspended_reason = coalesce(NEW.detail ->> 'reason', '')
	WHERE l.login = lower(NEW.sasl_username COLLATE "C") COLLATE "default" AND l.customer = NEW.customer AND l.suspended_at IS NULL
	  AND coalesce(extract(epoch FROM l.guard_since)::bigint, 0) = (NEW.detail ->> 'since')::bigint;
	RETURN NULL;
END $$;
CREATE TRIGGER suspend AFTER INSERT ON waybill.events FOR EACH ROW WHEN (NEW.type = 'credential.suspended')
	EXECUTE FUNCTION waybill.suspend_login();


-- How far each log and spool is read, and what is remembered between two batches.

CREATE TABLE waybill.log_positions (
	source     text PRIMARY KEY,                    -- "NODE FILE"
	batch      bigint NOT NULL DEFAULT 0,           -- the last one committed: a repeated one changes nothing
	position   jsonb NOT NULL DEFAULT '{}',         -- bouncer/tail.h
	log_time   timestamptz,                         -- of the last line read
	behind     bigint NOT NULL DEFAULT 0,           -- bytes of log not yet read
	updated_at timestamptz NOT NULL DEFAULT now()
);

-- A batch of a source moves its place on. False: it was committed before (the answer got lost), and nothing is to be done. One
-- that is not the next means that another bouncer follows the same source, and is refused.
CREATE FUNCTION waybill.keep_place(source text, batch bigint, "position" jsonb, log_time timestamptz, behind bigint) RETURNS boolean
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
	RETURN true;
END $$;

-- A queue session that the tracker still follows, so that a restarted bouncer goes on where it was.
CREATE TABLE waybill.open_messages (
	source     text NOT NULL,                       -- of waybill.log_positions
	host       text NOT NULL,
	instance   text NOT NULL,
	queue_id   text NOT NULL,
	state      bytea NOT NULL,                      -- bouncer/track.h writes and reads it
	PRIMARY KEY (source, host, instance, queue_id)
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


-- What the daemons of the mail path leave in their event spools (common/spool.h), which Postfix's log does not say.

-- What an application said about its message, for the message's events. By customer and queue id: the name that a node has
-- for itself and the one in its log may differ.
CREATE TABLE waybill.annotations (
	customer text NOT NULL,
	queue_id text NOT NULL,
	said_at  timestamptz NOT NULL,                  -- whole seconds, before the message was queued
	tag      text,
	metadata jsonb,
	sender   text,                                  -- the envelope sender that it gave, where a return path of ours
	                                                -- replaced it: the message's events have the former
	PRIMARY KEY (customer, queue_id)
);
CREATE INDEX ON waybill.annotations (said_at);

-- Longer than a message stays in the queue (bouncer/track.h, TRACK_SILENT_US); a short queue id may then be another's.
CREATE FUNCTION waybill.annotation_life() RETURNS interval LANGUAGE sql IMMUTABLE AS $$ SELECT interval '9 days' $$;

-- LINES of a spool: annotations, and events of customers who exist. All that the bouncer takes from a spool
-- (bouncer/spools.c) and that are no annotations are events, so that a new type is a row there and nothing here. An event's
-- id comes from its line, so that a spool that is read again adds nothing.
CREATE FUNCTION waybill.take_spool(lines text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	e record;
BEGIN
	INSERT INTO waybill.annotations AS a (customer, queue_id, said_at, tag, metadata, sender)
	SELECT DISTINCT ON (l.j ->> 'customer', l.j ->> 'queue_id')
	       l.j ->> 'customer', l.j ->> 'queue_id', (l.j ->> 'time')::timestamptz, l.j ->> 'tag', l.j -> 'metadata',
	       l.j ->> 'sender'
	FROM (SELECT u.line::jsonb AS j, u.n FROM unnest(lines) WITH ORDINALITY AS u(line, n)) l
	WHERE l.j ->> 'type' = 'message.annotated' AND l.j ->> 'queue_id' <> ''
	ORDER BY l.j ->> 'customer', l.j ->> 'queue_id', l.n DESC
	ON CONFLICT ON CONSTRAINT annotations_pkey DO UPDATE
	SET said_at = excluded.said_at, tag = excluded.tag, metadata = excluded.metadata, sender = excluded.sender;

	FOR e IN
		SELECT c.customer, l.j, (l.j ->> 'time')::timestamptz AS at,
		       'evt_' || substr(translate(encode(sha256(convert_to(l.line, 'UTF8')), 'hex'), '0189', 'ghij'), 1, 26) AS id
		FROM (SELECT u.line, u.line::jsonb AS j, u.n FROM unnest(lines) WITH ORDINALITY AS u(line, n)) l
		JOIN waybill.customers c ON c.customer = l.j ->> 'customer'
		WHERE l.j ->> 'type' <> 'message.annotated'
		ORDER BY c.customer, l.n
	LOOP
		CONTINUE WHEN EXISTS (SELECT FROM waybill.events v WHERE v.customer = e.customer AND v.occurred_at = e.at
		                      AND v.event_id = e.id);
		PERFORM waybill.record_event(e.customer, e.j ->> 'type', e.id, e.at, 'spool',
			e.j - '{type,time,host,customer,login,queue_id}'::text[], host => coalesce(e.j ->> 'host', ''),
			queue_id => coalesce(e.j ->> 'queue_id', ''), login => nullif(e.j ->> 'login', ''));
	END LOOP;
END $$;

-- One batch of a spool with the place behind it, in one transaction. A line that cannot be taken is put among the dead
-- letters.
CREATE FUNCTION waybill.record_spool(source text, batch bigint, "position" jsonb, behind bigint, lines text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	line text;
BEGIN
	IF NOT waybill.keep_place(source, batch, "position", NULL, behind) THEN
		RETURN;
	END IF;
	DELETE FROM waybill.annotations a WHERE a.said_at < now() - waybill.annotation_life();
	BEGIN
		PERFORM waybill.take_spool(lines);
	EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
		FOREACH line IN ARRAY lines LOOP
			BEGIN
				PERFORM waybill.take_spool(ARRAY[line]);
			EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
				INSERT INTO waybill.dead_letters (source, error, event) VALUES (record_spool.source, SQLERRM, line);
			END;
		END LOOP;
	END;
END $$;


-- What the bouncer makes of a log.

-- An event as a bouncer tells it: texts but for the time, in the order in which bouncer/told_event.c sends them.
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

-- A stored event as it would be told.
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

-- What the tracker remembers behind the batch, and the lines that nobody understood.
CREATE FUNCTION waybill.keep_track(
	source text, gone_host text[], gone_instance text[], gone_queue_id text[],
	open_host text[], open_instance text[], open_queue_id text[], open_state bytea[],
	unparsed_template text[], unparsed_why text[], unparsed_sample text[], unparsed_lines bigint[]
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM waybill.open_messages o USING unnest(gone_host, gone_instance, gone_queue_id) AS g(host, instance, queue_id)
	WHERE o.source = keep_track.source AND o.host = g.host AND o.instance = g.instance AND o.queue_id = g.queue_id;
	INSERT INTO waybill.open_messages AS o (source, host, instance, queue_id, state)
	-- A key twice in one command would be refused, whatever the bouncer makes of a line.
	SELECT DISTINCT ON (n.host, n.instance, n.queue_id) keep_track.source, n.*
	FROM unnest(open_host, open_instance, open_queue_id, open_state) AS n(host, instance, queue_id, state)
	ON CONFLICT ON CONSTRAINT open_messages_pkey DO UPDATE SET state = excluded.state;
	INSERT INTO waybill.unparsed AS u (source, template, why, sample, lines)
	SELECT keep_track.source, n.template, min(n.why), min(n.sample), sum(n.lines)
	FROM unnest(unparsed_template, unparsed_why, unparsed_sample, unparsed_lines) AS n(template, why, sample, lines)
	GROUP BY n.template
	ON CONFLICT ON CONSTRAINT unparsed_pkey DO UPDATE
	SET lines = u.lines + excluded.lines, sample = excluded.sample, last_at = now();
END $$;

-- Whose each event is, and its number. A login is looked up once, however many of the events are its own. Its last use is kept
-- to ten minutes; one that somebody else is writing is left for the next batch, so that this never makes a batch wait.
CREATE FUNCTION waybill.number_events(told waybill.told_event[], OUT customers text[], OUT numbers bigint[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
	WITH sent AS MATERIALIZED (
		SELECT t.ordinality AS place, coalesce(lower(t.sasl_username COLLATE "C") COLLATE "default", '') AS login, t.occurred_at
		FROM unnest(told) WITH ORDINALITY AS t
	), senders AS MATERIALIZED (
		SELECT s.login, s.events, s.last_at, coalesce(l.customer, '-') AS customer,
		       coalesce(l.last_used_at, '-infinity') < s.last_at - interval '10 minutes' AS noteworthy
		FROM (SELECT s.login, count(*) AS events, max(s.occurred_at) AS last_at FROM sent s GROUP BY s.login) AS s
		LEFT JOIN LATERAL (SELECT o.customer, o.last_used_at FROM waybill.logins o WHERE o.login = s.login LIMIT 1) AS l ON true
	), free AS MATERIALIZED (
		SELECT l.login, s.last_at FROM senders s JOIN waybill.logins l USING (login)
		WHERE s.noteworthy FOR NO KEY UPDATE OF l SKIP LOCKED
	), noted AS (
		UPDATE waybill.logins l SET last_used_at = greatest(l.last_used_at, f.last_at) FROM free f WHERE l.login = f.login
	), counted AS (
		-- In the customers' order, so that two bouncers never wait for each other in a circle.
		INSERT INTO waybill.event_seq AS s (customer, last)
		SELECT s.customer, sum(s.events) FROM senders s GROUP BY s.customer ORDER BY s.customer
		ON CONFLICT (customer) DO UPDATE SET last = s.last + excluded.last
		RETURNING s.customer, s.last
	), ranked AS (
		-- By a number, which sorts faster than a name.
		SELECT s.login, s.customer, c.last, dense_rank() OVER (ORDER BY s.customer) AS nth
		FROM senders s JOIN counted c USING (customer)
	), placed AS (
		SELECT s.place, r.customer, r.last - row_number() OVER (PARTITION BY r.nth ORDER BY s.place DESC) + 1 AS number
		FROM sent s JOIN ranked r USING (login)
	)
	SELECT array_agg(n.customer), array_agg(n.number) INTO customers, numbers
	FROM (SELECT p.customer, p.number FROM placed p ORDER BY p.place) AS n;
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
	LEFT JOIN LATERAL (SELECT o.customer FROM waybill.logins o
	                   WHERE o.login = lower((n.t).sasl_username COLLATE "C") COLLATE "default" LIMIT 1) AS l ON true
	WHERE NOT EXISTS (SELECT FROM waybill.events e WHERE e.customer = coalesce(l.customer, '-')
	                  AND e.occurred_at = (n.t).occurred_at AND e.event_id = (n.t).event_id)
$$;

-- One batch of a bouncer, in one transaction: position, what the tracker remembers, events, deliveries, suppressions.
-- BATCH NULL: events alone, without the rest. Events that exist are skipped, so that reading a log again adds nothing.
-- Returns how many were added.
-- SECURITY DEFINER: the bouncer may add events by this door and cannot change one.
--
-- A batch costs little more than the INSERT of its events. They come as one array of rows; each statement that needs them
-- unfolds it, and nothing wide is sorted, aggregated or returned. Other tables are asked by one look into an index a row,
-- whatever they have grown to since somebody counted them: a plan that reads a whole table of logins or a day's events for
-- every batch is never a good one.
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
	IF batch IS NOT NULL THEN
		IF NOT waybill.keep_place(source, batch, "position", log_time, behind) THEN
			RETURN 0;
		END IF;
		PERFORM waybill.keep_track(source, gone_host, gone_instance, gone_queue_id, open_host, open_instance, open_queue_id,
			open_state, unparsed_template, unparsed_why, unparsed_sample, unparsed_lines);
	END IF;
	IF cardinality(told) = 0 THEN
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


-- Accounting files that were written: which events each has, and the chain of their manifests.
CREATE TABLE waybill.accounting_files (
	customer  text NOT NULL,
	hour      timestamptz NOT NULL,
	file      text NOT NULL,
	events    bigint NOT NULL,
	first_seq bigint,                               -- NULL: an hour without events
	last_seq  bigint NOT NULL,                      -- of this file or, when empty, of the one before
	sha256    text NOT NULL,
	manifest  text NOT NULL,                        -- SHA-256 of the manifest's bytes
	written_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (customer, hour)
);


REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA waybill FROM PUBLIC;
GRANT SELECT ON waybill.log_positions, waybill.open_messages TO waybill_bouncer;
GRANT INSERT ON waybill.dead_letters TO waybill_bouncer;
GRANT EXECUTE ON FUNCTION waybill.ensure_partitions, waybill.record_batch, waybill.record_spool TO waybill_bouncer;
GRANT SELECT ON waybill.events TO waybill_webhookd;
