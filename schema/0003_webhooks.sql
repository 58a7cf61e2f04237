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
	failing_since    timestamptz,
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
);
CREATE INDEX deliveries_due ON waybill.deliveries (due_at) WHERE state = 'due';

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
