/* "waybill domain rotate": a DKIM key's life, gated by DNS.
 *
 *	pending    made; its record is to be published
 *	active     signs: every authoritative server has shown the record that matches the private key
 *	retiring   signs no more; its record must stay as long as a message may be in a queue, and two days for receivers
 *	retired    its record says that it is revoked, an empty p=
 *	           and after a month more it is removed */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/seal.h"
#include "ctl/check.h"
#include "ctl/cmd.h"
#include "ctl/cmd_internal.h"
#include "ctl/database.h"
#include "ctl/dkim_key.h"
#include "ctl/dkim_test.h"
#include "ctl/dns_context.h"
#include "ctl/domain_key.h"
#include "ctl/key_dns.h"

#define RECEIVER_DAYS 2  /* receivers may verify a message days after they took it */
#define REVOKED_DAYS  30 /* a revoked record tells the late ones why; then it may go */

struct rotation {
	struct ctl *ctl;
	struct authority authority;
	struct seal *seal;
	struct output *output;
	bool force;
	size_t unanswered; /* pending keys whose record DNS could not tell */
};

static void say(struct rotation *rotation, const char *domain, const char *selector, const char *did,
		const char *detail)
{
	output_row(rotation->output, json_pack("{s:s, s:s, s:s, s:s}", "domain", domain, "selector", selector, "result",
					       did, "detail", detail));
}

/* Does the private key match the public one, which is what DNS shows? libopendkim is asked too, but for Ed25519, where it
 * compares the record's 32 bytes with a whole SubjectPublicKeyInfo. */
static const char *compare(const struct key_dns_question *question, struct text secret, struct text record,
			   struct buffer *why)
{
	struct buffer pem = {0}, public_key = {0};
	const char *wrong = dkim_key_public(question->algorithm, secret, &public_key);
	if (!wrong && !text_equal(buffer_view(&public_key), question->public_key))
		wrong = "the private key does not match the record";
	if (!wrong)
		wrong = dkim_key_pem(question->algorithm, secret, &pem);
	if (wrong)
		buffer_text(why, text_of(wrong));
	else if (question->algorithm == DIRECTORY_RSA_SHA256)
		wrong = dkim_test(question->domain, question->selector, buffer_view(&pem), record, why);
	seal_wipe(&pem);
	buffer_free(&public_key);
	return wrong;
}

/* Opens the sealed private key and compares it with what DNS shows. */
static const char *test_private(struct rotation *rotation, const struct key_dns_question *question, struct text sealed,
				struct text record, struct buffer *why)
{
	struct buffer associated = {0}, secret = {0};
	buffer_format(&associated, "%s %s", question->domain, question->selector);
	const char *wrong = seal_unseal(rotation->seal, sealed, buffer_view(&associated), &secret);
	if (wrong)
		buffer_format(why, "the private key cannot be opened: %s", wrong);
	else
		wrong = compare(question, buffer_view(&secret), record, why);
	seal_wipe(&secret);
	buffer_free(&associated);
	return wrong ? buffer_string(why) : NULL;
}

/* A pending key of one row: selector, algorithm, public key, sealed key. */
struct pending {
	struct key_dns_question question;
	struct buffer public_key, sealed;
};

static const char *pending_read(const struct pg_result *rows, size_t row, const char *domain, struct pending *pending)
{
	bool ed25519 = text_equal(pg_field(rows, row, 1), text_of(dkim_algorithm_names[DIRECTORY_ED25519_SHA256]));
	const char *why = pg_bytea(pg_field(rows, row, 2), &pending->public_key);
	if (!why)
		why = pg_bytea(pg_field(rows, row, 3), &pending->sealed);
	pending->question = (struct key_dns_question){
		.domain = domain,
		.selector = pg_string(rows, row, 0),
		.algorithm = ed25519 ? DIRECTORY_ED25519_SHA256 : DIRECTORY_RSA_SHA256,
		.public_key = buffer_view(&pending->public_key),
	};
	return why;
}

/* May the key sign? NULL; or what it waits for, in DETAIL. */
static const char *gate(struct rotation *rotation, struct pending *pending, struct buffer *detail, const char **result)
{
	struct buffer record = {0}, why = {0};
	const char *wrong = NULL;
	enum key_dns shown = key_dns_ask(&rotation->authority, &pending->question, detail, &record);
	*result = shown == KEY_DNS_UNKNOWN ? "unknown" : "waits";
	rotation->unanswered += shown == KEY_DNS_UNKNOWN;
	if (shown != KEY_DNS_EVERYWHERE) {
		wrong = "not shown";
	} else if (test_private(rotation, &pending->question, buffer_view(&pending->sealed), buffer_view(&record),
				&why)) {
		*result = "failed";
		wrong = "not matching";
		detail->len = 0;
		buffer_text(detail, buffer_view(&why));
	}
	buffer_free(&record);
	buffer_free(&why);
	return wrong;
}

static int activate(struct rotation *rotation, const char *domain, const char *selector)
{
	int status = database_begin(rotation->ctl);
	if (!status)
		status = domain_key_activate(rotation->ctl, domain, selector);
	return status ? status : database_commit(rotation->ctl);
}

static int advance_pending(struct rotation *rotation, const char *domain, const struct pg_result *rows, size_t row)
{
	struct pending pending = {0};
	struct buffer detail = {0};
	const char *result = "failed", *why = pending_read(rows, row, domain, &pending);
	int status = 0;
	if (why)
		buffer_text(&detail, text_of(why));
	else if (rotation->force)
		buffer_text(&detail,
			    TEXT("DNS was not asked: receivers fail the signatures until the record is published"));
	else
		why = gate(rotation, &pending, &detail, &result);
	if (!why) {
		status = activate(rotation, domain, pending.question.selector);
		result = "activated";
	}
	if (!status)
		say(rotation, domain, pending.question.selector, result, buffer_string(&detail));
	buffer_free(&pending.public_key);
	buffer_free(&pending.sealed);
	buffer_free(&detail);
	return status;
}

static int advance_all_pending(struct rotation *rotation, const char *domain, size_t *count)
{
	struct pg_result *rows = NULL;
	int status = database_query(
		rotation->ctl,
		"SELECT selector, algorithm, public_key, sealed FROM waybill.dkim_keys WHERE domain = $1 "
		"AND state = 'pending' ORDER BY created_at, selector",
		PARAMS(domain), &rows);
	if (status)
		return status;
	*count = pg_rows(rows);
	for (size_t row = 0; row < *count && !status; row++)
		status = advance_pending(rotation, domain, rows, row);
	pg_result_free(&rows);
	return status;
}

static const char *days(int64_t ms, int more, char out[32])
{
	snprintf(out, 32, "%" PRId64 " seconds", ms / 1000 + (int64_t)more * 86400);
	return out;
}

/* Ends what has been long enough. Says what was done to which selector. */
static int finish(struct rotation *rotation, const char *domain, const char *sql, const char *after, const char *result,
		  const char *detail)
{
	struct pg_result *rows = NULL;
	int status = database_query(rotation->ctl, sql, PARAMS(domain, after), &rows);
	for (size_t row = 0; !status && row < pg_rows(rows); row++)
		say(rotation, domain, pg_string(rows, row, 0), result, detail);
	pg_result_free(&rows);
	return status;
}

static int retire(struct rotation *rotation, const char *domain)
{
	char after[32];
	days(rotation->ctl->settings.queue_lifetime_ms, RECEIVER_DAYS, after);
	int status =
		finish(rotation, domain,
		       "UPDATE waybill.dkim_keys SET state = 'retired', retired_at = now() WHERE domain = $1 "
		       "AND state = 'retiring' AND retiring_at < now() - $2::interval RETURNING selector",
		       after, "retired", "publish its record with an empty p=, as waybill domain records prints it");
	if (status)
		return status;
	return finish(rotation, domain,
		      "DELETE FROM waybill.dkim_keys WHERE domain = $1 AND state = 'retired' "
		      "AND retired_at < now() - $2::interval RETURNING selector",
		      days(0, REVOKED_DAYS, after), "removed", "its record may be removed from DNS");
}

static int make_key(struct rotation *rotation, const char *domain, enum directory_key_algorithm algorithm)
{
	struct pg_result *rows = NULL;
	bool cname = !database_exists(
		rotation->ctl, "SELECT FROM waybill.domains WHERE domain = $1 AND dkim_mode = 'cname'", PARAMS(domain));
	int status = domain_key_add(rotation->ctl, domain, algorithm, cname);
	if (!status)
		status = database_query(rotation->ctl,
					"SELECT selector FROM waybill.dkim_keys WHERE domain = $1 AND algorithm = $2 "
					"AND state = 'pending'",
					PARAMS(domain, dkim_algorithm_names[algorithm]), &rows);
	if (!status && pg_rows(rows) && !rotation->force)
		say(rotation, domain, pg_string(rows, 0, 0), "made",
		    cname ? "publish its record in the relay's zone: waybill domain records"
			  : "publish its record: waybill domain records");
	pg_result_free(&rows);
	return status;
}

/* The next key, when the active one is old enough and none is on its way. */
static int make_due(struct rotation *rotation, const char *domain)
{
	char after[32];
	for (int algorithm = 0; algorithm < DIRECTORY_ALGORITHM_MAX; algorithm++) {
		int status = database_exists(
			rotation->ctl,
			"SELECT FROM waybill.dkim_keys AS k WHERE domain = $1 AND algorithm = $2 AND state = 'active' "
			"AND active_at < now() - $3::interval AND NOT EXISTS (SELECT FROM waybill.dkim_keys AS n "
			"WHERE n.domain = k.domain AND n.algorithm = k.algorithm AND n.state IN ('pending', "
			"'retiring'))",
			PARAMS(domain, dkim_algorithm_names[algorithm],
			       days(rotation->ctl->settings.rotate_after_ms, 0, after)));
		if (status == 0)
			status = make_key(rotation, domain, (enum directory_key_algorithm)algorithm);
		else if (status == 1)
			status = 0;
		if (status)
			return status;
	}
	return 0;
}

static int rotate_due(struct rotation *rotation, const char *domain)
{
	size_t pending = 0;
	int status = advance_all_pending(rotation, domain, &pending);
	if (!status)
		status = retire(rotation, domain);
	return status ? status : make_due(rotation, domain);
}

/* Now, not when it is due: the pending key is looked after, or one is made. */
static int rotate_now(struct rotation *rotation, const char *domain)
{
	size_t pending = 0;
	int status = advance_all_pending(rotation, domain, &pending);
	if (status || pending)
		return status;
	status = make_key(rotation, domain, DIRECTORY_RSA_SHA256);
	bool ed25519 =
		!status && !database_exists(rotation->ctl,
					    "SELECT FROM waybill.dkim_keys WHERE domain = $1 AND state = 'active' "
					    "AND algorithm = 'ed25519-sha256'",
					    PARAMS(domain));
	if (ed25519)
		status = make_key(rotation, domain, DIRECTORY_ED25519_SHA256);
	return status || !rotation->force ? status : advance_all_pending(rotation, domain, &pending);
}

/* Domains that have anything to do; one that fails does not stop the others. */
static int rotate_all_due(struct rotation *rotation)
{
	struct pg_result *rows = NULL;
	int status = database_query(rotation->ctl, "SELECT domain FROM waybill.domains ORDER BY 1", NO_PARAMS, &rows);
	for (size_t row = 0; !status && row < pg_rows(rows); row++) {
		int one = rotate_due(rotation, pg_string(rows, row, 0));
		if (one == EX_TEMPFAIL)
			status = one;
	}
	pg_result_free(&rows);
	return status;
}

/* Timers of several nodes must not make the same key twice. The lock ends with the connection. */
static int take_turn(struct ctl *ctl)
{
	int status = database_exists(ctl, "SELECT WHERE pg_try_advisory_lock(7225061731448512362)", NO_PARAMS);
	return status == 1
		       ? complain(EX_TEMPFAIL, "wait until it has ended", "another waybill domain rotate is at work")
		       : status;
}

int cmd_domain_rotate(struct ctl *ctl)
{
	char domain[ADDR_MAX_DOMAIN + 1] = "";
	bool due = option_given(ctl, "due");
	int status = 0;
	if (!operand(ctl, 0) && !due)
		return complain(EX_USAGE, "waybill domain rotate DOMAIN, or: waybill domain rotate --due",
				"which domain?");
	if (operand(ctl, 0))
		status = check_domain(operand(ctl, 0), domain);
	if (!status && *domain)
		status = domain_require(ctl, domain);
	struct rotation rotation = {.ctl = ctl, .force = option_given(ctl, "force")};
	if (!status)
		status = take_turn(ctl);
	rotation.seal = status ? NULL : domain_seal_open(ctl, &status);
	if (status)
		return status;
	rotation.authority = dns_open(&ctl->settings);
	rotation.output = output_new(OUTPUT_LIST, ctl->json);
	if (!*domain)
		status = rotate_all_due(&rotation);
	else
		status = due ? rotate_due(&rotation, domain) : rotate_now(&rotation, domain);
	output_end(&rotation.output, "nothing is due");
	if (!status && rotation.unanswered)
		status = complain(EX_TEMPFAIL, "run it again; meanwhile the active keys go on signing",
				  "DNS could not tell about %zu pending key%s", rotation.unanswered,
				  rotation.unanswered == 1 ? "" : "s");
	dns_close(&rotation.authority);
	seal_close(&rotation.seal);
	return status;
}
