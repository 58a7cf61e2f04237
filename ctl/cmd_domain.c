#include <string.h>
#include <sysexits.h>

#include "ctl/check.h"
#include "ctl/cmd.h"
#include "ctl/cmd_internal.h"
#include "ctl/database.h"
#include "ctl/dkim_record.h"
#include "ctl/domain_key.h"

static const char *const profile_names[] = {"strict", "list-friendly"};

int domain_missing(const char *domain)
{
	return complain(EX_NOUSER, "waybill domain list", "there is no domain \"%s\"", domain);
}

static int require_domain(struct ctl *ctl, const char *domain)
{
	int status = database_exists(ctl, "SELECT FROM waybill.domains WHERE domain = $1", PARAMS(domain));
	return status == 1 ? domain_missing(domain) : status;
}

static int insert_domain(struct ctl *ctl, const char *domain)
{
	int status = customer_require(ctl, operand(ctl, 0));
	if (status)
		return status;
	long added = database_count(
		ctl,
		"INSERT INTO waybill.domains (domain, customer, dkim_mode, header_profile) "
		"VALUES ($1, $2, $3, coalesce($4, 'strict')) ON CONFLICT DO NOTHING RETURNING 1",
		PARAMS(domain, operand(ctl, 0), option_given(ctl, "cname") ? "cname" : "txt", option(ctl, "profile")),
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
	int status = insert_domain(ctl, domain);
	if (!status)
		status = domain_key_add(ctl, domain, DIRECTORY_RSA_SHA256, cname);
	if (!status && option_given(ctl, "ed25519"))
		status = domain_key_add(ctl, domain, DIRECTORY_ED25519_SHA256, cname);
	if (!status && option_given(ctl, "activate"))
		status = activate_pending(ctl, domain);
	return status;
}

int domain_print_records(struct ctl *ctl, const char *domain);

int cmd_domain_add(struct ctl *ctl)
{
	char domain[ADDR_MAX_DOMAIN + 1];
	const char *profile = option(ctl, "profile");
	int status = check_domain(operand(ctl, 1), domain);
	if (!status && profile)
		status = check_choice("profile", profile, profile_names, 2);
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
		remark("publish the record below; until DNS shows it and waybill domain rotate --due has seen it, mail "
		       "from %s "
		       "is deferred",
		       domain);
	return domain_print_records(ctl, domain);
}

int cmd_domain_list(struct ctl *ctl)
{
	return database_print(ctl, OUTPUT_LIST, "no domains: waybill domain add CUSTOMER DOMAIN",
			      "SELECT domain, customer, dkim_mode, header_profile, keys FROM support.domains "
			      "WHERE customer = coalesce($1, customer) ORDER BY customer, domain",
			      PARAMS(option(ctl, "customer")));
}

int cmd_domain_show(struct ctl *ctl)
{
	char domain[ADDR_MAX_DOMAIN + 1];
	int status = check_domain(operand(ctl, 0), domain);
	if (!status)
		status = require_domain(ctl, domain);
	if (status)
		return status;
	status = database_print(
		ctl, OUTPUT_RECORD, NULL,
		"SELECT domain, customer, dkim_mode, header_profile, created_at, "
		"ARRAY(SELECT id || ': ' || spec FROM waybill.limits AS l WHERE l.customer = d.customer "
		"AND scope = 'domain' AND coalesce(l.domain, d.domain) = d.domain ORDER BY id) AS limits "
		"FROM waybill.domains AS d WHERE domain = $1",
		PARAMS(domain));
	if (status)
		return status;
	return database_print(ctl, OUTPUT_LIST, "no DKIM keys: waybill domain rotate DOMAIN",
			      "SELECT selector, algorithm, state, created_at, active_at, retiring_at, retired_at "
			      "FROM waybill.dkim_keys WHERE domain = $1 ORDER BY created_at, selector",
			      PARAMS(domain));
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

static json_t *strings_of(struct text value)
{
	struct text string;
	json_t *strings = json_array();
	while (dkim_string_next(&value, &string))
		json_array_append_new(strings, json_stringn(string.ptr, string.len));
	return strings;
}

static void print_record(struct ctl *ctl, struct output *output, const char *name, struct text value, const char *state)
{
	struct buffer line = {0};
	if (ctl->json) {
		json_t *row = json_pack("{s:s, s:s, s:s%, s:o, s:s}", "name", name, "type", "TXT", "value", value.ptr,
					value.len, "strings", strings_of(value), "state", state);
		output_row(output, row);
		return;
	}
	if (option_given(ctl, "panel"))
		buffer_format(&line, "%s\tTXT\t%.*s\n", name, TEXT_ARG(value));
	else
		dkim_zone_line(text_of(name), TEXT("TXT"), value, &line);
	printf("%s", buffer_string(&line));
	buffer_free(&line);
}

static void print_key(struct ctl *ctl, struct output *output, const char *domain, const struct pg_result *result,
		      size_t row)
{
	struct buffer name = {0}, public_key = {0}, value = {0};
	const char *state = pg_string(result, row, 2);
	bool ed25519 = !strcmp(pg_string(result, row, 1), dkim_algorithm_names[DIRECTORY_ED25519_SHA256]);
	/* A retired key is revoked in public: RFC 6376 section 3.6.1, an empty p=. */
	if (strcmp(state, "retired") != 0)
		pg_bytea(pg_field(result, row, 3), &public_key);
	buffer_format(&name, "%s._domainkey.%s", pg_string(result, row, 0), domain);
	dkim_record_text(ed25519 ? DIRECTORY_ED25519_SHA256 : DIRECTORY_RSA_SHA256, buffer_view(&public_key), &value);
	print_record(ctl, output, buffer_string(&name), buffer_view(&value), state);
	buffer_free(&name);
	buffer_free(&public_key);
	buffer_free(&value);
}

int domain_print_records(struct ctl *ctl, const char *domain)
{
	struct pg_result *result = NULL;
	int status =
		database_query(ctl,
			       "SELECT selector, algorithm, state, public_key FROM waybill.dkim_keys WHERE domain = $1 "
			       "ORDER BY created_at, selector",
			       PARAMS(domain), &result);
	if (status)
		return status;
	struct output *output = output_new(OUTPUT_LIST, ctl->json);
	for (size_t i = 0; i < pg_rows(result); i++)
		print_key(ctl, output, domain, result, i);
	output_end(&output, NULL);
	pg_result_free(&result);
	return 0;
}

int cmd_domain_records(struct ctl *ctl)
{
	char domain[ADDR_MAX_DOMAIN + 1];
	int status = check_domain(operand(ctl, 0), domain);
	if (!status)
		status = require_domain(ctl, domain);
	return status ? status : domain_print_records(ctl, domain);
}

int cmd_domain_rotate(struct ctl *ctl)
{
	char domain[ADDR_MAX_DOMAIN + 1];
	int status = check_domain(operand(ctl, 0), domain), pending;
	if (!status)
		status = require_domain(ctl, domain);
	if (status)
		return status;
	bool cname = !database_exists(ctl, "SELECT FROM waybill.domains WHERE domain = $1 AND dkim_mode = 'cname'",
				      PARAMS(domain));
	pending = database_exists(ctl, "SELECT FROM waybill.dkim_keys WHERE domain = $1 AND state = 'pending'",
				  PARAMS(domain));
	if (pending == 1)
		status = domain_key_add(ctl, domain, DIRECTORY_RSA_SHA256, cname);
	else if (pending)
		return pending;
	if (!status && option_given(ctl, "force"))
		status = activate_pending(ctl, domain);
	return status ? status : domain_print_records(ctl, domain);
}
