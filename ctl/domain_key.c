#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "common/seal.h"
#include "ctl/database.h"
#include "ctl/dkim_key.h"
#include "ctl/dkim_record.h"
#include "ctl/domain_key.h"

struct seal *domain_seal_open(struct ctl *ctl, int *status)
{
	char *error = NULL;
	struct seal *seal = seal_open(ctl->settings.seal_key, &error);
	if (!seal)
		*status = complain(EX_CONFIG, "waybill seal init, or run this as the account that may read the key",
				   "DKIM keys cannot be sealed: %s", error);
	free(error);
	return seal;
}

int domain_key_insert(struct ctl *ctl, const struct seal *seal, const char *domain, const char *selector,
		      enum directory_key_algorithm algorithm, const char *state, struct text secret,
		      struct text public_key)
{
	struct buffer associated = {0}, sealed = {0}, sealed_param = {0}, public_param = {0};
	int status;
	buffer_format(&associated, "%s %s", domain, selector);
	if (seal_secret(seal, secret, buffer_view(&associated), &sealed))
		abort();
	pg_bytea_param(buffer_view(&sealed), &sealed_param);
	pg_bytea_param(public_key, &public_param);
	status = database_query(
		ctl,
		"INSERT INTO waybill.dkim_keys (domain, selector, algorithm, state, sealed, public_key, active_at) "
		"VALUES ($1, $2, $3, $4, $5::bytea, $6::bytea, CASE WHEN $4 = 'active' THEN now() END)",
		PARAMS(domain, selector, dkim_algorithm_names[algorithm], state, buffer_string(&sealed_param),
		       buffer_string(&public_param)),
		NULL);
	buffer_free(&associated);
	buffer_free(&sealed);
	buffer_free(&sealed_param);
	buffer_free(&public_param);
	return status;
}

/* The first selector of the quarter, or slot, that no key of the domain has. */
static int free_selector(struct ctl *ctl, const char *domain, enum directory_key_algorithm algorithm, bool cname,
			 char *out)
{
	time_t now = time(NULL);
	struct tm today;
	gmtime_r(&now, &today);
	for (unsigned nth = 0;; nth++) {
		if (cname && nth == 2)
			return complain(EX_TEMPFAIL, "waybill domain rotate --due, once the old key has retired",
					"%s: both slots have a key", domain);
		if (cname)
			dkim_slot(nth + 1, algorithm, out);
		else
			dkim_selector(today.tm_year + 1900, today.tm_mon + 1, algorithm, nth, out);
		int status = database_exists(ctl, "SELECT FROM waybill.dkim_keys WHERE domain = $1 AND selector = $2",
					     PARAMS(domain, out));
		if (status)
			return status == 1 ? 0 : status;
	}
}

int domain_key_add(struct ctl *ctl, const char *domain, enum directory_key_algorithm algorithm, bool cname)
{
	char selector[DKIM_SELECTOR_SIZE];
	struct buffer secret = {0}, public_key = {0};
	int status = free_selector(ctl, domain, algorithm, cname, selector);
	if (status)
		return status;
	struct seal *seal = domain_seal_open(ctl, &status);
	if (!seal)
		return status;
	dkim_key_make(algorithm, &secret, &public_key);
	status = domain_key_insert(ctl, seal, domain, selector, algorithm, "pending", buffer_view(&secret),
				   buffer_view(&public_key));
	seal_wipe(&secret);
	buffer_free(&public_key);
	seal_close(&seal);
	return status;
}

int domain_key_activate(struct ctl *ctl, const char *domain, const char *selector)
{
	int status =
		database_query(ctl,
			       "UPDATE waybill.dkim_keys AS old SET state = 'retiring', retiring_at = now() "
			       "FROM waybill.dkim_keys AS new WHERE new.domain = $1 AND new.selector = $2 "
			       "AND old.domain = new.domain AND old.algorithm = new.algorithm AND old.state = 'active'",
			       PARAMS(domain, selector), NULL);
	if (status)
		return status;
	return database_query(ctl,
			      "UPDATE waybill.dkim_keys SET state = 'active', active_at = now() "
			      "WHERE domain = $1 AND selector = $2 AND state = 'pending'",
			      PARAMS(domain, selector), NULL);
}
