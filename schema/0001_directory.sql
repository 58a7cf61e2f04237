-- The directory: customers and what they own, and who may read what. The truth behind every node's snapshot.

CREATE SCHEMA waybill;   -- private: tables and functions
CREATE SCHEMA support;   -- stable views for people
CREATE SCHEMA auth;      -- what Dovecot reads

-- One role per program, with the least grants. They may log in, by peer authentication or a password that the sysadmin
-- sets. Roles belong to the whole server: another database's migration may have made them already.
DO $$
DECLARE
	role text;
BEGIN
	FOREACH role IN ARRAY ARRAY['waybill_admin', 'waybill_follow', 'waybill_bouncer', 'waybill_report', 'waybill_webhookd',
	                            'waybill_notices', 'waybill_dovecot', 'waybill_support'] LOOP
		IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
			EXECUTE format('CREATE ROLE %I LOGIN', role);
		END IF;
	END LOOP;
END $$;

GRANT USAGE ON SCHEMA waybill TO waybill_admin, waybill_follow, waybill_bouncer, waybill_report, waybill_webhookd,
	waybill_notices, waybill_support;
GRANT USAGE ON SCHEMA support TO waybill_admin, waybill_support;
GRANT USAGE ON SCHEMA auth TO waybill_admin, waybill_dovecot;
-- Whatever is created from here on is the admin's to use. What other roles may do stands at the end of each file.
ALTER DEFAULT PRIVILEGES IN SCHEMA waybill GRANT ALL ON TABLES TO waybill_admin;
ALTER DEFAULT PRIVILEGES IN SCHEMA waybill GRANT ALL ON SEQUENCES TO waybill_admin;
ALTER DEFAULT PRIVILEGES IN SCHEMA waybill GRANT EXECUTE ON FUNCTIONS TO waybill_admin;
ALTER DEFAULT PRIVILEGES IN SCHEMA support GRANT SELECT ON TABLES TO waybill_admin, waybill_support;
ALTER DEFAULT PRIVILEGES IN SCHEMA auth GRANT SELECT ON TABLES TO waybill_admin, waybill_dovecot;


-- Customers and what they own.

CREATE TABLE waybill.customers (
	customer      text PRIMARY KEY CHECK (customer ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
	title         text NOT NULL DEFAULT '',
	plan          text NOT NULL DEFAULT '',
	contact       text NOT NULL DEFAULT '',         -- mail address; empty: none
	status        text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
	status_reason text NOT NULL DEFAULT '',
	status_until  timestamptz,                      -- NULL: until resumed
	time_zone     text NOT NULL DEFAULT 'UTC',
	max_recipients integer NOT NULL DEFAULT 0 CHECK (max_recipients >= 0),   -- of one message; 0: as many as Postfix takes
	header_from   text NOT NULL DEFAULT 'enforce' CHECK (header_from IN ('off', 'log', 'enforce')),
	return_path   boolean NOT NULL DEFAULT false,   -- envelope sender b+TOKEN@HOST: common/return_path.h
	list_unsubscribe text NOT NULL DEFAULT ''       -- URL template; length: its line in a header field
	              CHECK (list_unsubscribe ~ '^(https://[!-;=?-~]+)?$' AND length(list_unsubscribe) <= 508),
	takeover      text NOT NULL DEFAULT 'alert'     -- common/takeover.h
	              CHECK (takeover IN ('off', 'alert', 'hold', 'suspend')),
	transport     text NOT NULL DEFAULT ''          -- Postfix's "transport:nexthop" (transport(5)); empty: as all mail.
	                                                -- One word: it stands in a netstring and in master.cf
	              CHECK (transport ~ '^([A-Za-z0-9._-]+:[!-~]*)?$' AND length(transport) <= 255),
	created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE waybill.logins (
	login          text PRIMARY KEY CHECK (login = lower(login) AND login ~ '^[!-~]{1,255}$'),
	customer       text NOT NULL REFERENCES waybill.customers ON DELETE CASCADE,
	label          text NOT NULL DEFAULT '',
	password_hash  text NOT NULL,                   -- crypt(3) form, as Dovecot reads it behind {CRYPT}
	previous_hash  text,                            -- valid until previous_until, while a password rotates
	previous_until timestamptz,
	enabled        boolean NOT NULL DEFAULT true,
	expires_at     timestamptz,
	networks       cidr[] NOT NULL DEFAULT '{}',    -- empty: from anywhere
	destinations   text[] NOT NULL DEFAULT '{}' CHECK (array_position(destinations, NULL) IS NULL),
	                                                -- whom it may write to, as rights are written; empty: anybody
	suspended_at   timestamptz,                     -- by the takeover guard; NULL: it is not
	suspended_reason text NOT NULL DEFAULT '',
	guard_since    timestamptz,                     -- what the guard counted before is forgotten
	created_at     timestamptz NOT NULL DEFAULT now(),
	last_used_at   timestamptz
);
CREATE INDEX ON waybill.logins (customer);

CREATE TABLE waybill.rights (
	login   text NOT NULL REFERENCES waybill.logins ON DELETE CASCADE,
	allow   boolean NOT NULL,
	pattern text NOT NULL,                          -- grammar: common/rights.h
	PRIMARY KEY (login, pattern)
);
-- The domain of a right's pattern; of "@.example.com" that of the parent; NULL for those that name none.
CREATE FUNCTION waybill.pattern_domain(pattern text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT CASE WHEN pattern NOT IN ('*@owned', '<>') THEN lower(ltrim(split_part(pattern, '@', -1), '.')) END $$;
CREATE INDEX ON waybill.rights (waybill.pattern_domain(pattern)) WHERE allow;

CREATE TABLE waybill.domains (
	domain         text PRIMARY KEY CHECK (domain = lower(domain)),   -- A-labels
	customer       text NOT NULL REFERENCES waybill.customers ON DELETE CASCADE,
	dkim_mode      text NOT NULL DEFAULT 'txt' CHECK (dkim_mode IN ('txt', 'cname')),
	header_profile text NOT NULL DEFAULT 'strict' CHECK (header_profile IN ('strict', 'list-friendly')),
	signatures     integer NOT NULL DEFAULT 2 CHECK (signatures BETWEEN 0 AND 2),   -- 1: RSA alone
	created_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON waybill.domains (customer);

-- In mode cname the selectors are the two slots wb1 and wb2, used in turn; else they name the quarter: s2026q4.
CREATE TABLE waybill.dkim_keys (
	domain      text NOT NULL REFERENCES waybill.domains ON DELETE CASCADE,
	selector    text NOT NULL CHECK (selector ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
	algorithm   text NOT NULL CHECK (algorithm IN ('rsa-sha256', 'ed25519-sha256')),
	state       text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'active', 'retiring', 'retired')),
	sealed      bytea NOT NULL,                     -- common/seal.h over the DER private key; data "domain selector"
	public_key  bytea NOT NULL,                     -- DER SubjectPublicKeyInfo (rsa) or 32 bytes (ed25519): p= of the record
	created_at  timestamptz NOT NULL DEFAULT now(),
	active_at   timestamptz,
	retiring_at timestamptz,
	retired_at  timestamptz,
	PRIMARY KEY (domain, selector)
);
-- One key of an algorithm signs, so that the milter need not choose.
CREATE UNIQUE INDEX ON waybill.dkim_keys (domain, algorithm) WHERE state = 'active';

-- What "waybill domain check" found.
CREATE TABLE waybill.domain_checks (
	domain     text NOT NULL REFERENCES waybill.domains ON DELETE CASCADE,
	name       text NOT NULL,                       -- "dkim s2026q4", "spf 192.0.2.1", "dmarc", …
	status     text NOT NULL CHECK (status IN ('good', 'note', 'warning', 'broken', 'unknown')),
	detail     text NOT NULL,
	advice     text NOT NULL DEFAULT '',
	checked_at timestamptz NOT NULL DEFAULT now(),
	changed_at timestamptz NOT NULL DEFAULT now(),  -- when the status became what it is
	PRIMARY KEY (domain, name)
);

-- Keeps one finding. True when the domain got worse by it: it is broken now and was not before.
CREATE FUNCTION waybill.keep_domain_check(domain text, name text, status text, detail text, advice text) RETURNS boolean
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	before text;
BEGIN
	SELECT c.status INTO before FROM waybill.domain_checks AS c
	WHERE c.domain = keep_domain_check.domain AND c.name = keep_domain_check.name FOR UPDATE;
	-- Not to know is no news: a DNS server that does not answer neither breaks nor mends anything.
	IF keep_domain_check.status = 'unknown' AND before IS NOT NULL THEN
		RETURN false;
	END IF;
	INSERT INTO waybill.domain_checks AS c (domain, name, status, detail, advice)
	VALUES (keep_domain_check.domain, keep_domain_check.name, keep_domain_check.status, keep_domain_check.detail,
	        keep_domain_check.advice)
	ON CONFLICT ON CONSTRAINT domain_checks_pkey DO UPDATE
	SET status = excluded.status, detail = excluded.detail, advice = excluded.advice, checked_at = now(),
	    changed_at = CASE WHEN c.status = excluded.status THEN c.changed_at ELSE now() END;
	RETURN keep_domain_check.status = 'broken' AND before IS DISTINCT FROM 'broken';
END $$;

CREATE TABLE waybill.limits (
	id          text PRIMARY KEY CHECK (id ~ '^[a-z0-9-]{1,32}$'),         -- common/limit.h: LIMIT_ID_MAX
	scope       text NOT NULL CHECK (scope IN ('login', 'network', 'customer', 'domain', 'destination', 'relay')),
	customer    text REFERENCES waybill.customers ON DELETE CASCADE,       -- NULL only for scope relay
	login       text REFERENCES waybill.logins ON DELETE CASCADE,          -- NULL: each login of the customer
	domain      text REFERENCES waybill.domains ON DELETE CASCADE,         -- of scope domain; NULL: each domain of the customer
	destination text CHECK (destination ~ '^[a-z0-9._-]+$'),               -- of scope destination, as A-labels; NULL: each domain
	                                                                       -- by itself
	unit        text NOT NULL CHECK (unit IN ('messages', 'recipients', 'bytes')),
	spec        text NOT NULL,                      -- grammar: common/limit.h
	action      text NOT NULL DEFAULT 'defer' CHECK (action IN ('defer', 'reject', 'hold', 'shadow')),
	created_at  timestamptz NOT NULL DEFAULT now(),
	CHECK ((scope = 'relay') = (customer IS NULL)),
	CHECK (login IS NULL OR scope IN ('login', 'network')),
	CHECK (domain IS NULL OR scope = 'domain'),
	CHECK (destination IS NULL OR scope = 'destination')
);
CREATE INDEX ON waybill.limits (customer);

CREATE TABLE waybill.suppressions (
	customer   text NOT NULL REFERENCES waybill.customers ON DELETE CASCADE,
	recipient  text NOT NULL,                       -- as addr_key() writes it
	reason     text NOT NULL CHECK (reason IN ('hard-bounce', 'soft-bounce', 'complaint', 'unsubscribe', 'manual', 'import')),
	event_id   text,                                -- the event that caused it
	rule       text,                                -- why the event suppressed, so that it can be undone by its cause
	provider   text,
	remote_mx  text,
	note       text NOT NULL DEFAULT '',
	created_at timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz,
	PRIMARY KEY (customer, recipient)
);
CREATE INDEX ON waybill.suppressions (rule, created_at) WHERE rule IS NOT NULL;


-- The logins that may send as some address of a domain, or of a customer's domains: their own rights say which. A domain
-- has a dot, a customer none. Postfix asks policyd's socketmap service for them.
CREATE VIEW waybill.senders WITH (security_invoker = true) AS
SELECT s.name, string_agg(s.login, ' ' ORDER BY s.login) AS logins
FROM (SELECT l.customer AS name, l.login FROM waybill.logins AS l
      JOIN waybill.rights AS r ON r.login = l.login AND r.pattern = '*@owned' AND r.allow
      UNION
      SELECT waybill.pattern_domain(r.pattern), r.login FROM waybill.rights AS r
      WHERE r.allow AND waybill.pattern_domain(r.pattern) IS NOT NULL) AS s
GROUP BY s.name;

-- A return path names its customer by a short form (common/return_path.h); policyd's socketmap service tells by it which
-- transport the customer's mail takes.
CREATE FUNCTION waybill.return_path_name(customer text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT encode(substr(sha256(convert_to(customer, 'UTF8')), 1, 6), 'hex') $$;
CREATE INDEX ON waybill.customers (waybill.return_path_name(customer)) WHERE transport <> '';
CREATE VIEW waybill.return_paths WITH (security_invoker = true) AS
SELECT waybill.return_path_name(c.customer) AS name, c.customer FROM waybill.customers AS c WHERE c.transport <> '';


-- Followers read what changed. A row says only that something about (kind, key) changed: followers read the thing itself,
-- so applying a row twice is harmless. seq is given before commit, so a lower one may become visible after a higher one;
-- a follower therefore remembers no number but the snapshot (pg_current_snapshot()) that it has applied, and the next time
-- takes the rows that were not visible in it: xid >= pg_snapshot_xmin(last) AND NOT pg_visible_in_snapshot(xid, last).
CREATE TABLE waybill.changes (
	seq  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	xid  xid8 NOT NULL DEFAULT pg_current_xact_id(),
	at   timestamptz NOT NULL DEFAULT now(),
	kind text NOT NULL
	     CHECK (kind IN ('customer', 'login', 'domain', 'suppression', 'relay', 'senders', 'return_path')),
	key  text NOT NULL                              -- suppression: customer (or "*"), space, recipient (or domain)
);
CREATE INDEX ON waybill.changes (xid);

-- Where each node's follower is.
CREATE TABLE waybill.followers (
	node       text PRIMARY KEY,
	path       text NOT NULL,                       -- of the snapshot
	seq        bigint NOT NULL,                     -- the last change applied
	changed_at timestamptz NOT NULL,                -- when it was
	built_at   timestamptz NOT NULL,                -- the last full build
	seen_at    timestamptz NOT NULL DEFAULT now()   -- the last sign of life
);

-- Followers never go back further than they may sleep (ctl/follow.h), so old rows only take room.
CREATE FUNCTION waybill.prune_changes() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS
$$ DELETE FROM waybill.changes WHERE at < now() - interval '7 days' $$;

-- The change of one row, for followers. TG_ARGV: kind, and the columns that make the key; of both the old row and the new.
CREATE FUNCTION waybill.keep_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
	row  jsonb;
	keys text[] := '{}';
	key  text;
BEGIN
	FOREACH row IN ARRAY ARRAY[CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END,
	                           CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END] LOOP
		CONTINUE WHEN row IS NULL;
		key := row ->> TG_ARGV[1];
		IF TG_NARGS > 2 THEN
			key := key || ' ' || (row ->> TG_ARGV[2]);
		END IF;
		IF NOT key = ANY (keys) THEN
			keys := keys || key;
			INSERT INTO waybill.changes (kind, key) VALUES (TG_ARGV[0], key);
		END IF;
	END LOOP;
	RETURN NULL;
END $$;

CREATE TRIGGER change AFTER INSERT OR UPDATE OR DELETE ON waybill.customers
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_change('customer', 'customer');
CREATE TRIGGER change AFTER INSERT OR DELETE OR UPDATE OF login, customer, enabled, expires_at, networks, destinations,
	suspended_at, suspended_reason, guard_since ON waybill.logins
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_change('login', 'login');
CREATE TRIGGER change AFTER INSERT OR UPDATE OR DELETE ON waybill.rights
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_change('login', 'login');
CREATE TRIGGER change AFTER INSERT OR UPDATE OR DELETE ON waybill.domains
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_change('domain', 'domain');
CREATE TRIGGER change AFTER INSERT OR UPDATE OR DELETE ON waybill.dkim_keys
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_change('domain', 'domain');
CREATE TRIGGER change AFTER INSERT OR UPDATE OR DELETE ON waybill.suppressions
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_change('suppression', 'customer', 'recipient');

-- A limit stands in the records of those whom it limits.
CREATE FUNCTION waybill.keep_limit_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
	row waybill.limits;
BEGIN
	FOREACH row IN ARRAY ARRAY[CASE WHEN TG_OP <> 'INSERT' THEN OLD END, CASE WHEN TG_OP <> 'DELETE' THEN NEW END] LOOP
		CASE
			WHEN row.id IS NULL THEN
				CONTINUE;
			WHEN row.scope IN ('login', 'network') THEN
				INSERT INTO waybill.changes (kind, key) SELECT 'login', login FROM waybill.logins
					WHERE customer = row.customer AND login = coalesce(row.login, login);
			WHEN row.scope = 'domain' THEN
				INSERT INTO waybill.changes (kind, key) SELECT 'domain', domain FROM waybill.domains
					WHERE customer = row.customer AND domain = coalesce(row.domain, domain);
			WHEN row.scope = 'relay' THEN
				INSERT INTO waybill.changes (kind, key) VALUES ('relay', '');
			ELSE
				INSERT INTO waybill.changes (kind, key) VALUES ('customer', row.customer);
		END CASE;
	END LOOP;
	RETURN NULL;
END $$;
CREATE TRIGGER change AFTER INSERT OR UPDATE OR DELETE ON waybill.limits
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_limit_change();

-- A login's rights are gone before the login is, so both tell: a right of its domain, a login of its customer.
CREATE FUNCTION waybill.keep_senders_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF TG_TABLE_NAME = 'logins' THEN
		INSERT INTO waybill.changes (kind, key) SELECT DISTINCT 'senders', c
		FROM unnest(ARRAY[CASE WHEN TG_OP <> 'INSERT' THEN OLD.customer END,
		                  CASE WHEN TG_OP <> 'DELETE' THEN NEW.customer END]) AS c WHERE c IS NOT NULL;
	ELSE
		INSERT INTO waybill.changes (kind, key) SELECT DISTINCT 'senders',
			coalesce(waybill.pattern_domain(p.pattern), (SELECT l.customer FROM waybill.logins AS l WHERE l.login = p.login))
		FROM (VALUES (CASE WHEN TG_OP <> 'INSERT' THEN OLD.login END, CASE WHEN TG_OP <> 'INSERT' THEN OLD.pattern END),
		             (CASE WHEN TG_OP <> 'DELETE' THEN NEW.login END, CASE WHEN TG_OP <> 'DELETE' THEN NEW.pattern END)
		     ) AS p(login, pattern)
		WHERE waybill.pattern_domain(p.pattern) IS NOT NULL
		   OR (p.pattern = '*@owned' AND EXISTS (SELECT FROM waybill.logins AS l WHERE l.login = p.login));
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER change_senders AFTER INSERT OR UPDATE OR DELETE ON waybill.rights
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_senders_change();
CREATE TRIGGER change_senders AFTER DELETE OR UPDATE OF login, customer ON waybill.logins
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_senders_change();

CREATE FUNCTION waybill.keep_return_path_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	INSERT INTO waybill.changes (kind, key) VALUES ('return_path', waybill.return_path_name(coalesce(NEW.customer, OLD.customer)));
	RETURN NULL;
END $$;
CREATE TRIGGER change_return_path AFTER INSERT OR DELETE OR UPDATE OF transport ON waybill.customers
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_return_path_change();


-- Who did what.

CREATE TABLE waybill.audit (
	id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	at     timestamptz NOT NULL DEFAULT clock_timestamp(),
	who    text NOT NULL,                           -- the person that the command line names, else the role
	what   text NOT NULL,                           -- "login add", "limit set", …; else the SQL: "logins update"
	object text NOT NULL,                           -- "login app@acme"
	before jsonb,
	after  jsonb                                    -- never a secret
);
CREATE INDEX ON waybill.audit (object, id);

-- What a row's audit may not show.
CREATE FUNCTION waybill.without_secrets(r jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS
$$ SELECT r - '{password_hash,previous_hash,sealed,public_key,sealed_secret,sealed_previous,sealed_header,sealed_certificate}'::text[] $$;

-- The audit of one row. TG_ARGV: the object's word, then the columns that name it.
CREATE FUNCTION waybill.keep_audit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
	was  jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
	"is" jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
	name text := TG_ARGV[0];
BEGIN
	IF was IS NOT DISTINCT FROM "is" THEN
		RETURN NULL;
	END IF;
	FOR i IN 1 .. TG_NARGS - 1 LOOP
		name := name || ' ' || coalesce(coalesce("is", was) ->> TG_ARGV[i], '*');
	END LOOP;
	INSERT INTO waybill.audit (who, what, object, before, after) VALUES (
		coalesce(nullif(current_setting('waybill.who', true), ''), session_user),
		coalesce(nullif(current_setting('waybill.what', true), ''), TG_TABLE_NAME || ' ' || lower(TG_OP)),
		name, waybill.without_secrets(was), waybill.without_secrets("is"));
	RETURN NULL;
END $$;

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON waybill.customers
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_audit('customer', 'customer');
-- Not the last use: that is an observation, not an act.
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE OF login, customer, label, password_hash, previous_hash, previous_until,
	enabled, expires_at, networks, destinations, suspended_at, suspended_reason ON waybill.logins
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_audit('login', 'login');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON waybill.rights
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_audit('right', 'login', 'pattern');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON waybill.domains
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_audit('domain', 'domain');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON waybill.dkim_keys
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_audit('key', 'domain', 'selector');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON waybill.limits
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_audit('limit', 'id');
-- Suppressions by bounces have their event; people's acts have the audit. One that has ended is none: to take away what is
-- left of it is no act.
CREATE TRIGGER audit AFTER INSERT OR UPDATE ON waybill.suppressions
	FOR EACH ROW WHEN (session_user NOT IN ('waybill_bouncer', 'waybill_report'))
	EXECUTE FUNCTION waybill.keep_audit('suppression', 'customer', 'recipient');
CREATE TRIGGER audit_end AFTER DELETE ON waybill.suppressions
	FOR EACH ROW WHEN (session_user NOT IN ('waybill_bouncer', 'waybill_report') AND coalesce(OLD.expires_at > now(), true))
	EXECUTE FUNCTION waybill.keep_audit('suppression', 'customer', 'recipient');


-- A time as the command line takes it: "2026-12-31 18:00", or "+30 days" from now on.
CREATE FUNCTION waybill.point_in_time(t text) RETURNS timestamptz LANGUAGE sql STABLE AS
$$ SELECT CASE WHEN t LIKE '+%' THEN now() + substr(t, 2)::interval ELSE t::timestamptz END $$;

-- Does point_in_time() take it? The empty text stands for no time.
CREATE FUNCTION waybill.is_point_in_time(t text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF t <> '' THEN
		PERFORM waybill.point_in_time(t);
	END IF;
	RETURN true;
EXCEPTION WHEN data_exception THEN
	RETURN false;
END $$;

-- The offsets of a time zone from a day ago until 400 days ahead: {from, offset, from, offset, …} in seconds. Every zone
-- changes its offset at a whole quarter of an hour.
CREATE FUNCTION waybill.zone_offsets(zone text) RETURNS bigint[] LANGUAGE sql STABLE AS $$
	SELECT array_agg(v ORDER BY at, i) FROM (
		SELECT at, shift, lag(shift) OVER (ORDER BY at) AS before FROM (
			SELECT at, extract(epoch FROM (at AT TIME ZONE zone) - (at AT TIME ZONE 'UTC'))::bigint AS shift
			FROM generate_series(date_trunc('day', now()) - interval '1 day', now() + interval '400 days',
			                     interval '15 minutes') AS at) AS sampled) AS shifts,
		LATERAL (VALUES (1, extract(epoch FROM at)::bigint), (2, shift)) AS pair (i, v)
	WHERE before IS DISTINCT FROM shift
$$;


-- Dovecot asks for one user and takes one password a row, so a rotating login has its former password in a second view,
-- which a second passdb asks when the first did not match. A disabled or expired login keeps its row with a password
-- that matches nothing: even a query that forgets nologin refuses it.
CREATE VIEW auth.passdb WITH (security_barrier = true) AS
SELECT login AS "user",
       CASE WHEN usable THEN '{CRYPT}' || password_hash ELSE '{CRYPT}!' END AS password,
       CASE WHEN NOT usable THEN 'y' END AS nologin,
       nullif(array_to_string(networks, ','), '') AS allow_nets
FROM (SELECT *, enabled AND coalesce(expires_at > now(), true) AS usable FROM waybill.logins) AS logins;

CREATE VIEW auth.passdb_previous WITH (security_barrier = true) AS
SELECT login AS "user", '{CRYPT}' || previous_hash AS password, NULL::text AS nologin,
       nullif(array_to_string(networks, ','), '') AS allow_nets
FROM waybill.logins
WHERE enabled AND coalesce(expires_at > now(), true) AND previous_until > now();


-- Anybody may execute a new function until that is taken away.
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA waybill FROM PUBLIC;
GRANT SELECT ON waybill.customers, waybill.rights, waybill.domains, waybill.dkim_keys, waybill.limits,
	waybill.suppressions, waybill.changes, waybill.senders, waybill.return_paths TO waybill_follow;
-- Not the hashes: the snapshot has no passwords.
GRANT SELECT (login, customer, enabled, expires_at, networks, destinations, created_at, suspended_at, suspended_reason,
	guard_since) ON waybill.logins TO waybill_follow;
GRANT SELECT, INSERT, UPDATE ON waybill.followers TO waybill_follow;
GRANT EXECUTE ON FUNCTION waybill.prune_changes, waybill.zone_offsets, waybill.pattern_domain, waybill.return_path_name
	TO waybill_follow;
GRANT SELECT (customer, status) ON waybill.customers TO waybill_bouncer, waybill_webhookd;
-- Whose facts a bounce is, and whether it still counts.
GRANT SELECT (login, customer, guard_since) ON waybill.logins TO waybill_bouncer;
