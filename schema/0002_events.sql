-- What happened to each message for each recipient, and how far the logs have been read.

-- A queue session that the tracker still follows, so that a restarted bouncer goes on where it was.
CREATE TABLE waybill.open_messages (
	source     text NOT NULL,                       -- of waybill.log_positions
	instance   text NOT NULL,
	queue_id   text NOT NULL,
	state      bytea NOT NULL,                      -- bouncer/track.h writes and reads it
	PRIMARY KEY (source, instance, queue_id)
);

CREATE TABLE waybill.log_positions (
	source     text PRIMARY KEY,                    -- "NODE FILE"
	position   jsonb NOT NULL,                      -- bouncer/tail.h
	updated_at timestamptz NOT NULL DEFAULT now()
);

-- seq: dense per customer, given in the transaction that inserts the event.
CREATE TABLE waybill.event_seq (
	customer text PRIMARY KEY,
	last     bigint NOT NULL DEFAULT 0
);

CREATE TABLE waybill.events (
	customer             text NOT NULL,             -- "-": mail of no customer
	occurred_at          timestamptz NOT NULL,      -- time of the log line, UTC
	event_id             text NOT NULL,
	seq                  bigint NOT NULL,
	recorded_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
	type                 text NOT NULL,
	host                 text NOT NULL,
	instance             text NOT NULL,
	queue_id             text NOT NULL,
	message_id           text,                      -- without angle brackets
	sender               text,                      -- '' is the null sender
	recipient            text,
	orig_recipient       text,
	recipient_domain     text,
	sasl_username        text,
	client_ip            inet,
	size                 bigint,
	attempt              integer,
	tag                  text,
	metadata             jsonb,
	smtp_code            smallint,
	enhanced_code        text,                      -- Postfix's dsn=
	remote_enhanced_code text,                      -- the one in the remote's reply
	stage                text,                      -- "RCPT TO", "end of DATA", "connect", …
	response             text,                      -- the remote's reply
	remote_mx            text,
	remote_ip            inet,
	remote_port          integer,
	remote_tls           text,
	provider             text,
	delay_total          real,
	delay_queue          real,
	delay_active         real,
	delay_connect        real,
	delay_transmit       real,
	bounce_class         text CHECK (bounce_class IN ('hard', 'soft', 'undetermined')),
	bounce_category      text,
	bounce_scope         text,
	bounce_async         boolean,
	bounce_rule          text,
	reason               text,                      -- Postfix's own words between the parentheses
	truncated            boolean NOT NULL DEFAULT false,
	suppression          text CHECK (suppression IN ('added', 'extended', 'frozen')),
	suppression_expires  timestamptz,
	source_kind          text NOT NULL DEFAULT 'log',
	partial              boolean NOT NULL DEFAULT false,
	detail               jsonb,                     -- of types that are not about a message (log.gap, limit.warning, …)
	PRIMARY KEY (customer, occurred_at, event_id)
) PARTITION BY RANGE (occurred_at);

CREATE TABLE waybill.events_default PARTITION OF waybill.events DEFAULT;
CREATE INDEX ON waybill.events (customer, seq);
CREATE INDEX ON waybill.events (customer, recipient, occurred_at);
CREATE INDEX ON waybill.events (message_id);
CREATE INDEX ON waybill.events (queue_id);
