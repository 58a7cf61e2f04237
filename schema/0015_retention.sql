-- What is kept of people, and for how long: an address found and taken out wherever it stands, what is forgotten by its age;
-- and what earlier files got wrong about suppressions.

-- The regular expression (PostgreSQL manual 9.7.3, for ~* and 'gi') that finds an address in a text by any of its SPELLINGS, and
-- not as a part of another's: fred@dest.example is not ed@dest.example, nor is ed@dest.example.org. A dot behind it ends a
-- sentence, an apostrophe before it a quotation, unless a letter goes before that. A text may be JSON: an escaped line feed is
-- no letter n, and an address in quotes has backslashes.
CREATE FUNCTION waybill.address_pattern(spellings text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT '(?:(?<![[:alnum:]._%+~&-])(?<![[:alnum:]]'')|(?<=\\[bfnrt]))(?:'
	       || string_agg(regexp_replace(a, '([^[:alnum:]@])', '\\\1', 'g'), '|' ORDER BY a) || ')(?![[:alnum:]_-]|\.[[:alnum:]])'
	FROM (SELECT unnest(spellings) UNION SELECT substr(to_json(s)::text, 2, length(to_json(s)::text) - 2) FROM unnest(spellings) AS s) AS v(a)
$$;

CREATE FUNCTION waybill.without_address(t text, pattern text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT regexp_replace(t, pattern, 'erased@invalid', 'gi')
$$;

-- In keys and values, however deep.
CREATE FUNCTION waybill.without_address(j jsonb, pattern text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN coalesce(CASE jsonb_typeof(j)
		WHEN 'string' THEN to_jsonb(waybill.without_address(j #>> '{}', pattern))
		WHEN 'array' THEN (SELECT jsonb_agg(waybill.without_address(a.v, pattern) ORDER BY a.n)
		                   FROM jsonb_array_elements(j) WITH ORDINALITY AS a(v, n))
		WHEN 'object' THEN (SELECT jsonb_object_agg(waybill.without_address(o.key, pattern), waybill.without_address(o.value, pattern))
		                    FROM jsonb_each(j) AS o)
	END, j);
END $$;


-- All that is stored about an address.
CREATE FUNCTION waybill.find_address(spellings text[]) RETURNS TABLE (kind text, customer text, "row" jsonb)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	p text := waybill.address_pattern(spellings);
	whole text := '^' || p || '$';
BEGIN
	RETURN QUERY
	SELECT 'event', e.customer, to_jsonb(e) FROM support.events e
	WHERE e.recipient ~* whole OR e.orig_recipient ~* whole
	   OR concat_ws(E'\n', e.sender, e.tag, e.metadata, e.response, e.reason, e.detail) ~* p
	UNION ALL SELECT 'suppression', s.customer, to_jsonb(s) FROM support.suppressions s
	WHERE s.recipient ~* whole OR s.note ~* p
	UNION ALL SELECT 'soft failure', f.customer, to_jsonb(f) FROM waybill.soft_failures f WHERE f.recipient ~* whole
	UNION ALL SELECT 'contact', c.customer, jsonb_build_object('contact', c.contact) FROM waybill.customers c WHERE c.contact ~* p
	UNION ALL SELECT 'unverified report', u.customer, to_jsonb(u) FROM support.unverified_reports u
	WHERE concat_ws(E'\n', u.why, u.report) ~* p
	UNION ALL SELECT 'dead letter', NULL, to_jsonb(d) FROM support.dead_letters d WHERE concat_ws(E'\n', d.event, d.error) ~* p
	UNION ALL SELECT 'unparsed line', NULL, to_jsonb(u) FROM support.unparsed u WHERE u.sample ~* p
	UNION ALL SELECT 'annotation', a.customer, to_jsonb(a) FROM waybill.annotations a WHERE concat_ws(E'\n', a.tag, a.metadata, a.sender) ~* p
	UNION ALL SELECT 'webhook answer', a.customer, to_jsonb(a) FROM support.attempts a WHERE a.answer ~* p
	UNION ALL SELECT 'audit', NULL, to_jsonb(a) FROM support.audit a WHERE concat_ws(E'\n', a.object, a.before, a.after) ~* p;
END $$;

-- Takes an address out of what is stored, whoever's mail it was: the rows stay, without it. Suppressions that the recipient
-- asked for (complaint, unsubscribe) stay unless EVERYTHING, because without them the mail would begin again.
DROP FUNCTION waybill.erase_address(text, boolean);
CREATE FUNCTION waybill.erase_address(spellings text[], everything boolean, OUT events bigint, OUT suppressions bigint, OUT others bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	p text := waybill.address_pattern(spellings);
	whole text := '^' || p || '$';
	more bigint;
BEGIN
	-- These tell of themselves in events and in the audit: so those come after.
	DELETE FROM waybill.suppressions s WHERE s.recipient ~* whole AND (everything OR s.reason NOT IN ('complaint', 'unsubscribe'));
	GET DIAGNOSTICS suppressions = ROW_COUNT;
	UPDATE waybill.suppressions s SET note = waybill.without_address(s.note, p) WHERE s.note ~* p;
	GET DIAGNOSTICS others = ROW_COUNT;
	UPDATE waybill.customers c SET contact = '' WHERE c.contact ~* p;
	GET DIAGNOSTICS more = ROW_COUNT;
	others := others + more;
	DELETE FROM waybill.soft_failures f WHERE f.recipient ~* whole;
	GET DIAGNOSTICS more = ROW_COUNT;
	others := others + more;
	DELETE FROM waybill.unverified_reports u WHERE concat_ws(E'\n', u.why, u.report) ~* p;
	GET DIAGNOSTICS more = ROW_COUNT;
	others := others + more;
	UPDATE waybill.events e SET
		recipient = waybill.without_address(e.recipient, whole),
		recipient_domain = CASE WHEN e.recipient ~* whole THEN 'invalid' ELSE e.recipient_domain END,
		orig_recipient = waybill.without_address(e.orig_recipient, whole), sender = waybill.without_address(e.sender, p),
		tag = waybill.without_address(e.tag, p), metadata = waybill.without_address(e.metadata, p),
		response = waybill.without_address(e.response, p), reason = waybill.without_address(e.reason, p),
		detail = waybill.without_address(e.detail, p)
	WHERE e.recipient ~* whole OR e.orig_recipient ~* whole
	   OR concat_ws(E'\n', e.sender, e.tag, e.metadata, e.response, e.reason, e.detail) ~* p;
	GET DIAGNOSTICS events = ROW_COUNT;
	UPDATE waybill.dead_letters d SET event = waybill.without_address(d.event, p), error = waybill.without_address(d.error, p)
	WHERE concat_ws(E'\n', d.event, d.error) ~* p;
	GET DIAGNOSTICS more = ROW_COUNT;
	others := others + more;
	UPDATE waybill.unparsed u SET sample = waybill.without_address(u.sample, p) WHERE u.sample ~* p;
	GET DIAGNOSTICS more = ROW_COUNT;
	others := others + more;
	UPDATE waybill.annotations a SET tag = waybill.without_address(a.tag, p), metadata = waybill.without_address(a.metadata, p),
		sender = waybill.without_address(a.sender, p)
	WHERE concat_ws(E'\n', a.tag, a.metadata, a.sender) ~* p;
	GET DIAGNOSTICS more = ROW_COUNT;
	others := others + more;
	UPDATE waybill.earlier_attempts a SET answer = waybill.without_address(a.answer, p) WHERE a.answer ~* p;
	GET DIAGNOSTICS more = ROW_COUNT;
	others := others + more;
	UPDATE waybill.deliveries d SET answer = waybill.without_address(d.answer, p) WHERE d.answer ~* p;
	GET DIAGNOSTICS more = ROW_COUNT;
	others := others + more;
	UPDATE waybill.audit a SET object = waybill.without_address(a.object, p), before = waybill.without_address(a.before, p),
		after = waybill.without_address(a.after, p)
	WHERE concat_ws(E'\n', a.object, a.before, a.after) ~* p;
	GET DIAGNOSTICS more = ROW_COUNT;
	others := others + more;
END $$;

-- A suppression that has ended is none: to enter it again is to create it, and to take away what is left of it is no news.
CREATE OR REPLACE FUNCTION waybill.tell_suppression() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	s waybill.suppressions := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
	IF EXISTS (SELECT FROM waybill.customers c WHERE c.customer = s.customer) THEN
		PERFORM waybill.tell(s.customer, CASE WHEN TG_OP = 'DELETE' THEN 'suppression.deleted' ELSE 'suppression.created' END,
		                     s.recipient,
		                     jsonb_build_object('reason', s.reason, 'event_id', s.event_id, 'rule', s.rule, 'note', s.note,
		                                        'expires_at', s.expires_at,
		                                        'by', coalesce(nullif(current_setting('waybill.who', true), ''), session_user)));
	END IF;
	RETURN NULL;
END $$;
DROP TRIGGER tell ON waybill.suppressions;
CREATE TRIGGER tell AFTER INSERT ON waybill.suppressions FOR EACH ROW EXECUTE FUNCTION waybill.tell_suppression();
CREATE TRIGGER tell_again AFTER UPDATE ON waybill.suppressions FOR EACH ROW
	WHEN (OLD.expires_at <= now() AND coalesce(NEW.expires_at > now(), true)) EXECUTE FUNCTION waybill.tell_suppression();
CREATE TRIGGER tell_end AFTER DELETE ON waybill.suppressions FOR EACH ROW
	WHEN (coalesce(OLD.expires_at > now(), true)) EXECUTE FUNCTION waybill.tell_suppression();
DROP TRIGGER audit ON waybill.suppressions;
CREATE TRIGGER audit AFTER INSERT OR UPDATE ON waybill.suppressions
	FOR EACH ROW WHEN (session_user NOT IN ('waybill_bouncer', 'waybill_report'))
	EXECUTE FUNCTION waybill.keep_audit('suppression', 'customer', 'recipient');
CREATE TRIGGER audit_end AFTER DELETE ON waybill.suppressions
	FOR EACH ROW WHEN (session_user NOT IN ('waybill_bouncer', 'waybill_report') AND coalesce(OLD.expires_at > now(), true))
	EXECUTE FUNCTION waybill.keep_audit('suppression', 'customer', 'recipient');

-- A mailbox that is full by a mail that comes back was delivered to before, by the log: a delivery is no word against such a
-- failure, and only time forgets it.
ALTER TABLE waybill.soft_failures ADD COLUMN async boolean NOT NULL DEFAULT false;

CREATE OR REPLACE FUNCTION waybill.judge_bounce(e waybill.events) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	policy waybill.policies := waybill.policy_of(e.customer);
	what text := waybill.consequence(e.bounce_class, e.bounce_category, e.bounce_scope);
	failures bigint;
	reason text := 'hard-bounce';
	ttl interval := CASE what WHEN 'permanent' THEN policy.hard_ttl WHEN 'temporary' THEN policy.closed_ttl ELSE policy.soft_ttl END;
BEGIN
	IF what = 'none' THEN
		RETURN NULL;
	END IF;
	IF what = 'count' THEN
		INSERT INTO waybill.soft_failures (customer, recipient, host, queue_id, failed_at, async)
		VALUES (e.customer, e.recipient, e.host, e.queue_id, e.occurred_at, coalesce(e.bounce_async, false)) ON CONFLICT DO NOTHING;
		SELECT count(*) INTO failures FROM waybill.soft_failures s
		WHERE s.customer = e.customer AND s.recipient = e.recipient AND s.failed_at > e.occurred_at - policy.soft_window;
		IF failures < policy.soft_messages THEN
			RETURN NULL;
		END IF;
		reason := 'soft-bounce';
	END IF;
	IF waybill.braked(coalesce(e.provider, e.recipient_domain, ''), e.occurred_at) THEN
		UPDATE waybill.brakes SET spared = spared + 1 WHERE provider = coalesce(e.provider, e.recipient_domain, '');
		RETURN 'frozen';
	END IF;
	DELETE FROM waybill.soft_failures s WHERE s.customer = e.customer AND s.recipient = e.recipient;
	RETURN waybill.suppress(e, reason, e.occurred_at + ttl);
END $$;

CREATE OR REPLACE FUNCTION waybill.judge_recipients(stored waybill.events[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	e waybill.events;
	word text;
	customers text[] := '{}';
	recipients text[] := '{}';
	ids text[] := '{}';
	times timestamptz[] := '{}';
	words text[] := '{}';
	first timestamptz;
	last timestamptz;
BEGIN
	INSERT INTO waybill.rollups AS r (customer, hour, provider, type, category, class, events)
	SELECT v.customer, date_bin('1 hour', v.occurred_at, 'epoch'), coalesce(v.provider, ''), v.type, coalesce(v.bounce_category, ''),
	       coalesce(v.bounce_class, ''), count(*)
	FROM unnest(stored) AS v
	GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
	ON CONFLICT (customer, hour, provider, type, category, class) DO UPDATE SET events = r.events + excluded.events;
	INSERT INTO waybill.outcomes AS o (provider, minute, final, hard)
	SELECT coalesce(v.provider, v.recipient_domain, ''), date_bin('1 minute', v.occurred_at, 'epoch'), count(*),
	       count(*) FILTER (WHERE waybill.consequence(v.bounce_class, v.bounce_category, v.bounce_scope) IN ('permanent', 'temporary'))
	FROM unnest(stored) AS v
	WHERE v.type IN ('message.delivered', 'message.bounced')
	GROUP BY 1, 2 ORDER BY 1, 2
	ON CONFLICT (provider, minute) DO UPDATE SET final = o.final + excluded.final, hard = o.hard + excluded.hard;
	DELETE FROM waybill.soft_failures s
	USING unnest(stored) AS v
	WHERE v.type = 'message.delivered' AND s.customer = v.customer AND s.recipient = v.recipient AND s.failed_at <= v.occurred_at
	  AND NOT s.async;
	-- A delivery between two failures of one batch counts where it stands.
	FOR e IN
		SELECT (b.v).* FROM (
			SELECT v, bool_or(v.type <> 'message.delivered') OVER (PARTITION BY v.customer, v.recipient) AS failed
			FROM unnest(stored) AS v
			WHERE v.type IN ('message.bounced', 'message.complained', 'message.delivered') AND v.customer <> '-'
			  AND v.recipient IS NOT NULL) AS b
		WHERE b.failed ORDER BY (b.v).customer, (b.v).recipient, (b.v).occurred_at, (b.v).seq
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
		customers := customers || e.customer;
		recipients := recipients || e.recipient;
		ids := ids || e.event_id;
		times := times || e.occurred_at;
		words := words || word;
	END LOOP;
	-- FIRST and LAST let Postgres leave the other days alone.
	SELECT min(t), max(t) INTO first, last FROM unnest(times) AS t;
	UPDATE waybill.events v SET suppression = u.word, suppression_expires = (SELECT s.expires_at FROM waybill.suppressions s
		WHERE u.word <> 'frozen' AND s.customer = u.customer AND s.recipient = u.recipient)
	FROM unnest(customers, recipients, ids, times, words) AS u (customer, recipient, id, at, word)
	WHERE v.customer = u.customer AND v.occurred_at = u.at AND v.event_id = u.id AND v.occurred_at BETWEEN first AND last;
END $$;

-- As in 0004; a paused endpoint is owed its events until it goes on.
CREATE OR REPLACE FUNCTION waybill.record_own_event(customer text, type text, event_id text, host text, detail jsonb) RETURNS void
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
	WHERE e.customer = record_own_event.customer AND e.status <> 'disabled'
	  AND (e.events = '{}' OR record_own_event.type = ANY (e.events));
	NOTIFY waybill_deliveries;
END $$;

-- Forgets what is older than its customer's retention, or than the longest where it is nobody's: see 0005. What follows from
-- events goes when nothing asks for it any longer: soft failures with the longest window that counts them. An act of a person
-- upon a suppression is on record for 400 days, and as long as the suppression: who did it is asked then; the rest of the
-- audit is about customers and their settings, and stays.
ALTER FUNCTION waybill.prune_events(timestamptz) RENAME TO prune_stored_events;
CREATE FUNCTION waybill.prune_events(now timestamptz DEFAULT now(), OUT days integer, OUT events bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	longest timestamptz;
BEGIN
	SELECT p.days, p.events INTO days, events FROM waybill.prune_stored_events(prune_events.now) AS p;
	SELECT prune_events.now - make_interval(days => max(p.retention_days)) INTO longest FROM waybill.policies p;
	DELETE FROM waybill.dead_letters d WHERE d.at < longest;
	DELETE FROM waybill.unparsed u WHERE u.last_at < longest;
	DELETE FROM waybill.annotations a WHERE a.said_at < prune_events.now - waybill.annotation_life();
	-- The least retention is seven days.
	DELETE FROM waybill.unverified_reports u WHERE u.at < prune_events.now - interval '7 days'
		AND u.at < prune_events.now - make_interval(days => (waybill.policy_of(coalesce(u.customer, ''))).retention_days);
	DELETE FROM waybill.suppressions s WHERE s.expires_at < prune_events.now - interval '7 days'
		AND s.expires_at < prune_events.now - make_interval(days => (waybill.policy_of(s.customer)).retention_days);
	DELETE FROM waybill.soft_failures f
	WHERE f.failed_at < prune_events.now - (SELECT max(p.soft_window) FROM waybill.policies p);
	DELETE FROM waybill.audit a WHERE a.at < prune_events.now - interval '400 days' AND a.object LIKE 'suppression %'
		AND NOT EXISTS (SELECT FROM waybill.suppressions s WHERE a.object = 'suppression ' || s.customer || ' ' || s.recipient);
END $$;

-- The bouncer stores by functions alone; what it once did itself it need not be able to.
REVOKE ALL ON waybill.suppressions, waybill.deliveries, waybill.endpoints FROM waybill_bouncer, waybill_report;
REVOKE SELECT (customer, endpoint, event_id) ON waybill.deliveries FROM waybill_bouncer, waybill_report;
REVOKE SELECT (customer, endpoint, events, status) ON waybill.endpoints FROM waybill_bouncer, waybill_report;
REVOKE SELECT (last_used_at), UPDATE (last_used_at) ON waybill.logins FROM waybill_bouncer;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA waybill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION waybill.find_address, waybill.erase_address, waybill.record_own_event TO waybill_admin;
GRANT EXECUTE ON FUNCTION waybill.prune_events TO waybill_bouncer, waybill_admin;
