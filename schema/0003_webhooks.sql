-- Endpoints, and what is owed to them. One delivery is one event for one endpoint; attempts are its POSTs.

CREATE TABLE waybill.endpoints (
	customer         text NOT NULL REFERENCES waybill.customers ON DELETE CASCADE,
	endpoint         text NOT NULL CHECK (endpoint ~ '^ep_[a-z2-7]{16}$'),
	url              text NOT NULL,
	format           text NOT NULL DEFAULT 'waybill' CHECK (format IN ('waybill', 'sendgrid', 'mailgun', 'postmark', 'ses')),
	events           text[] NOT NULL DEFAULT '{}',  -- wanted types; empty: all
	sealed_secret    bytea NOT NULL,                -- common/seal.h under the webhook key; data "customer endpoint"
	sealed_previous  bytea,                         -- signs as well until previous_until
	previous_until   timestamptz,
	status           text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused', 'disabled')),
	status_reason    text NOT NULL DEFAULT '',
	failures         integer NOT NULL DEFAULT 0,    -- attempts failed in a row
	failing_since    timestamptz,                   -- the first of them
	retry_at         timestamptz,                   -- nothing is posted before: Retry-After, or the breaker
	created_at       timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (customer, endpoint)
);

CREATE TABLE waybill.deliveries (
	customer    text NOT NULL,
	endpoint    text NOT NULL,
	event_id    text NOT NULL,
	occurred_at timestamptz NOT NULL,               -- the event's: finds its partition
	state       text NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'delivered', 'exhausted', 'dropped')),
	attempts    integer NOT NULL DEFAULT 0,
	due_at      timestamptz NOT NULL DEFAULT now(), -- when due: the next attempt, or the end of a lease
	created_at  timestamptz NOT NULL DEFAULT now(),
	finished_at timestamptz,
	PRIMARY KEY (customer, endpoint, event_id),
	FOREIGN KEY (customer, endpoint) REFERENCES waybill.endpoints ON DELETE CASCADE
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
-- A lease walks from endpoint to endpoint and takes the oldest of each, so that a long backlog of one costs the others
-- nothing.
CREATE INDEX deliveries_due ON waybill.deliveries (customer, endpoint, due_at) WHERE state = 'due';

CREATE TABLE waybill.attempts (
	customer    text NOT NULL,
	endpoint    text NOT NULL,
	event_id    text NOT NULL,
	attempt     integer NOT NULL,                   -- from 1
	started_at  timestamptz NOT NULL,
	duration_ms integer NOT NULL,
	status      integer,                            -- HTTP status; NULL: no answer
	error       text,                               -- why there was none
	answer      text,                               -- its first 1 KiB
	PRIMARY KEY (customer, endpoint, event_id, attempt),
	FOREIGN KEY (customer, endpoint, event_id) REFERENCES waybill.deliveries ON DELETE CASCADE
);

GRANT SELECT, INSERT, UPDATE, DELETE ON waybill.endpoints, waybill.deliveries, waybill.attempts TO waybill_admin;

-- What the bouncer and waybill-report may do: owe an event to those who want it. They never see a secret.
GRANT SELECT (customer, endpoint, events, status) ON waybill.endpoints TO waybill_bouncer, waybill_report;
GRANT INSERT ON waybill.deliveries TO waybill_bouncer, waybill_report;
-- ON CONFLICT DO NOTHING reads the key.
GRANT SELECT (customer, endpoint, event_id) ON waybill.deliveries TO waybill_bouncer, waybill_report;

GRANT SELECT ON waybill.events TO waybill_webhookd;
GRANT SELECT, UPDATE (status, status_reason, failures, failing_since, retry_at) ON waybill.endpoints TO waybill_webhookd;
GRANT SELECT, UPDATE (state, attempts, due_at, finished_at) ON waybill.deliveries TO waybill_webhookd;
GRANT SELECT, INSERT ON waybill.attempts TO waybill_webhookd;
