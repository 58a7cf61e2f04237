-- What follows from events: suppressions, the brake that stops them, hourly counts, how long events stay, who may see what.

-- How each customer is treated; the row '' is for those who have none of their own.
CREATE TABLE waybill.policies (
	customer       text PRIMARY KEY,
	retention_days integer NOT NULL DEFAULT 45 CHECK (retention_days BETWEEN 7 AND 365),
	soft_messages  integer NOT NULL DEFAULT 3 CHECK (soft_messages BETWEEN 1 AND 1000),
	soft_window    interval NOT NULL DEFAULT '30 days',
	soft_ttl       interval DEFAULT '30 days',      -- how long soft failures suppress; NULL: for good
	closed_ttl     interval DEFAULT '90 days',      -- how long a closed mailbox (inactive-mailbox) is suppressed
	hard_ttl       interval,                        -- unknown mailboxes and domains: for good
	complaint_ttl  interval
);
INSERT INTO waybill.policies (customer) VALUES ('');

-- When too many recipients of one provider are suddenly unknown, the provider has a fault: nobody is suppressed for it.
CREATE TABLE waybill.brake_policy (
	only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
	percent  integer NOT NULL DEFAULT 30 CHECK (percent BETWEEN 1 AND 100),
	minutes  integer NOT NULL DEFAULT 10 CHECK (minutes BETWEEN 1 AND 1440),
	least    integer NOT NULL DEFAULT 50 CHECK (least > 0), -- final outcomes; fewer say nothing
	hold     interval NOT NULL DEFAULT '1 hour'     -- after the last excess
);
INSERT INTO waybill.brake_policy DEFAULT VALUES;

CREATE TABLE waybill.outcomes (
	provider text NOT NULL,                         -- or the recipient's domain, where none is known
	minute   timestamptz NOT NULL,
	final    bigint NOT NULL,
	hard     bigint NOT NULL,                       -- that would suppress the recipient
	PRIMARY KEY (provider, minute)
);

CREATE TABLE waybill.brakes (
	provider     text PRIMARY KEY,
	since        timestamptz NOT NULL,
	frozen_until timestamptz NOT NULL,
	final        bigint NOT NULL,
	hard         bigint NOT NULL,
	spared       bigint NOT NULL DEFAULT 0          -- recipients that were not suppressed
);

-- One row a message whose final outcome was a soft failure about the recipient.
CREATE TABLE waybill.soft_failures (
	customer  text NOT NULL,
	recipient text NOT NULL,
	host      text NOT NULL,
	queue_id  text NOT NULL,
	failed_at timestamptz NOT NULL,
	PRIMARY KEY (customer, recipient, host, queue_id)
);
CREATE INDEX ON waybill.soft_failures (failed_at);

-- Why a suppression came about, so that it can be undone by its cause.
ALTER TABLE waybill.suppressions ADD COLUMN rule text, ADD COLUMN provider text, ADD COLUMN remote_mx text;
CREATE INDEX ON waybill.suppressions (rule, created_at) WHERE rule IS NOT NULL;

CREATE TABLE waybill.rollups (
	customer text NOT NULL,
	hour     timestamptz NOT NULL,
	provider text NOT NULL,
	type     text NOT NULL,
	category text NOT NULL,
	class    text NOT NULL,
	events   bigint NOT NULL,
	PRIMARY KEY (customer, hour, provider, type, category, class)
);

-- What a final failure means; the same as bounce_consequence() in common/bounce.h.
CREATE FUNCTION waybill.consequence(class text, category text, scope text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE
		WHEN scope IS NULL OR scope NOT IN ('recipient', 'recipient_domain') THEN 'none'
		WHEN class = 'hard' AND category IN ('bad-mailbox', 'mailbox-moved', 'bad-domain') THEN 'permanent'
		WHEN class = 'hard' AND category = 'inactive-mailbox' THEN 'temporary'
		WHEN scope = 'recipient' AND class IS NOT NULL THEN 'count'
		ELSE 'none' END
$$;

-- An event that no log line told, owed to those endpoints that want it.
CREATE FUNCTION waybill.tell(customer text, type text, recipient text, detail jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	id text := 'evt_' || substr(translate(replace(gen_random_uuid()::text, '-', ''), '0189', 'ghij'), 1, 26);
	number bigint;
	owed bigint;
BEGIN
	INSERT INTO waybill.event_seq AS s (customer, last) VALUES (tell.customer, 1)
	ON CONFLICT (customer) DO UPDATE SET last = s.last + 1 RETURNING s.last INTO number;
	INSERT INTO waybill.events (customer, occurred_at, event_id, seq, type, host, instance, queue_id, recipient,
	                            recipient_domain, source_kind, detail)
	VALUES (tell.customer, now(), id, number, tell.type, '', '', '', tell.recipient,
	        nullif(lower(substring(tell.recipient FROM '@([^@]*)$')), ''), 'database', tell.detail);
	INSERT INTO waybill.deliveries (customer, endpoint, event_id, occurred_at)
	SELECT p.customer, p.endpoint, id, now() FROM waybill.endpoints p
	WHERE p.customer = tell.customer AND p.status <> 'disabled' AND (p.events = '{}' OR tell.type = ANY (p.events));
	GET DIAGNOSTICS owed = ROW_COUNT;
	IF owed > 0 THEN
		NOTIFY waybill_deliveries;
	END IF;
END $$;

-- A customer that goes away is told nothing.
CREATE FUNCTION waybill.tell_suppression() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	s waybill.suppressions := CASE WHEN TG_OP = 'INSERT' THEN NEW ELSE OLD END;
BEGIN
	IF EXISTS (SELECT FROM waybill.customers c WHERE c.customer = s.customer) THEN
		PERFORM waybill.tell(s.customer, CASE WHEN TG_OP = 'INSERT' THEN 'suppression.created' ELSE 'suppression.deleted' END,
		                     s.recipient,
		                     jsonb_build_object('reason', s.reason, 'event_id', s.event_id, 'rule', s.rule, 'note', s.note,
		                                        'expires_at', s.expires_at,
		                                        'by', coalesce(nullif(current_setting('waybill.who', true), ''), session_user)));
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER INSERT OR DELETE ON waybill.suppressions
	FOR EACH ROW EXECUTE FUNCTION waybill.tell_suppression();

-- The policy that holds for a customer.
CREATE FUNCTION waybill.policy_of(customer text) RETURNS waybill.policies
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT p FROM waybill.policies p WHERE p.customer IN (policy_of.customer, '') ORDER BY p.customer DESC LIMIT 1
$$;

-- Is the provider's brake on, with the outcomes up to AT? Puts it on, or keeps it on, and says so once.
CREATE FUNCTION waybill.braked(provider text, at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	policy waybill.brake_policy;
	finals bigint;
	hards bigint;
	known waybill.brakes;
BEGIN
	SELECT * INTO policy FROM waybill.brake_policy;
	SELECT sum(o.final), sum(o.hard) INTO finals, hards FROM waybill.outcomes o
	WHERE o.provider = braked.provider AND o.minute > braked.at - make_interval(mins => policy.minutes) AND o.minute <= braked.at;
	SELECT * INTO known FROM waybill.brakes b WHERE b.provider = braked.provider FOR UPDATE;
	IF finals >= policy.least AND hards * 100 > policy.percent * finals THEN
		IF known.provider IS NULL OR known.frozen_until <= braked.at THEN
			PERFORM waybill.tell('-', 'suppression.frozen', NULL,
			                     jsonb_build_object('provider', braked.provider, 'final', finals, 'hard', hards,
			                                        'minutes', policy.minutes, 'percent', policy.percent));
			RAISE WARNING 'suppression is frozen for %: % of % recipients were refused for good within % minutes',
				braked.provider, hards, finals, policy.minutes;
		END IF;
		INSERT INTO waybill.brakes AS b (provider, since, frozen_until, final, hard)
		VALUES (braked.provider, braked.at, braked.at + policy.hold, finals, hards)
		ON CONFLICT (provider) DO UPDATE SET
			since = CASE WHEN b.frozen_until <= braked.at THEN braked.at ELSE b.since END,
			spared = CASE WHEN b.frozen_until <= braked.at THEN 0 ELSE b.spared END,
			frozen_until = greatest(b.frozen_until, excluded.frozen_until), final = excluded.final, hard = excluded.hard;
		RETURN true;
	END IF;
	RETURN coalesce(known.frozen_until > braked.at, false);
END $$;

-- Suppresses a recipient because of an event, or prolongs what stands: 'added', 'extended', or NULL when that lasts as
-- long already. What a person or the recipient decided is not shortened.
CREATE FUNCTION waybill.suppress(e waybill.events, reason text, expires timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	known waybill.suppressions;
BEGIN
	SELECT * INTO known FROM waybill.suppressions s
	WHERE s.customer = e.customer AND s.recipient = e.recipient FOR UPDATE;
	IF known.customer IS NOT NULL AND coalesce(known.expires_at, 'infinity') <= e.occurred_at THEN
		DELETE FROM waybill.suppressions s WHERE s.customer = e.customer AND s.recipient = e.recipient;
		known := NULL;
	END IF;
	IF known.customer IS NULL THEN
		INSERT INTO waybill.suppressions (customer, recipient, reason, event_id, rule, provider, remote_mx, expires_at)
		SELECT c.customer, e.recipient, suppress.reason, e.event_id, e.bounce_rule, e.provider, e.remote_mx, suppress.expires
		FROM waybill.customers c WHERE c.customer = e.customer
		ON CONFLICT DO NOTHING;
		RETURN CASE WHEN FOUND THEN 'added' END;
	END IF;
	IF coalesce(suppress.expires, 'infinity') <= coalesce(known.expires_at, 'infinity') THEN
		RETURN NULL;
	END IF;
	UPDATE waybill.suppressions s SET expires_at = suppress.expires, reason = suppress.reason, event_id = e.event_id,
		rule = e.bounce_rule, provider = e.provider, remote_mx = e.remote_mx
	WHERE s.customer = e.customer AND s.recipient = e.recipient;
	RETURN 'extended';
END $$;

-- One message that failed for good for a recipient. Returns the word for events.suppression.
CREATE FUNCTION waybill.judge_bounce(e waybill.events) RETURNS text
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
		INSERT INTO waybill.soft_failures (customer, recipient, host, queue_id, failed_at)
		VALUES (e.customer, e.recipient, e.host, e.queue_id, e.occurred_at) ON CONFLICT DO NOTHING;
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

-- What follows from events that were just stored (called by record_batch, in its transaction): counts of outcomes, reset
-- by deliveries, then each bounce and complaint in its order.
CREATE FUNCTION waybill.judge(stored waybill.events[]) RETURNS void
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
	SELECT v.customer, date_trunc('hour', v.occurred_at, 'UTC'), coalesce(v.provider, ''), v.type, coalesce(v.bounce_category, ''),
	       coalesce(v.bounce_class, ''), count(*)
	FROM unnest(stored) AS v
	GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
	ON CONFLICT (customer, hour, provider, type, category, class) DO UPDATE SET events = r.events + excluded.events;
	INSERT INTO waybill.outcomes AS o (provider, minute, final, hard)
	SELECT coalesce(v.provider, v.recipient_domain, ''), date_trunc('minute', v.occurred_at), count(*),
	       count(*) FILTER (WHERE waybill.consequence(v.bounce_class, v.bounce_category, v.bounce_scope) IN ('permanent', 'temporary'))
	FROM unnest(stored) AS v
	WHERE v.type IN ('message.delivered', 'message.bounced')
	GROUP BY 1, 2 ORDER BY 1, 2
	ON CONFLICT (provider, minute) DO UPDATE SET final = o.final + excluded.final, hard = o.hard + excluded.hard;
	DELETE FROM waybill.soft_failures s
	USING unnest(stored) AS v
	WHERE v.type = 'message.delivered' AND s.customer = v.customer AND s.recipient = v.recipient AND s.failed_at <= v.occurred_at;
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
			WHERE s.customer = e.customer AND s.recipient = e.recipient AND s.failed_at <= e.occurred_at;
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

-- Suppressions by their cause: all that a rule, a provider or a remote host brought about since a time. RULE may end in
-- "*"; NULL: any. Only those that bounces caused.
CREATE FUNCTION waybill.caused_suppressions(of_customer text, by_rule text, since timestamptz, remote text)
RETURNS SETOF waybill.suppressions LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT s FROM waybill.suppressions s
	WHERE s.reason IN ('hard-bounce', 'soft-bounce')
	  AND (of_customer IS NULL OR s.customer = of_customer)
	  AND (by_rule IS NULL OR s.rule = by_rule OR (by_rule LIKE '%*' AND starts_with(s.rule, left(by_rule, -1))))
	  AND s.created_at >= coalesce(since, '-infinity')
	  AND (remote IS NULL OR s.provider = remote OR s.remote_mx = remote OR right(s.remote_mx, length(remote) + 1) = '.' || remote
	       OR right(s.recipient, length(remote) + 1) = '@' || remote)
$$;

-- Undoes them, and returns them.
CREATE FUNCTION waybill.revert_suppressions(of_customer text, by_rule text, since timestamptz, remote text)
RETURNS SETOF waybill.suppressions LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
	DELETE FROM waybill.suppressions s USING waybill.caused_suppressions(of_customer, by_rule, since, remote) c
	WHERE s.customer = c.customer AND s.recipient = c.recipient RETURNING s.*
$$;

-- Forgets what is older than its customer's retention: days that nobody keeps are dropped as partitions, what is left
-- is deleted customer by customer, at most 10,000 rows of each a call. Returns how many rows and days went.
CREATE FUNCTION waybill.prune_events(now timestamptz DEFAULT now(), OUT days integer, OUT events bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	longest integer;
	part text;
	c record;
	gone bigint;
BEGIN
	days := 0;
	events := 0;
	SELECT max(retention_days) INTO longest FROM waybill.policies;
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
	DELETE FROM waybill.outcomes o WHERE o.minute < now - interval '2 days';
	DELETE FROM waybill.soft_failures s WHERE s.failed_at < now - interval '400 days';
	DELETE FROM waybill.rollups r WHERE r.hour < now - interval '400 days';
END $$;

-- Takes an address out of what is stored, whoever's mail it was: the events stay, without it. Suppressions that the
-- recipient asked for (complaint, unsubscribe) stay unless ALL, because without them the mail would begin again.
CREATE FUNCTION waybill.erase_address(address text, everything boolean, OUT events bigint, OUT suppressions bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	customers text[] := ARRAY(SELECT customer FROM waybill.event_seq);
	gone text := 'erased@invalid';
BEGIN
	UPDATE waybill.events e SET
		recipient = CASE WHEN e.recipient = address THEN gone ELSE e.recipient END,
		recipient_domain = CASE WHEN e.recipient = address THEN 'invalid' ELSE e.recipient_domain END,
		orig_recipient = CASE WHEN e.orig_recipient = address THEN gone ELSE e.orig_recipient END,
		sender = CASE WHEN e.sender = address THEN gone ELSE e.sender END,
		response = replace(e.response, address, gone), reason = replace(e.reason, address, gone),
		detail = replace(e.detail::text, address, gone)::jsonb
	WHERE e.customer = ANY (customers) AND (e.recipient = address OR e.orig_recipient = address OR e.sender = address);
	GET DIAGNOSTICS events = ROW_COUNT;
	DELETE FROM waybill.soft_failures s WHERE s.recipient = address;
	DELETE FROM waybill.suppressions s WHERE s.recipient = address
		AND (everything OR s.reason NOT IN ('complaint', 'unsubscribe'));
	GET DIAGNOSTICS suppressions = ROW_COUNT;
	-- The events that tell of it.
	UPDATE waybill.events e SET recipient = gone, recipient_domain = 'invalid'
	WHERE e.customer = ANY (customers) AND e.recipient = address;
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

-- Who of the staff sees which customers. waybill_support itself sees all; a role that is a member of it and has no row
-- here sees none.
CREATE TABLE waybill.staff (
	role      name PRIMARY KEY,
	customers text[] NOT NULL                       -- {*}: all
);

CREATE FUNCTION waybill.my_customers() RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce((SELECT s.customers FROM waybill.staff s WHERE s.role = session_user), '{}')
$$;
CREATE FUNCTION waybill.sees_all() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT session_user = 'waybill_support' OR coalesce((SELECT s.customers @> '{*}' FROM waybill.staff s WHERE s.role = session_user), false)
$$;

CREATE VIEW support.bounces_by_provider AS
	SELECT customer, hour, nullif(provider, '') AS provider, category, class, sum(events)::bigint AS bounces
	FROM waybill.rollups WHERE type = 'message.bounced' GROUP BY 1, 2, 3, 4, 5;
CREATE VIEW support.rollups AS
	SELECT customer, hour, nullif(provider, '') AS provider, type, nullif(category, '') AS category, nullif(class, '') AS class, events
	FROM waybill.rollups;
CREATE VIEW support.brakes AS
	SELECT provider, since, frozen_until, final, hard, spared FROM waybill.brakes;
CREATE OR REPLACE VIEW support.suppressions WITH (security_barrier = true) AS
	SELECT customer, recipient, reason, event_id, note, created_at, expires_at,
	       coalesce(expires_at > now(), true) AS in_force, rule, provider, remote_mx
	FROM waybill.suppressions;
CREATE VIEW support.accounting AS
	SELECT customer, hour, file, events, first_seq, last_seq, sha256, written_at FROM waybill.accounting_files;

-- The last events of a customer, a page at a time: BEFORE and BEFORE_ID are time and id of the last one on the page before.
-- WHAT is a recipient's address, its domain ("@example.net"), a Message-ID or a queue id; NULL: all.
CREATE FUNCTION support.message_search(customer text, what text DEFAULT NULL, page integer DEFAULT 50,
                                       before timestamptz DEFAULT 'infinity', before_id text DEFAULT '')
RETURNS SETOF support.events LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
	wanted text := btrim(what, '<>');
BEGIN
	IF what IS NULL THEN
		RETURN QUERY SELECT e.* FROM support.events e
			WHERE e.customer = message_search.customer AND (e.occurred_at, e.event_id) < (before, before_id)
			ORDER BY e.occurred_at DESC, e.event_id DESC LIMIT least(page, 1000);
	ELSIF what LIKE '@%' THEN
		RETURN QUERY SELECT e.* FROM support.events e
			WHERE e.customer = message_search.customer AND (e.occurred_at, e.event_id) < (before, before_id)
			  AND right(e.recipient, length(what)) = lower(what)
			ORDER BY e.occurred_at DESC, e.event_id DESC LIMIT least(page, 1000);
	ELSE
		RETURN QUERY SELECT e.* FROM support.events e
			WHERE e.customer = message_search.customer AND (e.occurred_at, e.event_id) < (before, before_id)
			  AND (e.customer = message_search.customer AND e.recipient = wanted OR e.message_id = wanted OR e.queue_id = wanted)
			ORDER BY e.occurred_at DESC, e.event_id DESC LIMIT least(page, 1000);
	END IF;
END $$;

-- A sender has no index, so it is not asked for: search by customer instead.
CREATE OR REPLACE FUNCTION support.timeline(what text) RETURNS SETOF support.events LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN QUERY SELECT * FROM (
		SELECT e.* FROM support.events e WHERE e.queue_id = what OR e.message_id = btrim(what, '<>')
		UNION
		SELECT e.* FROM support.events e
		WHERE what LIKE '%@%' AND e.customer = ANY (ARRAY(SELECT c.customer FROM support.customers c) || '-'::text)
		  AND e.recipient = what
	) AS found ORDER BY occurred_at, seq;
END $$;

-- Every view of SUPPORT asks with the rights of who asks (row-level security is barrier enough: a barrier of the view would
-- hide its order from the planner), and those who ask may read just the columns that the views
-- show. A later migration that adds a view calls this again.
CREATE FUNCTION waybill.open_views() RETURNS void LANGUAGE plpgsql SET client_min_messages = warning AS $$
DECLARE
	v record;
BEGIN
	FOR v IN SELECT c.relname FROM pg_class c WHERE c.relkind = 'v' AND c.relnamespace = 'support'::regnamespace LOOP
		EXECUTE format('ALTER VIEW support.%I SET (security_invoker = true, security_barrier = false)', v.relname);
		EXECUTE format('GRANT SELECT ON support.%I TO waybill_support, waybill_admin', v.relname);
	END LOOP;
	FOR v IN SELECT DISTINCT table_name, column_name FROM information_schema.view_column_usage
	         WHERE view_schema = 'support' AND table_schema = 'waybill' LOOP
		EXECUTE format('GRANT SELECT (%I) ON waybill.%I TO waybill_support', v.column_name, v.table_name);
	END LOOP;
	-- Daemons see what their grants say. Staff see their customers' rows; rows of no customer are for those who see all.
	FOR v IN SELECT DISTINCT u.table_name,
	                EXISTS (SELECT FROM information_schema.columns k WHERE k.table_schema = 'waybill'
	                        AND k.table_name = u.table_name AND k.column_name = 'customer') AS has_customer
	         FROM information_schema.view_column_usage u WHERE u.view_schema = 'support' AND u.table_schema = 'waybill' LOOP
		EXECUTE format('ALTER TABLE waybill.%I ENABLE ROW LEVEL SECURITY', v.table_name);
		EXECUTE format('DROP POLICY IF EXISTS daemons ON waybill.%I', v.table_name);
		EXECUTE format('DROP POLICY IF EXISTS staff ON waybill.%I', v.table_name);
		EXECUTE format('CREATE POLICY daemons ON waybill.%I TO waybill_admin, waybill_follow, waybill_bouncer, waybill_report, '
		               'waybill_webhookd, waybill_dovecot USING (true) WITH CHECK (true)', v.table_name);
		EXECUTE format('CREATE POLICY staff ON waybill.%I FOR SELECT TO waybill_support USING ((SELECT waybill.sees_all())%s)',
		               v.table_name, CASE WHEN v.has_customer THEN ' OR customer = ANY ((SELECT waybill.my_customers())::text[])' ELSE '' END);
	END LOOP;
END $$;
-- Rows that belong to a customer by another table: a right by its login, a key and a finding by their domain.
SELECT waybill.open_views();
DO $$
DECLARE
	t record;
BEGIN
	FOR t IN SELECT * FROM (VALUES ('rights', 'login', 'logins'), ('dkim_keys', 'domain', 'domains'), ('domain_checks', 'domain', 'domains'))
	         AS v (name, key, parent) LOOP
		EXECUTE format('DROP POLICY IF EXISTS staff ON waybill.%I', t.name);
		EXECUTE format('CREATE POLICY staff ON waybill.%1$I FOR SELECT TO waybill_support USING ((SELECT waybill.sees_all()) OR '
		               'EXISTS (SELECT FROM waybill.%3$I p WHERE p.%2$I = %1$I.%2$I))', t.name, t.key, t.parent);
	END LOOP;
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA waybill FROM PUBLIC;
GRANT USAGE ON SCHEMA waybill TO waybill_support;
GRANT EXECUTE ON FUNCTION waybill.my_customers, waybill.sees_all TO waybill_support, waybill_admin;
GRANT EXECUTE ON FUNCTION waybill.prune_events TO waybill_bouncer, waybill_admin;
GRANT EXECUTE ON FUNCTION waybill.caused_suppressions, waybill.revert_suppressions, waybill.erase_address, waybill.policy_of TO waybill_admin;
GRANT EXECUTE ON FUNCTION support.message_search, support.timeline TO waybill_support, waybill_admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON waybill.policies, waybill.brake_policy, waybill.brakes, waybill.outcomes,
	waybill.soft_failures, waybill.rollups, waybill.accounting_files, waybill.staff TO waybill_admin;
