-- What Postfix asks policyd's socketmap service: who may send as an address, and by which transport a customer's mail leaves.

-- Postfix's "transport:nexthop" (transport(5)); empty: as all mail. One word: it stands in a netstring and in master.cf.
ALTER TABLE waybill.customers ADD COLUMN transport text NOT NULL DEFAULT ''
	CHECK (transport ~ '^([A-Za-z0-9._-]+:[!-~]*)?$' AND length(transport) <= 255);

ALTER TABLE waybill.changes DROP CONSTRAINT changes_kind_check;
ALTER TABLE waybill.changes ADD CONSTRAINT changes_kind_check
	CHECK (kind IN ('customer', 'login', 'domain', 'suppression', 'relay', 'senders', 'return_path'));

-- The domain of a right's pattern; of "@.example.com" that of the parent; NULL for those that name none.
CREATE FUNCTION waybill.pattern_domain(pattern text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT CASE WHEN pattern NOT IN ('*@owned', '<>') THEN lower(ltrim(split_part(pattern, '@', -1), '.')) END $$;
CREATE INDEX ON waybill.rights (waybill.pattern_domain(pattern)) WHERE allow;

-- The logins that may send as some address of a domain, or of a customer's domains: their own rights say which. A domain
-- has a dot, a customer none.
CREATE VIEW waybill.senders WITH (security_invoker = true) AS
SELECT s.name, string_agg(s.login, ' ' ORDER BY s.login) AS logins
FROM (SELECT l.customer AS name, l.login FROM waybill.logins AS l
      JOIN waybill.rights AS r ON r.login = l.login AND r.pattern = '*@owned' AND r.allow
      UNION
      SELECT waybill.pattern_domain(r.pattern), r.login FROM waybill.rights AS r
      WHERE r.allow AND waybill.pattern_domain(r.pattern) IS NOT NULL) AS s
GROUP BY s.name;

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

-- A return path names its customer by a short form (common/return_path.h).
CREATE FUNCTION waybill.return_path_name(customer text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT encode(substr(sha256(convert_to(customer, 'UTF8')), 1, 6), 'hex') $$;
CREATE INDEX ON waybill.customers (waybill.return_path_name(customer)) WHERE transport <> '';
CREATE VIEW waybill.return_paths WITH (security_invoker = true) AS
SELECT waybill.return_path_name(c.customer) AS name, c.customer FROM waybill.customers AS c WHERE c.transport <> '';

CREATE FUNCTION waybill.keep_return_path_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	INSERT INTO waybill.changes (kind, key) VALUES ('return_path', waybill.return_path_name(coalesce(NEW.customer, OLD.customer)));
	RETURN NULL;
END $$;
CREATE TRIGGER change_return_path AFTER INSERT OR DELETE OR UPDATE OF transport ON waybill.customers
	FOR EACH ROW EXECUTE FUNCTION waybill.keep_return_path_change();

REVOKE EXECUTE ON FUNCTION waybill.keep_senders_change, waybill.keep_return_path_change FROM PUBLIC;
GRANT EXECUTE ON FUNCTION waybill.pattern_domain, waybill.return_path_name TO waybill_admin, waybill_follow;
GRANT SELECT ON waybill.senders, waybill.return_paths TO waybill_follow;
