-- What follows from events: suppressions, the brake that stops them, hourly counts, and domains that are dead for the whole
-- relay.

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
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON waybill.policies
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_audit('policy', 'customer');

-- The policy that holds for a customer.
CREATE FUNCTION waybill.policy_of(customer text) RETURNS waybill.policies
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT p FROM waybill.policies p WHERE p.customer IN (policy_of.customer, '') ORDER BY p.customer DESC LIMIT 1
$$;

-- Events by the hour.
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


-- The brake. When too many recipients of one provider are suddenly unknown, the provider has a fault: nobody is suppressed
-- for it.

CREATE TABLE waybill.brake_policy (
	only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
	percent  integer NOT NULL DEFAULT 30 CHECK (percent BETWEEN 1 AND 100),
	minutes  integer NOT NULL DEFAULT 10 CHECK (minutes BETWEEN 1 AND 1440),
	least    integer NOT NULL DEFAULT 50 CHECK (least > 0), -- final outcomes; fewer say nothing
	hold     interval NOT NULL DEFAULT '1 hour'     -- after the last excess
);
INSERT INTO waybill.brake_policy DEFAULT VALUES;
CREATE TRIGGER audit AFTER UPDATE ON waybill.brake_policy FOR EACH ROW EXECUTE FUNCTION waybill.keep_audit('brake policy');

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


-- Recipients.

-- One row a message whose final outcome was a soft failure about the recipient.
CREATE TABLE waybill.soft_failures (
	customer  text NOT NULL,
	recipient text NOT NULL,
	host      text NOT NULL,
	queue_id  text NOT NULL,
	failed_at timestamptz NOT NULL,
	-- By a mail that came back, after the log had told of a delivery: so a delivery is no word against such a failure, and
	-- only time forgets it.
	async     boolean NOT NULL DEFAULT false,
	PRIMARY KEY (customer, recipient, host, queue_id)
);
CREATE INDEX ON waybill.soft_failures (failed_at);

-- What a final failure means; the same as bounce_consequence() in common/bounce.h.
CREATE FUNCTION waybill.consequence(class text, category text, scope text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE
		WHEN scope IS NULL OR scope NOT IN ('recipient', 'recipient_domain') THEN 'none'
		WHEN class = 'hard' AND category IN ('bad-mailbox', 'mailbox-moved', 'bad-domain') THEN 'permanent'
		WHEN class = 'hard' AND category = 'inactive-mailbox' THEN 'temporary'
		WHEN scope = 'recipient' AND class IS NOT NULL THEN 'count'
		ELSE 'none' END
$$;

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

-- What follows from events that were just stored, of their recipients: counts of outcomes, reset by deliveries, then each
-- bounce and complaint in its order.
CREATE FUNCTION waybill.judge_recipients(customers text[], told waybill.told_event[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	whose text[];
	times timestamptz[];
	ids text[];
	first timestamptz;
	last timestamptz;
	e waybill.events;
	word text;
	judged waybill.events[] := '{}';
BEGIN
	WITH v AS MATERIALIZED (
		SELECT i.customer, i.occurred_at, i.type, i.provider, i.recipient, i.recipient_domain, i.event_id, i.bounce_class AS class,
		       i.bounce_category AS category, i.bounce_scope AS scope
		FROM ROWS FROM (unnest(customers), unnest(told)) AS i (customer)
	), rolled AS (
		INSERT INTO waybill.rollups AS r (customer, hour, provider, type, category, class, events)
		SELECT v.customer, date_bin('1 hour', v.occurred_at, 'epoch'), coalesce(v.provider, ''), v.type, coalesce(v.category, ''),
		       coalesce(v.class, ''), count(*)
		FROM v GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
		ON CONFLICT (customer, hour, provider, type, category, class) DO UPDATE SET events = r.events + excluded.events
	), counted AS (
		INSERT INTO waybill.outcomes AS o (provider, minute, final, hard)
		SELECT coalesce(v.provider, v.recipient_domain, ''), date_bin('1 minute', v.occurred_at, 'epoch'), count(*),
		       count(*) FILTER (WHERE waybill.consequence(v.class, v.category, v.scope) IN ('permanent', 'temporary'))
		FROM v WHERE v.type IN ('message.delivered', 'message.bounced')
		GROUP BY 1, 2 ORDER BY 1, 2
		ON CONFLICT (provider, minute) DO UPDATE SET final = o.final + excluded.final, hard = o.hard + excluded.hard
	), reset AS (
		DELETE FROM waybill.soft_failures s USING v
		WHERE v.type = 'message.delivered' AND s.customer = v.customer AND s.recipient = v.recipient
		  AND s.failed_at <= v.occurred_at AND NOT s.async
	)
	-- A delivery between two failures of one batch counts where it stands.
	SELECT array_agg(v.customer), array_agg(v.occurred_at), array_agg(v.event_id), min(v.occurred_at), max(v.occurred_at)
	INTO whose, times, ids, first, last FROM v
	WHERE v.customer <> '-' AND v.type IN ('message.bounced', 'message.complained', 'message.delivered')
	  AND (v.customer, v.recipient) IN (SELECT f.customer, f.recipient FROM v AS f
	                                    WHERE f.type IN ('message.bounced', 'message.complained'));
	-- FIRST and LAST let Postgres leave the other days alone.
	FOR e IN
		SELECT v.* FROM unnest(whose, times, ids) AS f (customer, occurred_at, event_id)
		JOIN waybill.events v USING (customer, occurred_at, event_id)
		WHERE v.occurred_at BETWEEN first AND last
		ORDER BY v.customer, v.recipient, v.occurred_at, v.seq
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
		e.suppression := word;
		SELECT s.expires_at INTO e.suppression_expires FROM waybill.suppressions s
		WHERE word <> 'frozen' AND s.customer = e.customer AND s.recipient = e.recipient;
		judged := judged || e;
	END LOOP;
	UPDATE waybill.events v SET suppression = j.suppression, suppression_expires = j.suppression_expires
	FROM unnest(judged) AS j
	WHERE v.customer = j.customer AND v.occurred_at = j.occurred_at AND v.event_id = j.event_id
	  AND v.occurred_at BETWEEN first AND last;
END $$;

-- A suppression that has ended is none: to enter it again is to create it, and to take away what is left of it is no news.
-- A customer that goes away is told nothing.
CREATE FUNCTION waybill.tell_suppression() RETURNS trigger
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
CREATE TRIGGER tell AFTER INSERT ON waybill.suppressions FOR EACH ROW EXECUTE FUNCTION waybill.tell_suppression();
CREATE TRIGGER tell_again AFTER UPDATE ON waybill.suppressions FOR EACH ROW
	WHEN (OLD.expires_at <= now() AND coalesce(NEW.expires_at > now(), true)) EXECUTE FUNCTION waybill.tell_suppression();
CREATE TRIGGER tell_end AFTER DELETE ON waybill.suppressions FOR EACH ROW
	WHEN (coalesce(OLD.expires_at > now(), true)) EXECUTE FUNCTION waybill.tell_suppression();

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


-- Domains. One that does not exist, or takes no mail (null MX, RFC 7505), does so for every customer. Where the relay wants
-- it, such a domain is refused for all of them, for a time.

CREATE TABLE waybill.dead_domain_policy (
	only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
	enabled   boolean NOT NULL DEFAULT false,
	customers integer NOT NULL DEFAULT 2 CHECK (customers BETWEEN 1 AND 1000), -- whose mail failed; or
	messages  integer NOT NULL DEFAULT 5 CHECK (messages BETWEEN 1 AND 1000),  -- so many messages, whosesoever
	within    interval NOT NULL DEFAULT '7 days' CHECK (within BETWEEN '1 minute' AND '30 days'),
	apart     interval NOT NULL DEFAULT '1 hour' CHECK (apart BETWEEN '0' AND '7 days'), -- between the first and the last
	keep      interval NOT NULL DEFAULT '7 days' CHECK (keep BETWEEN '1 minute' AND '30 days'),
	most      integer NOT NULL DEFAULT 50 CHECK (most > 0), -- new ones an hour: more, and our own resolver has the fault
	frozen_until timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO waybill.dead_domain_policy DEFAULT VALUES;
CREATE TRIGGER audit AFTER UPDATE ON waybill.dead_domain_policy
	FOR EACH ROW WHEN (session_user NOT IN ('waybill_bouncer', 'waybill_report'))
	EXECUTE FUNCTION waybill.keep_audit('dead domain policy');

-- One row a message that failed because of its domain, by the word of our own resolver.
CREATE TABLE waybill.domain_failures (
	domain    text NOT NULL,
	customer  text NOT NULL,
	host      text NOT NULL,
	queue_id  text NOT NULL,
	failed_at timestamptz NOT NULL,
	PRIMARY KEY (domain, customer, host, queue_id)
);

CREATE TABLE waybill.dead_domains (
	domain     text PRIMARY KEY,                    -- A-labels in lower case
	reason     text NOT NULL CHECK (reason IN ('dead-domain', 'manual')),
	customers  integer NOT NULL DEFAULT 0,          -- whose messages failed when it was found
	messages   integer NOT NULL DEFAULT 0,
	event_id   text,                                -- the last of them
	rule       text,
	note       text NOT NULL DEFAULT '',
	created_at timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz NOT NULL
);
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON waybill.dead_domains
	FOR EACH ROW WHEN (session_user NOT IN ('waybill_bouncer', 'waybill_report'))
	EXECUTE FUNCTION waybill.keep_audit('dead domain', 'domain');

-- In the directory it stands among the suppressions, of "*" instead of a customer.
CREATE FUNCTION waybill.keep_dead_domain() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	d waybill.dead_domains := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
	INSERT INTO waybill.changes (kind, key) VALUES ('suppression', '* ' || d.domain);
	-- One that had ended begins anew.
	IF (CASE WHEN TG_OP = 'UPDATE' THEN OLD.expires_at <= now() AND NEW.expires_at > now() ELSE true END) THEN
		PERFORM waybill.tell('-', CASE WHEN TG_OP = 'DELETE' THEN 'suppression.deleted' ELSE 'suppression.created' END, NULL,
		                     jsonb_build_object('domain', d.domain, 'reason', d.reason, 'event_id', d.event_id, 'rule', d.rule,
		                                        'note', d.note, 'expires_at', d.expires_at, 'customers', d.customers,
		                                        'messages', d.messages,
		                                        'by', coalesce(nullif(current_setting('waybill.who', true), ''), session_user)));
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER change AFTER INSERT OR UPDATE OR DELETE ON waybill.dead_domains
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_dead_domain();

-- Switched off, nothing of it holds any longer but what a person entered.
CREATE FUNCTION waybill.forget_dead_domains() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM waybill.domain_failures;
	DELETE FROM waybill.dead_domains WHERE reason = 'dead-domain';
	RETURN NULL;
END $$;
CREATE TRIGGER off AFTER UPDATE ON waybill.dead_domain_policy
	FOR EACH ROW WHEN (OLD.enabled AND NOT NEW.enabled) EXECUTE FUNCTION waybill.forget_dead_domains();

-- Is there room for one more this hour? Says so once when there is not.
CREATE FUNCTION waybill.may_bury(policy waybill.dead_domain_policy) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	fresh bigint;
BEGIN
	IF policy.frozen_until > now() THEN
		RETURN false;
	END IF;
	SELECT count(*) INTO fresh FROM waybill.dead_domains d WHERE d.reason = 'dead-domain' AND d.created_at > now() - interval '1 hour';
	IF fresh < policy.most THEN
		RETURN true;
	END IF;
	UPDATE waybill.dead_domain_policy SET frozen_until = now() + interval '1 hour';
	PERFORM waybill.tell('-', 'suppression.frozen', NULL, jsonb_build_object('domains', fresh, 'minutes', 60));
	RAISE WARNING 'no more domains are taken for dead: % in an hour; look at the resolver of this relay', fresh;
	RETURN false;
END $$;

-- What events that were just stored say of their domains. A delivery proves that a domain lives. Only failures without a
-- remote's word count: what a server says of itself is no proof, and our resolver's answer is.
CREATE FUNCTION waybill.judge_domains(stored waybill.events[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	policy waybill.dead_domain_policy;
	found record;
BEGIN
	SELECT * INTO policy FROM waybill.dead_domain_policy;
	IF NOT policy.enabled THEN
		RETURN;
	END IF;
	DELETE FROM waybill.dead_domains d WHERE d.expires_at <= now();
	DELETE FROM waybill.domain_failures f WHERE f.failed_at < now() - policy.within - policy.keep;
	WITH alive AS (
		SELECT v.recipient_domain AS domain, max(v.occurred_at) AS at FROM unnest(stored) AS v
		WHERE v.type = 'message.delivered' GROUP BY 1
	), innocent AS (
		DELETE FROM waybill.domain_failures f USING alive a WHERE f.domain = a.domain AND f.failed_at <= a.at
	)
	DELETE FROM waybill.dead_domains d USING alive a
	WHERE d.domain = a.domain AND d.reason = 'dead-domain' AND d.created_at <= a.at;
	FOR found IN
		WITH failed AS (
			SELECT v.* FROM unnest(stored) AS v
			WHERE v.type = 'message.bounced' AND v.bounce_class = 'hard' AND v.bounce_category = 'bad-domain'
			  AND v.bounce_scope = 'recipient_domain' AND coalesce(v.response, '') = '' AND v.smtp_code IS NULL
			  AND v.remote_mx IS NULL AND NOT coalesce(v.bounce_async, false) AND v.customer <> '-' AND v.recipient_domain <> ''
		), counted AS (
			INSERT INTO waybill.domain_failures (domain, customer, host, queue_id, failed_at)
			SELECT DISTINCT ON (1, 2, 3, 4) f.recipient_domain, f.customer, f.host, f.queue_id, f.occurred_at
			FROM failed f ORDER BY 1, 2, 3, 4
			ON CONFLICT DO NOTHING RETURNING *
		), evidence AS (
			SELECT * FROM counted UNION ALL
			SELECT f.* FROM waybill.domain_failures f WHERE f.domain IN (SELECT c.domain FROM counted c)
		)
		SELECT e.domain, count(DISTINCT e.customer) AS customers, count(*) AS messages, max(e.failed_at) AS last,
		       (SELECT f.event_id FROM failed f WHERE f.recipient_domain = e.domain ORDER BY f.occurred_at DESC LIMIT 1) AS event_id,
		       (SELECT f.bounce_rule FROM failed f WHERE f.recipient_domain = e.domain ORDER BY f.occurred_at DESC LIMIT 1) AS rule
		FROM evidence e
		WHERE e.failed_at > (SELECT max(l.failed_at) FROM evidence l WHERE l.domain = e.domain) - policy.within
		GROUP BY e.domain
		HAVING (count(DISTINCT e.customer) >= policy.customers OR count(*) >= policy.messages)
		   AND max(e.failed_at) - min(e.failed_at) >= policy.apart AND max(e.failed_at) + policy.keep > now()
		ORDER BY e.domain
	LOOP
		IF EXISTS (SELECT FROM waybill.dead_domains d WHERE d.domain = found.domain) THEN
			UPDATE waybill.dead_domains d SET expires_at = greatest(d.expires_at, found.last + policy.keep)
			WHERE d.domain = found.domain AND d.reason = 'dead-domain';
		ELSIF waybill.may_bury(policy) THEN
			INSERT INTO waybill.dead_domains (domain, reason, customers, messages, event_id, rule, expires_at)
			VALUES (found.domain, 'dead-domain', found.customers, found.messages, found.event_id, found.rule, found.last + policy.keep)
			ON CONFLICT DO NOTHING;
		END IF;
	END LOOP;
END $$;


-- What follows from events that were just stored: of their recipients, then of their domains, where the relay looks at those.
-- TOLD are the events, CUSTOMERS whose each of them is.
CREATE FUNCTION waybill.judge(customers text[], told waybill.told_event[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM waybill.judge_recipients(customers, told);
	IF EXISTS (SELECT FROM waybill.dead_domain_policy p WHERE p.enabled) THEN
		PERFORM waybill.judge_domains(ARRAY(
			SELECT v FROM ROWS FROM (unnest(customers), unnest(told)) AS i (customer)
			JOIN waybill.events v USING (customer, occurred_at, event_id)
			WHERE i.type IN ('message.delivered', 'message.bounced')
			  AND v.occurred_at BETWEEN (SELECT min(t.occurred_at) FROM unnest(told) AS t)
			                        AND (SELECT max(t.occurred_at) FROM unnest(told) AS t)));
	END IF;
END $$;


REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA waybill FROM PUBLIC;
GRANT SELECT ON waybill.dead_domains TO waybill_follow;
