-- Support's questions in time, however many days are kept; dead domains for the whole relay.

-- To plan a question over every day's partition takes longer than to answer it. So each question is a statement of its own
-- with one plan for all its uses (force_generic_plan), which skips the days out of its bounds when it begins. A page is
-- looked for in the latest days first, in windows that grow until it is full.

-- By recipient alone: the same index answers for one customer and for all of them, and has few other rows to skip.
DROP INDEX waybill.events_customer_recipient_occurred_at_idx;
CREATE INDEX ON waybill.events (recipient, occurred_at);

-- The last events of a customer, a page at a time: BEFORE and BEFORE_ID are time and id of the last one on the page before.
-- WHAT is a recipient's address, its domain ("@example.net"), a Message-ID or a queue id; NULL: all. Where WHAT has an index,
-- the customer is written so that its own cannot be taken: for a small customer the planner would, and one plan serves all.
CREATE OR REPLACE FUNCTION support.message_search(customer text, what text DEFAULT NULL, page integer DEFAULT 50,
                                                  before timestamptz DEFAULT 'infinity', before_id text DEFAULT '')
RETURNS SETOF support.events LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
	wanted text := btrim(what, '<>');
	page_left integer := least(page, 1000);
	-- An address or an id is looked up, not walked to: all days at once.
	spans interval[] := CASE WHEN what IS NULL OR what LIKE '@%' THEN '{1 day,3 days,7 days,15 days}'::interval[] ELSE '{}' END;
	since timestamptz;
	got integer;
BEGIN
	FOR round IN 1 .. cardinality(spans) + 1 LOOP
		since := coalesce(least(before, now()) - spans[round], '-infinity');
		IF what IS NULL THEN
			RETURN QUERY SELECT e.* FROM support.events e
				WHERE e.customer = message_search.customer AND e.occurred_at BETWEEN since AND before
				  AND (e.occurred_at, e.event_id) < (before, before_id)
				ORDER BY e.occurred_at DESC, e.event_id DESC LIMIT page_left;
		ELSIF what LIKE '@%' THEN
			RETURN QUERY SELECT e.* FROM support.events e
				WHERE e.customer = message_search.customer AND e.occurred_at BETWEEN since AND before
				  AND (e.occurred_at, e.event_id) < (before, before_id) AND right(e.recipient, length(what)) = lower(what)
				ORDER BY e.occurred_at DESC, e.event_id DESC LIMIT page_left;
		ELSE
			RETURN QUERY SELECT e.* FROM support.events e
				WHERE e.customer || '' = message_search.customer AND e.recipient = wanted AND e.occurred_at <= before
				  AND (e.occurred_at, e.event_id) < (before, before_id)
				ORDER BY e.occurred_at DESC, e.event_id DESC LIMIT page_left;
			IF NOT FOUND THEN
				RETURN QUERY SELECT e.* FROM support.events e
					WHERE e.customer || '' = message_search.customer AND e.message_id = wanted
					  AND (e.occurred_at, e.event_id) < (before, before_id)
					ORDER BY e.occurred_at DESC, e.event_id DESC LIMIT page_left;
			END IF;
			IF NOT FOUND THEN
				RETURN QUERY SELECT e.* FROM support.events e
					WHERE e.customer || '' = message_search.customer AND e.queue_id = wanted
					  AND (e.occurred_at, e.event_id) < (before, before_id)
					ORDER BY e.occurred_at DESC, e.event_id DESC LIMIT page_left;
			END IF;
		END IF;
		GET DIAGNOSTICS got = ROW_COUNT;
		page_left := page_left - got;
		EXIT WHEN page_left <= 0;
		before := since;
		before_id := '';
	END LOOP;
END $$;

-- The life of a message by its queue id or Message-ID, or all mail to an address. A sender has no index: search by customer.
CREATE OR REPLACE FUNCTION support.timeline(what text) RETURNS SETOF support.events
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
DECLARE
	wanted text := btrim(what, '<>');
BEGIN
	IF what NOT LIKE '%@%' THEN
		RETURN QUERY SELECT e.* FROM support.events e WHERE e.queue_id = wanted ORDER BY e.occurred_at, e.seq;
		IF FOUND THEN
			RETURN;
		END IF;
	ELSIF what NOT LIKE '<%' THEN
		RETURN QUERY SELECT e.* FROM support.events e WHERE e.recipient = wanted ORDER BY e.occurred_at, e.seq;
		IF FOUND THEN
			RETURN;
		END IF;
	END IF;
	RETURN QUERY SELECT e.* FROM support.events e WHERE e.message_id = wanted ORDER BY e.occurred_at, e.seq;
END $$;

-- A domain that does not exist, or takes no mail (null MX, RFC 7505), does so for every customer. Where the relay wants it,
-- such a domain is refused for all of them, for a time.
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
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON waybill.dead_domains
	FOR EACH ROW WHEN (session_user NOT IN ('waybill_bouncer', 'waybill_report'))
	EXECUTE FUNCTION waybill.keep_audit('dead domain', 'domain');

CREATE TRIGGER audit AFTER UPDATE ON waybill.dead_domain_policy
	FOR EACH ROW WHEN (session_user NOT IN ('waybill_bouncer', 'waybill_report'))
	EXECUTE FUNCTION waybill.keep_audit('dead domain policy');
CREATE TRIGGER audit AFTER UPDATE ON waybill.brake_policy FOR EACH ROW EXECUTE FUNCTION waybill.keep_audit('brake policy');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON waybill.policies
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_audit('policy', 'customer');

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

-- What follows from events that were just stored: of their recipients, then of their domains.
ALTER FUNCTION waybill.judge(waybill.events[]) RENAME TO judge_recipients;
CREATE FUNCTION waybill.judge(stored waybill.events[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM waybill.judge_recipients(stored);
	PERFORM waybill.judge_domains(stored);
END $$;

CREATE VIEW support.dead_domains AS
	SELECT domain, reason, expires_at > now() AS in_force, created_at, expires_at, customers, messages, event_id, rule, note
	FROM waybill.dead_domains;

-- open_views() gives each table the policy of its kind; rows that belong to a customer by another table have one of their
-- own, which it must not take away.
ALTER FUNCTION waybill.open_views() RENAME TO open_plain_views;
CREATE FUNCTION waybill.open_views() RETURNS void LANGUAGE plpgsql SET client_min_messages = warning AS $$
DECLARE
	t record;
BEGIN
	PERFORM waybill.open_plain_views();
	FOR t IN SELECT * FROM (VALUES ('rights', 'login', 'logins'), ('dkim_keys', 'domain', 'domains'), ('domain_checks', 'domain', 'domains'))
	         AS v (name, key, parent) LOOP
		EXECUTE format('DROP POLICY IF EXISTS staff ON waybill.%I', t.name);
		EXECUTE format('CREATE POLICY staff ON waybill.%1$I FOR SELECT TO waybill_support USING ((SELECT waybill.sees_all()) OR '
		               'EXISTS (SELECT FROM waybill.%3$I p WHERE p.%2$I = %1$I.%2$I))', t.name, t.key, t.parent);
	END LOOP;
END $$;
SELECT waybill.open_views();

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA waybill FROM PUBLIC;
GRANT SELECT ON waybill.dead_domains TO waybill_follow;
GRANT SELECT, INSERT, UPDATE, DELETE ON waybill.dead_domains, waybill.dead_domain_policy, waybill.domain_failures TO waybill_admin;
