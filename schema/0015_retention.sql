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
	UNION ALL SELECT 'annotation', a.customer, to_jsonb(a) FROM waybill.annotations a WHERE concat_ws(E'\n', a.tag, a.metadata) ~* p
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
	UPDATE waybill.annotations a SET tag = waybill.without_address(a.tag, p), metadata = waybill.without_address(a.metadata, p)
	WHERE concat_ws(E'\n', a.tag, a.metadata) ~* p;
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

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA waybill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION waybill.find_address, waybill.erase_address TO waybill_admin;
