-- A batch of events as fast as it can be. What record_batch does and promises stands in 0002; here it is done with one look
-- into an index a row, whatever the tables have grown to since somebody counted them: a plan that reads a whole table of
-- logins or a day's events for every batch is never a good one.
--
-- A message that was requeued, or came back from a content filter, has another queue id; what its first one names (its
-- annotation, the token in its return path) is still about it.
ALTER TABLE waybill.events ADD COLUMN orig_queue_id text;         -- the first one; NULL: queue_id is
CREATE INDEX ON waybill.events (orig_queue_id) WHERE orig_queue_id IS NOT NULL;

DROP FUNCTION waybill.record_batch;
CREATE FUNCTION waybill.record_batch(
	source text, batch bigint, "position" jsonb, log_time timestamptz, behind bigint,
	gone_host text[], gone_instance text[], gone_queue_id text[],
	open_host text[], open_instance text[], open_queue_id text[], open_state bytea[],
	unparsed_template text[], unparsed_why text[], unparsed_sample text[], unparsed_lines bigint[],
	suppresses boolean[],
	event_id text[], type text[], occurred_at timestamptz[], host text[], instance text[], queue_id text[],
	orig_queue_id text[], message_id text[], sender text[], recipient text[], orig_recipient text[], recipient_domain text[],
	sasl_username text[], client_ip inet[], size bigint[], attempt integer[],
	smtp_code smallint[], enhanced_code text[], remote_enhanced_code text[], stage text[], response text[],
	remote_mx text[], remote_ip inet[], remote_port integer[], remote_tls text[], provider text[],
	delay_total real[], delay_queue real[], delay_active real[], delay_connect real[], delay_transmit real[],
	bounce_class text[], bounce_category text[], bounce_scope text[], bounce_async boolean[], bounce_rule text[],
	reason text[], truncated boolean[], source_kind text[], partial boolean[], detail jsonb[]
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
	stored bigint;
	stored_position jsonb;
	owed bigint;
	added bigint;
	kept waybill.events[];
	customers text[];
	behinds bigint[];
	lasts jsonb;
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
		-- A key twice in one command would be refused, whatever the bouncer makes of a line.
		SELECT DISTINCT ON (n.host, n.instance, n.queue_id) record_batch.source, n.*
		FROM unnest(open_host, open_instance, open_queue_id, open_state) AS n(host, instance, queue_id, state)
		ON CONFLICT ON CONSTRAINT open_messages_pkey DO UPDATE SET state = excluded.state;
		INSERT INTO waybill.unparsed AS u (source, template, why, sample, lines)
		SELECT record_batch.source, n.template, min(n.why), min(n.sample), sum(n.lines)
		FROM unnest(unparsed_template, unparsed_why, unparsed_sample, unparsed_lines) AS n(template, why, sample, lines)
		GROUP BY n.template
		ON CONFLICT ON CONSTRAINT unparsed_pkey DO UPDATE
		SET lines = u.lines + excluded.lines, sample = excluded.sample, last_at = now();
	END IF;
	IF cardinality(record_batch.event_id) = 0 THEN
		RETURN 0;
	END IF;

	-- Nearly always all of them are new. Where one is not, the second try looks for each.
	FOR checked IN 0..1 LOOP
		BEGIN
			-- Whose is each event, and how many of its customer's follow it in this batch; NULL: it is stored already,
			-- or stands here twice.
			SELECT array_agg(f.customer ORDER BY f.ordinal),
			       array_agg(CASE WHEN f.fresh THEN f.behind END ORDER BY f.ordinal)
			INTO customers, behinds
			FROM (
				SELECT c.*, row_number() OVER (PARTITION BY c.customer, c.fresh ORDER BY c.ordinal DESC) - 1 AS behind
				FROM (
					SELECT k.ordinal, k.customer, NOT k.known AND (checked = 0 OR
					       row_number() OVER (PARTITION BY CASE WHEN checked > 0 THEN k.event_id END
					                          ORDER BY k.ordinal) = 1) AS fresh
					FROM (
						SELECT i.ordinal, i.event_id, coalesce(l.customer, '-') AS customer,
						       checked > 0 AND EXISTS (
						           SELECT FROM waybill.events e WHERE e.customer = coalesce(l.customer, '-')
						           AND e.occurred_at = i.occurred_at AND e.event_id = i.event_id) AS known
						FROM unnest(event_id, occurred_at, sasl_username)
						     WITH ORDINALITY AS i(event_id, occurred_at, sasl_username, ordinal)
						LEFT JOIN LATERAL (SELECT o.customer FROM waybill.logins o
						                   WHERE o.login = lower(i.sasl_username) LIMIT 1) l ON true
					) k
				) c
			) f;

			-- In the customers' order, so that two bouncers never wait for each other in a circle.
			WITH numbered AS (
				INSERT INTO waybill.event_seq AS s (customer, last)
				SELECT c.customer, count(*) FROM unnest(customers, behinds) AS c(customer, behind)
				WHERE c.behind IS NOT NULL GROUP BY c.customer ORDER BY c.customer
				ON CONFLICT (customer) DO UPDATE SET last = s.last + excluded.last
				RETURNING s.customer, s.last
			)
			SELECT jsonb_object_agg(n.customer, n.last) INTO lasts FROM numbered n;

			WITH stored AS (
				INSERT INTO waybill.events
					(customer, seq, event_id, type, occurred_at, host, instance, queue_id, orig_queue_id, message_id, sender,
					recipient, orig_recipient, recipient_domain, sasl_username, client_ip, size,
					attempt, smtp_code, enhanced_code, remote_enhanced_code, stage, response,
					remote_mx, remote_ip, remote_port, remote_tls, provider, delay_total,
					delay_queue, delay_active, delay_connect, delay_transmit, bounce_class,
					bounce_category, bounce_scope, bounce_async, bounce_rule, reason, truncated,
					source_kind, partial, detail, tag, metadata)
				SELECT i.customer, (lasts ->> i.customer)::bigint - i.behind,
					i.event_id, i.type, i.occurred_at, i.host, i.instance, i.queue_id,
					i.orig_queue_id, i.message_id, coalesce(a.sender, i.sender), i.recipient, i.orig_recipient, i.recipient_domain,
					i.sasl_username, i.client_ip, i.size, i.attempt, i.smtp_code,
					i.enhanced_code, i.remote_enhanced_code, i.stage, i.response, i.remote_mx,
					i.remote_ip, i.remote_port, i.remote_tls, i.provider, i.delay_total,
					i.delay_queue, i.delay_active, i.delay_connect, i.delay_transmit,
					i.bounce_class, i.bounce_category, i.bounce_scope, i.bounce_async,
					i.bounce_rule, i.reason, i.truncated, i.source_kind, i.partial, i.detail,
					a.tag, a.metadata
				FROM (SELECT unnest(customers) AS customer, unnest(behinds) AS behind,
					unnest(event_id) AS event_id, unnest(type) AS type,
					unnest(occurred_at) AS occurred_at, unnest(host) AS host,
					unnest(instance) AS instance, unnest(queue_id) AS queue_id,
					unnest(orig_queue_id) AS orig_queue_id, unnest(message_id) AS message_id, unnest(sender) AS sender,
					unnest(recipient) AS recipient, unnest(orig_recipient) AS orig_recipient,
					unnest(recipient_domain) AS recipient_domain,
					unnest(sasl_username) AS sasl_username, unnest(client_ip) AS client_ip,
					unnest(size) AS size, unnest(attempt) AS attempt,
					unnest(smtp_code) AS smtp_code, unnest(enhanced_code) AS enhanced_code,
					unnest(remote_enhanced_code) AS remote_enhanced_code,
					unnest(stage) AS stage, unnest(response) AS response,
					unnest(remote_mx) AS remote_mx, unnest(remote_ip) AS remote_ip,
					unnest(remote_port) AS remote_port, unnest(remote_tls) AS remote_tls,
					unnest(provider) AS provider, unnest(delay_total) AS delay_total,
					unnest(delay_queue) AS delay_queue, unnest(delay_active) AS delay_active,
					unnest(delay_connect) AS delay_connect,
					unnest(delay_transmit) AS delay_transmit,
					unnest(bounce_class) AS bounce_class,
					unnest(bounce_category) AS bounce_category,
					unnest(bounce_scope) AS bounce_scope, unnest(bounce_async) AS bounce_async,
					unnest(bounce_rule) AS bounce_rule, unnest(reason) AS reason,
					unnest(truncated) AS truncated, unnest(source_kind) AS source_kind,
					unnest(partial) AS partial, unnest(detail) AS detail) AS i
				LEFT JOIN waybill.annotations a ON a.customer = i.customer AND a.queue_id = coalesce(i.orig_queue_id, i.queue_id)
					AND i.occurred_at BETWEEN a.said_at AND a.said_at + waybill.annotation_life()
				WHERE i.behind IS NOT NULL
				RETURNING *
			), due AS (
				INSERT INTO waybill.deliveries (customer, endpoint, event_id, occurred_at)
				SELECT d.customer, d.endpoint, d.event_id, d.occurred_at
				FROM (
					SELECT s.customer, p.endpoint, s.event_id, s.occurred_at, s.type, s.queue_id, s.recipient,
					       s.bounce_category, rank() OVER (PARTITION BY p.endpoint, s.type, s.queue_id, s.recipient,
					                                       s.bounce_category ORDER BY s.occurred_at) AS nth
					FROM stored s JOIN waybill.endpoints p USING (customer)
					WHERE p.status <> 'disabled' AND (p.events = '{}' OR s.type = ANY (p.events))
				) d
				WHERE d.type <> 'message.deferred' OR d.nth = 1 AND waybill.deferral_is_news(
				      d.customer, d.endpoint, d.occurred_at, d.queue_id, d.recipient, d.bounce_category)
				ON CONFLICT DO NOTHING
				RETURNING 1
			)
			SELECT count(*), (SELECT count(*) FROM due), array_agg(s::waybill.events)
			FROM stored s INTO added, owed, kept;
			EXIT;
		EXCEPTION WHEN unique_violation THEN
			IF checked > 0 THEN
				RAISE;
			END IF;
		END;
	END LOOP;
	IF added > 0 THEN
		PERFORM waybill.judge(kept);
	END IF;
	IF owed > 0 THEN
		NOTIFY waybill_deliveries;
	END IF;
	RETURN added;
END $$;

REVOKE EXECUTE ON FUNCTION waybill.record_batch FROM PUBLIC;
GRANT EXECUTE ON FUNCTION waybill.record_batch TO waybill_bouncer, waybill_admin;
