-- What is kept of people, and for how long: what is forgotten by its age, and an address found and taken out wherever it
-- stands. Changes and deliveries are forgotten beside their tables (prune_changes, prune_deliveries).

-- Forgets what is older than its customer's retention, or than the longest where it is nobody's: days that nobody keeps are
-- dropped as partitions, what is left is deleted customer by customer, at most 10,000 events of each a call. What follows from
-- events goes when nothing asks for it any longer: soft failures with the longest window that counts them. An act of a person
-- upon a suppression is on record for 400 days, and as long as the suppression: who did it is asked then; the rest of the
-- audit is about customers and their settings, and stays. Returns how many days and events went.
CREATE FUNCTION waybill.prune_events(now timestamptz DEFAULT now(), OUT days integer, OUT events bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	longest integer := (SELECT max(p.retention_days) FROM waybill.policies p);
	oldest timestamptz := now - make_interval(days => longest);
	part text;
	c record;
	gone bigint;
BEGIN
	days := 0;
	events := 0;
	FOR part IN SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
	            WHERE inhparent = 'waybill.events'::regclass AND relname ~ '^events_\d{8}$'
	              AND to_date(right(relname, 8), 'YYYYMMDD') < (now AT TIME ZONE 'UTC')::date - longest LOOP
		EXECUTE format('DROP TABLE waybill.%I', part);
		days := days + 1;
	END LOOP;
	FOR c IN SELECT s.customer, (waybill.policy_of(s.customer)).retention_days AS keep FROM waybill.event_seq s LOOP
		DELETE FROM waybill.events e WHERE e.customer = c.customer AND (e.occurred_at, e.event_id) IN (
			SELECT o.occurred_at, o.event_id FROM waybill.events o
			WHERE o.customer = c.customer AND o.occurred_at < now - make_interval(days => c.keep) LIMIT 10000);
		GET DIAGNOSTICS gone = ROW_COUNT;
		events := events + gone;
	END LOOP;
	DELETE FROM waybill.dead_letters d WHERE d.at < oldest;
	DELETE FROM waybill.unparsed u WHERE u.last_at < oldest;
	DELETE FROM waybill.annotations a WHERE a.said_at < now - waybill.annotation_life();
	-- The least retention is seven days.
	DELETE FROM waybill.unverified_reports u WHERE u.at < now - interval '7 days'
		AND u.at < now - make_interval(days => (waybill.policy_of(coalesce(u.customer, ''))).retention_days);
	DELETE FROM waybill.suppressions s WHERE s.expires_at < now - interval '7 days'
		AND s.expires_at < now - make_interval(days => (waybill.policy_of(s.customer)).retention_days);
	DELETE FROM waybill.outcomes o WHERE o.minute < now - interval '2 days';
	DELETE FROM waybill.rollups r WHERE r.hour < now - interval '400 days';
	DELETE FROM waybill.soft_failures f
	WHERE f.failed_at < greatest(now - interval '400 days', now - (SELECT max(p.soft_window) FROM waybill.policies p));
	DELETE FROM waybill.audit a WHERE a.at < now - interval '400 days' AND a.object LIKE 'suppression %'
		AND NOT EXISTS (SELECT FROM waybill.suppressions s WHERE a.object = 'suppression ' || s.customer || ' ' || s.recipient);
END $$;


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


REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA waybill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION waybill.prune_events TO waybill_bouncer;
