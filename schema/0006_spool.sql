-- What the daemons of the mail path leave in their event spools (common/spool.h), which Postfix's log does not say.

-- What an application said about its message, for the message's events. By customer and queue id: the name that a node has
-- for itself and the one in its log may differ.
CREATE TABLE waybill.annotations (
	customer text NOT NULL,
	queue_id text NOT NULL,
	said_at  timestamptz NOT NULL,                  -- whole seconds, before the message was queued
	tag      text,
	metadata jsonb,
	PRIMARY KEY (customer, queue_id)
);
CREATE INDEX ON waybill.annotations (said_at);

-- Longer than a message stays in the queue (bouncer/track.h, TRACK_SILENT_US); a short queue id may then be another's.
CREATE FUNCTION waybill.annotation_life() RETURNS interval LANGUAGE sql IMMUTABLE AS $$ SELECT interval '9 days' $$;

-- LINES of a spool: annotations, and events of customers who exist. An event's id comes from its line, so that a spool
-- that is read again adds nothing.
CREATE FUNCTION waybill.take_spool(lines text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	e record;
	number bigint;
	owed bigint;
BEGIN
	INSERT INTO waybill.annotations AS a (customer, queue_id, said_at, tag, metadata)
	SELECT DISTINCT ON (l.j ->> 'customer', l.j ->> 'queue_id')
	       l.j ->> 'customer', l.j ->> 'queue_id', (l.j ->> 'time')::timestamptz, l.j ->> 'tag', l.j -> 'metadata'
	FROM (SELECT u.line::jsonb AS j, u.n FROM unnest(lines) WITH ORDINALITY AS u(line, n)) l
	WHERE l.j ->> 'type' = 'message.annotated' AND l.j ->> 'queue_id' <> ''
	ORDER BY l.j ->> 'customer', l.j ->> 'queue_id', l.n DESC
	ON CONFLICT ON CONSTRAINT annotations_pkey DO UPDATE
	SET said_at = excluded.said_at, tag = excluded.tag, metadata = excluded.metadata;

	FOR e IN
		SELECT c.customer, l.j, (l.j ->> 'time')::timestamptz AS at,
		       'evt_' || substr(translate(encode(sha256(convert_to(l.line, 'UTF8')), 'hex'), '0189', 'ghij'), 1, 26) AS id
		FROM (SELECT u.line, u.line::jsonb AS j, u.n FROM unnest(lines) WITH ORDINALITY AS u(line, n)) l
		JOIN waybill.customers c ON c.customer = l.j ->> 'customer'
		WHERE l.j ->> 'type' = 'limit.warning' OR l.j ->> 'type' LIKE 'credential.%'
		ORDER BY c.customer, l.n
	LOOP
		CONTINUE WHEN EXISTS (SELECT FROM waybill.events v WHERE v.customer = e.customer AND v.occurred_at = e.at
		                      AND v.event_id = e.id);
		INSERT INTO waybill.event_seq AS s (customer, last) VALUES (e.customer, 1)
		ON CONFLICT (customer) DO UPDATE SET last = s.last + 1 RETURNING s.last INTO number;
		INSERT INTO waybill.events (customer, occurred_at, event_id, seq, type, host, instance, queue_id, sasl_username,
		                            source_kind, detail)
		VALUES (e.customer, e.at, e.id, number, e.j ->> 'type', coalesce(e.j ->> 'host', ''), '',
		        coalesce(e.j ->> 'queue_id', ''), nullif(e.j ->> 'login', ''), 'spool',
		        e.j - '{type,time,host,customer,login,queue_id}'::text[]);
		INSERT INTO waybill.deliveries (customer, endpoint, event_id, occurred_at)
		SELECT p.customer, p.endpoint, e.id, e.at FROM waybill.endpoints p
		WHERE p.customer = e.customer AND p.status <> 'disabled' AND (p.events = '{}' OR e.j ->> 'type' = ANY (p.events));
		GET DIAGNOSTICS owed = ROW_COUNT;
		IF owed > 0 THEN
			NOTIFY waybill_deliveries;
		END IF;
	END LOOP;
END $$;

-- One batch of a spool with the place behind it, in one transaction; what record_batch says of BATCH holds here. A line
-- that cannot be taken is put among the dead letters.
CREATE FUNCTION waybill.record_spool(source text, batch bigint, "position" jsonb, behind bigint, lines text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	stored bigint;
	stored_position jsonb;
	line text;
BEGIN
	INSERT INTO waybill.log_positions (source) VALUES (record_spool.source) ON CONFLICT DO NOTHING;
	SELECT p.batch, p.position INTO stored, stored_position
	FROM waybill.log_positions p WHERE p.source = record_spool.source FOR UPDATE;
	IF stored = record_spool.batch AND stored_position = record_spool."position" THEN
		RETURN;
	ELSIF stored <> record_spool.batch - 1 THEN
		RAISE EXCEPTION 'source % is at batch %, not %: another waybill-bouncer follows it',
			record_spool.source, stored, record_spool.batch - 1 USING ERRCODE = 'WB001';
	END IF;
	UPDATE waybill.log_positions p
	SET batch = record_spool.batch, position = record_spool."position", behind = record_spool.behind, updated_at = now()
	WHERE p.source = record_spool.source;
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

REVOKE EXECUTE ON FUNCTION waybill.take_spool, waybill.record_spool FROM PUBLIC;
GRANT EXECUTE ON FUNCTION waybill.record_spool TO waybill_bouncer, waybill_admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON waybill.annotations TO waybill_admin;
