#include <string.h>
#include <sysexits.h>

#include "ctl/check.h"
#include "ctl/cmd.h"
#include "ctl/cmd_internal.h"
#include "ctl/database.h"
#include "ctl/dkim_record.h"
#include "ctl/domain_key.h"

static const char *const profile_names[] = {"strict", "list-friendly"};
static const char *const signatures_names[] = {"0", "1", "2"};

int domain_missing(const char *domain)
{
	return complain(EX_NOUSER, "waybill domain list", "there is no domain \"%s\"", domain);
}

int domain_require(struct ctl *ctl, const char *domain)
{
	int status = database_exists(ctl, "SELECT FROM waybill.domains WHERE domain = $1", PARAMS(domain));
	return status == 1 ? domain_missing(domain) : status;
}

static int check_settings(struct ctl *ctl)
{
	const char *profile = option(ctl, "profile"), *signatures = option(ctl, "signatures");
	int status = profile ? check_choice("profile", profile, profile_names, 2) : 0;
	return status || !signatures ? status : check_choice("signatures", signatures, signatures_names, 3);
}

static int insert_domain(struct ctl *ctl, const char *domain)
{
	int status = customer_require(ctl, operand(ctl, 0));
	if (status)
		return status;
	long added =
		database_count(ctl,
			       "INSERT INTO waybill.domains (domain, customer, dkim_mode, header_profile, signatures) "
			       "VALUES ($1, $2, $3, coalesce($4, 'strict'), coalesce($5::integer, 2)) ON CONFLICT DO "
			       "NOTHING RETURNING 1",
			       PARAMS(domain, operand(ctl, 0), option_given(ctl, "cname") ? "cname" : "txt",
				      option(ctl, "profile"), option(ctl, "signatures")),
			       &status);
	if (added == 0)
		return complain(EX_CANTCREAT, "waybill domain show DOMAIN",
				"domain \"%s\" exists already: nothing was changed", domain);
	return status;
}

/* Makes the keys that sign without having asked DNS. */
static int activate_pending(struct ctl *ctl, const char *domain)
{
	struct pg_result *result = NULL;
	int status =
		database_query(ctl, "SELECT selector FROM waybill.dkim_keys WHERE domain = $1 AND state = 'pending'",
			       PARAMS(domain), &result);
	for (size_t i = 0; !status && i < pg_rows(result); i++)
		status = domain_key_activate(ctl, domain, pg_string(result, i, 0));
	pg_result_free(&result);
	return status;
}

static int add_domain(struct ctl *ctl, const char *domain)
{
	bool cname = option_given(ctl, "cname");
	if (cname && !ctl->settings.cname_zone)
		return complain(EX_CONFIG, "set [ctl] cname_zone in waybill.conf",
				"the relay's zone is not configured");
	int status = insert_domain(ctl, domain);
	if (!status)
		status = domain_key_add(ctl, domain, DIRECTORY_RSA_SHA256, cname);
	if (!status && option_given(ctl, "ed25519"))
		status = domain_key_add(ctl, domain, DIRECTORY_ED25519_SHA256, cname);
	if (!status && option_given(ctl, "activate"))
		status = activate_pending(ctl, domain);
	return status;
}

int cmd_domain_add(struct ctl *ctl)
{
	char domain[ADDR_MAX_DOMAIN + 1];
	int status = check_domain(operand(ctl, 1), domain);
	if (!status)
		status = check_settings(ctl);
	if (!status)
		status = database_begin(ctl);
	if (!status)
		status = add_domain(ctl, domain);
	if (!status)
		status = database_commit(ctl);
	if (status)
		return status;
	if (option_given(ctl, "activate"))
		remark("the key signs from now on, though DNS was not asked: receivers fail the signatures until the "
		       "record "
		       "below is published");
	else
		remark("publish the records below; until DNS shows it and waybill domain rotate --due has seen it, "
		       "mail "
		       "from %s "
		       "is deferred",
		       domain);
	return domain_print_records(ctl, domain);
}

int cmd_domain_set(struct ctl *ctl)
{
	char domain[ADDR_MAX_DOMAIN + 1];
	int status = check_domain(operand(ctl, 0), domain), count_status;
	if (!status)
		status = check_settings(ctl);
	if (status)
		return status;
	long rows = database_count(ctl,
				   "UPDATE waybill.domains SET header_profile = coalesce($2, header_profile), "
				   "signatures = coalesce($3::integer, signatures) WHERE domain = $1 RETURNING 1",
				   PARAMS(domain, option(ctl, "profile"), option(ctl, "signatures")), &count_status);
	return rows < 0 ? count_status : rows ? 0 : domain_missing(domain);
}

int cmd_domain_list(struct ctl *ctl)
{
	return database_print(ctl, OUTPUT_LIST, "no domains: waybill domain add CUSTOMER DOMAIN",
			      "SELECT domain, customer, dkim_mode, header_profile, keys FROM support.domains "
			      "WHERE customer = coalesce($1, customer) ORDER BY customer, domain",
			      PARAMS(option(ctl, "customer")));
}

/* With --json one object; for people three parts below one another. */
static int show_json(struct ctl *ctl, const char *domain)
{
	return database_print(
		ctl, OUTPUT_RECORD, NULL,
		"SELECT domain, customer, dkim_mode, header_profile, signatures, created_at, "
		"coalesce((SELECT json_agg(k) FROM (SELECT selector, algorithm, state, created_at, active_at, "
		"retiring_at, "
		"retired_at FROM waybill.dkim_keys WHERE domain = $1 ORDER BY created_at, selector) AS k), '[]') AS "
		"keys, "
		"coalesce((SELECT json_agg(c) FROM (SELECT name, status, detail, advice, checked_at, changed_at "
		"FROM waybill.domain_checks WHERE domain = $1 ORDER BY name) AS c), '[]') AS checks "
		"FROM waybill.domains WHERE domain = $1",
		PARAMS(domain));
}

static int show_parts(struct ctl *ctl, const char *domain)
{
	int status = database_print(
		ctl, OUTPUT_RECORD, NULL,
		"SELECT domain, customer, dkim_mode, header_profile, signatures, created_at, "
		"ARRAY(SELECT id || ': ' || spec FROM waybill.limits AS l WHERE l.customer = d.customer "
		"AND scope = 'domain' AND coalesce(l.domain, d.domain) = d.domain ORDER BY id) AS limits "
		"FROM waybill.domains AS d WHERE domain = $1",
		PARAMS(domain));
	if (!status)
		status = database_print(
			ctl, OUTPUT_LIST, "no DKIM keys: waybill domain rotate DOMAIN",
			"SELECT selector, algorithm, state, created_at, active_at, retiring_at, retired_at "
			"FROM waybill.dkim_keys WHERE domain = $1 ORDER BY created_at, selector",
			PARAMS(domain));
	if (status)
		return status;
	return database_print(ctl, OUTPUT_LIST, "not checked yet: waybill domain check DOMAIN",
			      "SELECT name AS check, status, detail, advice, checked_at FROM support.domain_checks "
			      "WHERE domain = $1 ORDER BY name",
			      PARAMS(domain));
}

int cmd_domain_show(struct ctl *ctl)
{
	char domain[ADDR_MAX_DOMAIN + 1];
	int status = check_domain(operand(ctl, 0), domain);
	if (!status)
		status = domain_require(ctl, domain);
	if (status)
		return status;
	return ctl->json ? show_json(ctl, domain) : show_parts(ctl, domain);
}

int cmd_domain_remove(struct ctl *ctl)
{
	char domain[ADDR_MAX_DOMAIN + 1];
	int status = check_domain(operand(ctl, 0), domain), count_status;
	if (status)
		return status;
	if (!ctl->yes)
		return complain(
			EX_USAGE, "repeat it with --yes",
			"removing %s removes its DKIM keys and limits for good: new mail from it is refused; mail in "
			"the queue keeps its signature, which verifies as long as the DNS record stays (leave it for 7 "
			"days)",
			domain);
	long rows = database_count(ctl, "DELETE FROM waybill.domains WHERE domain = $1 RETURNING 1", PARAMS(domain),
				   &count_status);
	return rows < 0 ? count_status : rows ? 0 : domain_missing(domain);
}

int cmd_domain_records(struct ctl *ctl)
{
	char domain[ADDR_MAX_DOMAIN + 1];
	int status = check_domain(operand(ctl, 0), domain);
	if (!status)
		status = domain_require(ctl, domain);
	return status ? status : domain_print_records(ctl, domain);
}
