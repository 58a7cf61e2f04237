-- Mail that comes back (waybill-report): bounces, complaints, automatic replies, unsubscribing. Its role can do what the
-- functions below do and nothing else: it reads strangers' mail.

-- A token has the head of the customer's hash (common/return_path.h). Customers' names are plain ASCII.
CREATE INDEX ON waybill.customers (substr(sha256(decode(customer, 'escape')), 1, 6));

-- Reports that changed nothing, with the reason: without a token that is ours, or about nobody whom the message went to.
CREATE TABLE waybill.unverified_reports (
	id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	at       timestamptz NOT NULL DEFAULT now(),
	customer text,                                  -- NULL: nobody knows
	queue_id text,
	why      text NOT NULL,
	kind     text NOT NULL,                         -- bounce, complaint, …: bouncer/report.h
	report   jsonb NOT NULL                         -- what it says
);

-- Anybody can send such mail: the newest ones are enough to find out what is wrong.
CREATE FUNCTION waybill.keep_report(report jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	kept bigint;
BEGIN
	INSERT INTO waybill.unverified_reports (customer, queue_id, why, kind, report)
	VALUES (report ->> 'customer', report ->> 'queue_id', report ->> 'why', report ->> 'kind',
	        report - '{customer,queue_id,why,kind}'::text[])
	RETURNING id INTO kept;
	IF kept % 100 = 0 THEN
		DELETE FROM waybill.unverified_reports u WHERE u.id <= kept - 10000 OR u.at < now() - interval '45 days';
	END IF;
END $$;

-- All events of a message by the queue id that a token names, whichever others it had later.
CREATE FUNCTION waybill.events_of_message(of_customer text, of_queue_id text) RETURNS SETOF waybill.events
LANGUAGE sql STABLE AS $$
	SELECT * FROM waybill.events e
	WHERE e.customer = of_customer AND (e.queue_id = of_queue_id OR e.orig_queue_id = of_queue_id)
$$;

-- The message of a token: whose it is, its host, and which of its recipients each of CLAIMS is or was called (NULL: none, or
-- none yet of which the log tells the end). ONLY_RECIPIENT: the message's, when it had one alone. LATER: its log is not read
-- to the end, ask again.
-- Nothing: there is no such customer. HOST NULL: there is no such message.
CREATE FUNCTION waybill.reported_message(customer_head bytea, node_head bytea, of_queue_id text, queued_at timestamptz, claims text[],
	OUT customer text, OUT host text, OUT only_recipient text, OUT matches text[], OUT later boolean)
RETURNS SETOF record LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	c text;
	h text;
	known text[];
BEGIN
	SELECT k.customer INTO c FROM waybill.customers k WHERE substr(sha256(decode(k.customer, 'escape')), 1, 6) = customer_head;
	IF c IS NULL THEN
		RETURN;
	END IF;
	-- A node may call itself otherwise than its log does; a long queue id is hardly ever another message's.
	SELECT e.host INTO h FROM waybill.events_of_message(c, of_queue_id) e WHERE e.type LIKE 'message.%'
	GROUP BY e.host ORDER BY substr(sha256(convert_to(e.host, 'UTF8')), 1, 3) = node_head DESC, min(e.occurred_at) LIMIT 1;
	known := ARRAY(SELECT DISTINCT e.recipient FROM waybill.events_of_message(c, of_queue_id) e
	               WHERE e.host = h AND e.recipient IS NOT NULL AND e.type LIKE 'message.%' LIMIT 2);
	RETURN QUERY SELECT c, h, CASE WHEN cardinality(known) = 1 THEN known[1] END,
		ARRAY(SELECT (SELECT e.recipient FROM waybill.events_of_message(c, of_queue_id) e
		              WHERE e.host = h AND e.type IN ('message.delivered', 'message.bounced') AND lower(l.claim) IN (lower(e.recipient), lower(e.orig_recipient)) LIMIT 1)
		      FROM unnest(claims) WITH ORDINALITY AS l(claim, n) ORDER BY l.n),
		-- While Postfix keeps the report. The queue holds the message, or nobody has read so far.
		queued_at > now() - interval '4 days' AND
		CASE WHEN h IS NULL
		     THEN coalesce((SELECT bool_or(p.log_time < queued_at + interval '1 minute') FROM waybill.log_positions p
		                    WHERE substr(sha256(convert_to(split_part(p.source, ' ', 1), 'UTF8')), 1, 3) = node_head), true)
		     ELSE EXISTS (SELECT FROM waybill.open_messages o WHERE o.host = h AND o.queue_id IN (
		                 SELECT of_queue_id UNION ALL
		                 SELECT e.queue_id FROM waybill.events_of_message(c, of_queue_id) e WHERE e.host = h)) END;
END $$;

-- One event of a report, with what follows from it, in one transaction. What is known of the message fills the rest of the
-- row. The event's id comes from the message, its recipient and the type, so that the same report twice, or two about the
-- same, make one event: false then. False also for the notice that Postfix itself writes about a bounce of its log.
CREATE FUNCTION waybill.record_report(report jsonb) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	r jsonb := report;
	whose text := r ->> 'customer';
	known waybill.events;
	e waybill.events;
	word text;
BEGIN
	-- Who records an event of this customer waits here for whoever does the same.
	INSERT INTO waybill.event_seq (customer) VALUES (whose) ON CONFLICT DO NOTHING;
	PERFORM FROM waybill.event_seq s WHERE s.customer = whose FOR UPDATE;
	IF EXISTS (SELECT FROM waybill.events_of_message(whose, r ->> 'queue_id') v WHERE v.event_id = r ->> 'event_id') THEN
		RETURN false;
	END IF;
	IF r ->> 'type' = 'message.bounced' AND EXISTS (
		SELECT FROM waybill.events_of_message(whose, r ->> 'queue_id') v
		WHERE v.host = r ->> 'host' AND v.recipient = r ->> 'recipient' AND v.type = 'message.bounced') THEN
		RETURN false;
	END IF;
	SELECT * INTO STRICT known FROM waybill.events_of_message(whose, r ->> 'queue_id') v
	WHERE v.host = r ->> 'host' AND v.type LIKE 'message.%'
	ORDER BY v.recipient IS NOT DISTINCT FROM r ->> 'recipient' DESC, v.occurred_at LIMIT 1;
	UPDATE waybill.event_seq s SET last = s.last + 1 WHERE s.customer = whose;
	INSERT INTO waybill.events AS v (customer, seq, occurred_at, event_id, type, host, instance, queue_id, orig_queue_id,
		message_id, sender, recipient, orig_recipient, recipient_domain, sasl_username, client_ip, size, tag, metadata,
		smtp_code, enhanced_code, remote_enhanced_code, stage, response, remote_mx, provider, bounce_class, bounce_category, bounce_scope, bounce_async,
		bounce_rule, reason, truncated, source_kind, detail)
	SELECT whose, s.last, clock_timestamp(), r ->> 'event_id', r ->> 'type', known.host, known.instance, known.queue_id,
		known.orig_queue_id, known.message_id, known.sender, r ->> 'recipient',
		CASE WHEN known.recipient = r ->> 'recipient' THEN known.orig_recipient END,
		nullif(lower(substring(r ->> 'recipient' FROM '@([^@]*)$')), ''), known.sasl_username, known.client_ip, known.size,
		known.tag, known.metadata, (r ->> 'smtp_code')::smallint, r ->> 'enhanced_code', r ->> 'remote_enhanced_code',
		r ->> 'stage', r ->> 'response', r ->> 'remote_mx', r ->> 'provider', r ->> 'bounce_class', r ->> 'bounce_category',
		r ->> 'bounce_scope', CASE WHEN r ? 'bounce_class' THEN true END, r ->> 'bounce_rule', r ->> 'reason',
		coalesce((r ->> 'truncated')::boolean, false), r ->> 'source_kind', nullif(r -> 'detail', '{}')
	FROM waybill.event_seq s WHERE s.customer = whose
	RETURNING v.* INTO e;
	PERFORM waybill.owe(e.customer, e.type, e.event_id, e.occurred_at);
	PERFORM waybill.judge(ARRAY[e.customer], ARRAY[waybill.told(e)]);
	IF e.type = 'recipient.unsubscribed' AND e.recipient IS NOT NULL THEN
		word := waybill.suppress(e, 'unsubscribe', NULL);
		UPDATE waybill.events v SET suppression = word
		WHERE v.customer = e.customer AND v.occurred_at = e.occurred_at AND v.event_id = e.event_id;
	END IF;
	-- What the recipient asked for outlives the bounces, which may be undone by their cause.
	UPDATE waybill.suppressions s SET event_id = e.event_id, rule = NULL, provider = NULL, remote_mx = NULL,
		reason = CASE e.type WHEN 'message.complained' THEN 'complaint' ELSE 'unsubscribe' END
	WHERE s.customer = e.customer AND s.recipient = e.recipient AND s.reason IN ('hard-bounce', 'soft-bounce')
	  AND e.type IN ('message.complained', 'recipient.unsubscribed');
	RETURN true;
END $$;


REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA waybill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION waybill.keep_report, waybill.reported_message, waybill.record_report TO waybill_report;
