-- The directory: customers and what they own, and who may read what. The truth behind every node's snapshot.

CREATE SCHEMA waybill;   -- private: tables and functions
CREATE SCHEMA support;   -- stable views for people
CREATE SCHEMA auth;      -- what Dovecot reads

-- One role per program, with the least grants. They are NOLOGIN group roles: the sysadmin grants them to the accounts
-- that the programs connect as (packaging makes them the same by peer authentication).
DO $$
DECLARE
	role text;
BEGIN
	FOREACH role IN ARRAY ARRAY['waybill_admin', 'waybill_follow', 'waybill_bouncer', 'waybill_report',
	                            'waybill_webhookd', 'waybill_dovecot', 'waybill_support'] LOOP
		IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
			EXECUTE format('CREATE ROLE %I LOGIN', role);
		END IF;
	END LOOP;
END $$;

GRANT USAGE ON SCHEMA waybill TO waybill_admin, waybill_follow, waybill_bouncer, waybill_report, waybill_webhookd;
GRANT USAGE ON SCHEMA support TO waybill_admin, waybill_support;
GRANT USAGE ON SCHEMA auth TO waybill_dovecot;

CREATE TABLE waybill.customers (
	customer      text PRIMARY KEY CHECK (customer ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
	title         text NOT NULL DEFAULT '',
	plan          text NOT NULL DEFAULT '',
	status        text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
	status_reason text NOT NULL DEFAULT '',
	status_until  timestamptz,                      -- NULL: until resumed
	time_zone     text NOT NULL DEFAULT 'UTC',
	header_from   text NOT NULL DEFAULT 'enforce' CHECK (header_from IN ('off', 'log', 'enforce')),
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

CREATE TABLE waybill.domains (
	domain         text PRIMARY KEY CHECK (domain = lower(domain)),   -- A-labels
	customer       text NOT NULL REFERENCES waybill.customers ON DELETE CASCADE,
	dkim_mode      text NOT NULL DEFAULT 'txt' CHECK (dkim_mode IN ('txt', 'cname')),
	header_profile text NOT NULL DEFAULT 'strict' CHECK (header_profile IN ('strict', 'list-friendly')),
	created_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON waybill.domains (customer);

CREATE TABLE waybill.dkim_keys (
	domain      text NOT NULL REFERENCES waybill.domains ON DELETE CASCADE,
	selector    text NOT NULL,
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

CREATE TABLE waybill.limits (
	id         text PRIMARY KEY,                    -- common/limit.h: LIMIT_ID_MAX
	scope      text NOT NULL CHECK (scope IN ('login', 'network', 'customer', 'domain', 'destination', 'relay')),
	customer   text REFERENCES waybill.customers ON DELETE CASCADE,        -- NULL only for scope relay
	login      text REFERENCES waybill.logins ON DELETE CASCADE,           -- NULL: each login of the customer
	domain     text,                                -- scopes domain and destination; NULL: each
	unit       text NOT NULL CHECK (unit IN ('messages', 'recipients', 'bytes')),
	spec       text NOT NULL,                       -- grammar: common/limit.h
	action     text NOT NULL DEFAULT 'defer' CHECK (action IN ('defer', 'reject', 'hold', 'shadow')),
	created_at timestamptz NOT NULL DEFAULT now(),
	CHECK ((scope = 'relay') = (customer IS NULL))
);
CREATE INDEX ON waybill.limits (customer);

CREATE TABLE waybill.suppressions (
	customer   text NOT NULL REFERENCES waybill.customers ON DELETE CASCADE,
	recipient  text NOT NULL,                       -- as addr_key() writes it
	reason     text NOT NULL CHECK (reason IN ('hard-bounce', 'soft-bounce', 'complaint', 'unsubscribe', 'manual', 'import')),
	event_id   text,                                -- the event that caused it
	note       text NOT NULL DEFAULT '',
	created_at timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz,
	PRIMARY KEY (customer, recipient)
);

-- Followers read changes by sequence. A row says only that something about (kind, key) changed: followers read the thing
-- itself, so applying a change twice is harmless. Numbers are given before commit, so a lower one may appear after a
-- higher one: followers come back for gaps until no open transaction can fill them (xid).
CREATE TABLE waybill.changes (
	seq  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	xid  xid8 NOT NULL DEFAULT pg_current_xact_id(),
	at   timestamptz NOT NULL DEFAULT now(),
	kind text NOT NULL CHECK (kind IN ('customer', 'login', 'domain', 'suppression', 'relay')),
	key  text NOT NULL                              -- suppression: customer, space, recipient
);

CREATE TABLE waybill.audit (
	id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	at     timestamptz NOT NULL DEFAULT now(),
	who    text NOT NULL DEFAULT session_user,
	what   text NOT NULL,                           -- "login.add", "limit.set", …
	object text NOT NULL,
	before jsonb,
	after  jsonb                                    -- never a secret
);
