-- Limits of mail to one destination, and what the milter tells of signing keys.

ALTER TABLE waybill.limits ADD COLUMN destination text               -- of scope destination; NULL: each domain by itself
	CHECK (destination ~ '^[a-z0-9._-]+$'),                       -- as A-labels
	ADD CHECK (destination IS NULL OR scope = 'destination');

CREATE OR REPLACE VIEW support.limits AS
SELECT id, scope, customer, login, domain, unit, spec, action, created_at, destination FROM waybill.limits;

SELECT waybill.open_views();
