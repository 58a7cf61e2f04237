-- Limits of mail to one destination, and what the milter tells of signing keys and envelope senders.

ALTER TABLE waybill.limits ADD COLUMN destination text               -- of scope destination; NULL: each domain by itself
	CHECK (destination ~ '^[a-z0-9._-]+$'),                       -- as A-labels
	ADD CHECK (destination IS NULL OR scope = 'destination');

-- The envelope sender that the application gave, where a return path of ours replaced it: its events have the former.
ALTER TABLE waybill.annotations ADD COLUMN sender text;

CREATE OR REPLACE VIEW support.limits AS
SELECT id, scope, customer, login, domain, unit, spec, action, created_at, destination FROM waybill.limits;

SELECT waybill.open_views();

-- As in 0006, but for which types are events: all that the bouncer takes from a spool (bouncer/spools.c) and that are no
-- annotations, so that a new one is a row there and nothing here.
CREATE OR REPLACE FUNCTION waybill.take_spool(lines text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	e record;
	number bigint;
	owed bigint;
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
