-- The takeover guard: what becomes of a login that seems to be in other hands, and logins that it has suspended.

ALTER TABLE waybill.customers ADD COLUMN takeover text NOT NULL DEFAULT 'alert'
	CHECK (takeover IN ('off', 'alert', 'hold', 'suspend'));           -- common/takeover.h

ALTER TABLE waybill.logins
	ADD COLUMN suspended_at     timestamptz,        -- NULL: it is not
	ADD COLUMN suspended_reason text NOT NULL DEFAULT '',
	ADD COLUMN guard_since      timestamptz;        -- what the guard counted before is forgotten

DROP TRIGGER change ON waybill.logins;
CREATE TRIGGER change AFTER INSERT OR DELETE OR UPDATE OF login, customer, enabled, expires_at, networks, destinations,
	suspended_at, suspended_reason, guard_since ON waybill.logins
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_change('login', 'login');
DROP TRIGGER audit ON waybill.logins;
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE OF login, customer, label, password_hash, previous_hash, previous_until,
	enabled, expires_at, networks, destinations, suspended_at, suspended_reason ON waybill.logins
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_audit('login', 'login');

-- policyd's word that a login is suspended comes as an event, through the spool; the login is suspended in the transaction
-- that stores it. A decision over facts that have been forgotten since (waybill login enable) is nothing but an event.
CREATE FUNCTION waybill.suspend_login() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM set_config('waybill.what', 'takeover guard', true);
	UPDATE waybill.logins l SET suspended_at = NEW.occurred_at, suspended_reason = coalesce(NEW.detail ->> 'reason', '')
	WHERE l.login = lower(NEW.sasl_username) AND l.customer = NEW.customer AND l.suspended_at IS NULL
	  AND coalesce(extract(epoch FROM l.guard_since)::bigint, 0) = (NEW.detail ->> 'since')::bigint;
	RETURN NULL;
END $$;
CREATE TRIGGER suspend AFTER INSERT ON waybill.events FOR EACH ROW WHEN (NEW.type = 'credential.suspended')
	EXECUTE FUNCTION waybill.suspend_login();

CREATE OR REPLACE VIEW support.customers WITH (security_invoker = true) AS
	SELECT c.customer, c.title, c.plan, c.status, c.status_reason, c.status_until, c.time_zone, c.header_from, c.created_at,
	       (SELECT count(*) FROM waybill.logins AS l WHERE l.customer = c.customer) AS logins,
	       (SELECT count(*) FROM waybill.domains AS d WHERE d.customer = c.customer) AS domains, c.takeover
	FROM waybill.customers AS c;
CREATE OR REPLACE VIEW support.logins WITH (security_invoker = true) AS
	SELECT l.login, l.customer, l.label, l.enabled, l.expires_at, l.networks, l.destinations,
	       ARRAY(SELECT CASE WHEN r.allow THEN '' ELSE 'not ' END || r.pattern FROM waybill.rights AS r
	             WHERE r.login = l.login ORDER BY r.allow DESC, r.pattern) AS rights,
	       l.previous_until, l.created_at, l.last_used_at, l.suspended_at, l.suspended_reason
	FROM waybill.logins AS l;
GRANT SELECT (takeover) ON waybill.customers TO waybill_support;
GRANT SELECT (suspended_at, suspended_reason) ON waybill.logins TO waybill_support;

REVOKE EXECUTE ON FUNCTION waybill.suspend_login FROM PUBLIC;
GRANT SELECT (suspended_at, suspended_reason, guard_since) ON waybill.logins TO waybill_follow;
-- Whose facts a bounce is, and whether it still counts.
GRANT SELECT (guard_since) ON waybill.logins TO waybill_bouncer;
