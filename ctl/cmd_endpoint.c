/* Endpoints of customers: where webhooks go. Secrets are made here, shown once, and sealed under the webhook key. */

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/digest.h"
#include "common/encode.h"
#include "common/guard.h"
#include "common/seal.h"
#include "common/webhook_key.h"
#include "ctl/check.h"
#include "ctl/cmd.h"
#include "ctl/cmd_internal.h"
#include "ctl/database.h"
#include "ctl/endpoint_options.h"
#include "ctl/endpoint_seal.h"

#define SECRET_BYTES 32 /* Standard Webhooks 1.0: 24 to 64 */
#define ID_BYTES     10 /* "ep_" and 16 characters of base32 */

#define ROTATION_OVERLAP "24 hours"

/* Facts on events, The event. */
static const char *const event_types[] = {
	"message.accepted",
	"message.delivered",
	"message.deferred",
	"message.bounced",
	"message.rejected",
	"message.dropped",
	"message.held",
	"message.released",
	"message.complained",
	"message.autoreplied",
	"recipient.unsubscribed",
	"suppression.created",
	"suppression.deleted",
	"log.gap",
	"webhook.endpoint.disabled",
	"webhook.endpoint.failing",
	"webhook.test",
	"limit.warning",
	"credential.suspended",
	"credential.suspected",
	"domain.dns_broken",
	"domain.key_unusable",
	"domain.signature_failing",
};

static const char *const yes_no[] = {"yes", "no"};
static const char *const format_names[] = {"waybill", "sendgrid", "mailgun", "postmark", "ses"};

static void random_text(const char *prefix, size_t bytes, void (*encode)(struct text, struct buffer *),
			struct buffer *out)
{
	unsigned char random[SECRET_BYTES];
	digest_random(random, bytes);
	buffer_text(out, text_of(prefix));
	encode(text_at(random, bytes), out);
	explicit_bzero(random, sizeof(random));
}

static int insert(struct ctl *ctl, const char *id, struct text secret)
{
	struct buffer sealed = {0}, events = {0};
	const char *types = option(ctl, "events");
	buffer_format(&events, "{%s}", types ? types : "");
	int status = endpoint_seal(ctl, operand(ctl, 0), id, ENDPOINT_SEAL_SECRET, secret, &sealed);
	if (!status)
		status = database_query(ctl,
					"INSERT INTO waybill.endpoints (customer, endpoint, url, format, events, "
					"sealed_secret, v1a, batch_max, batch_wait_s) "
					"VALUES ($1, $2, $3, coalesce($4, 'waybill'), $5::text[], $6::bytea, "
					"coalesce($7::boolean, false), coalesce($8::int, 1), coalesce($9::int, 1))",
					PARAMS(operand(ctl, 0), id, operand(ctl, 1), option(ctl, "format"),
					       buffer_string(&events), buffer_string(&sealed), option(ctl, "v1a"),
					       option(ctl, "batch"), option(ctl, "batch-wait")),
					NULL);
	buffer_free(&sealed);
	buffer_free(&events);
	return status;
}

static int check_events(const char *types)
{
	struct text rest = text_of(types), type;
	while (*types && text_take(&rest, ',', &type)) {
		size_t i = 0;
		while (i < sizeof(event_types) / sizeof(*event_types) && !text_equal(type, text_of(event_types[i])))
			i++;
		if (i == sizeof(event_types) / sizeof(*event_types))
			return complain(EX_DATAERR, "the types are listed in waybill-webhooks(7)",
					"there is no event type \"%.*s\"", TEXT_ARG(type));
	}
	return 0;
}

/* The form alone: which addresses and ports may be posted to is webhookd's to say, on its own host. */
static int check_url(const char *url)
{
	const struct guard_policy any = {.allow_http = true, .allow = {{.prefix = 0}}, .allow_count = 1};
	struct guard_url out;
	const char *why = guard_url_check(text_of(url), &any, &out);
	if (why)
		return complain(EX_DATAERR, NULL, "endpoint \"%s\": %s", url, why);
	if (!out.tls)
		remark("plain http: webhookd posts there only with [webhookd] allow_http = yes");
	return 0;
}

/* The words that add and set take. */
static int check_words(struct ctl *ctl, const char *url)
{
	const char *format = option(ctl, "format"), *events = option(ctl, "events");
	int status =
		format ? check_choice("format", format, format_names, sizeof(format_names) / sizeof(*format_names)) : 0;
	if (!status && events)
		status = check_events(events);
	if (!status && option(ctl, "v1a"))
		status = check_choice("v1a", option(ctl, "v1a"), yes_no, sizeof(yes_no) / sizeof(*yes_no));
	if (!status)
		status = endpoint_options_check(ctl);
	if (!status && url)
		status = check_url(url);
	return status;
}

/* Of a new endpoint. */
static int check_batch_format(struct ctl *ctl)
{
	const char *format = option(ctl, "format"), *batch = option(ctl, "batch");
	if (!format || !batch || strcmp(batch, "1") == 0 || endpoint_format_has_batches(format))
		return 0;
	return endpoint_batch_refuse(format);
}

int cmd_endpoint_add(struct ctl *ctl)
{
	struct buffer id = {0}, secret = {0};
	int status = check_words(ctl, operand(ctl, 1));
	if (!status)
		status = check_batch_format(ctl);
	if (!status)
		status = customer_require(ctl, operand(ctl, 0));
	if (status)
		return status;
	random_text("ep_", ID_BYTES, encode_base32, &id);
	random_text("whsec_", SECRET_BYTES, encode_base64, &secret);
	status = database_begin(ctl);
	if (!status)
		status = insert(ctl, buffer_string(&id), buffer_view(&secret));
	if (!status)
		status = endpoint_options_write(ctl, operand(ctl, 0), buffer_string(&id));
	if (!status)
		status = database_commit(ctl);
	if (!status) {
		struct output *output = output_new(OUTPUT_RECORD, ctl->json);
		output_row(output,
			   json_pack("{s:s, s:s, s:s, s:s}", "customer", operand(ctl, 0), "endpoint",
				     buffer_string(&id), "url", operand(ctl, 1), "secret", buffer_string(&secret)));
		output_end(&output, NULL);
		remark("the secret is shown this once: hand it over now");
	}
	buffer_free(&id);
	seal_wipe(&secret);
	return status;
}

int cmd_endpoint_list(struct ctl *ctl)
{
	return database_print(
		ctl, OUTPUT_LIST, "no endpoints: waybill endpoint add CUSTOMER URL",
		"SELECT customer, endpoint, url, format, events, status, status_reason FROM waybill.endpoints "
		"WHERE customer = coalesce($1, customer) ORDER BY customer, endpoint",
		PARAMS(option(ctl, "customer")));
}

int endpoint_missing(const char *endpoint)
{
	return complain(EX_NOUSER, "waybill endpoint list", "there is no endpoint \"%s\"", endpoint);
}

/* A statement on the endpoint of the first operand, $1, with RETURNING. */
static int change(struct ctl *ctl, const char *sql, const char *const *params, size_t count)
{
	int status;
	long rows = database_count(ctl, sql, params, count, &status);
	return rows < 0 ? status : rows ? 0 : endpoint_missing(operand(ctl, 0));
}

int endpoint_require(struct ctl *ctl, const char *endpoint)
{
	int status = database_exists(ctl, "SELECT FROM waybill.endpoints WHERE endpoint = $1", PARAMS(endpoint));
	return status == 1 ? endpoint_missing(endpoint) : status;
}

int cmd_endpoint_show(struct ctl *ctl)
{
	int status = endpoint_require(ctl, operand(ctl, 0));
	if (status)
		return status;
	return database_print(
		ctl, OUTPUT_RECORD, NULL,
		"SELECT e.customer, e.endpoint, e.url, e.format, e.events, e.v1a, "
		"e.sealed_certificate IS NOT NULL AS client_certificate, e.sealed_header IS NOT NULL AS "
		"header, "
		"e.timeout_s AS timeout, e.batch_max AS batch, e.batch_wait_s AS batch_wait, e.status, "
		"e.status_reason, e.failures, "
		"e.failing_since, e.retry_at, e.previous_until AS old_secret_until, e.created_at, "
		"(SELECT count(*) FROM waybill.deliveries d WHERE d.customer = e.customer AND d.endpoint = e.endpoint "
		"AND d.state = 'due') AS due, "
		"(SELECT count(*) FROM waybill.deliveries d WHERE d.customer = e.customer AND d.endpoint = e.endpoint "
		"AND d.state = 'exhausted') AS exhausted, "
		"(SELECT max(a.started_at) FROM support.attempts a WHERE a.customer = e.customer "
		"AND a.endpoint = e.endpoint) AS last_attempt "
		"FROM waybill.endpoints e WHERE e.endpoint = $1",
		PARAMS(operand(ctl, 0)));
}

/* The customer of the first operand's endpoint, to be freed; NULL when there is none, the exit status in *STATUS. */
static char *customer_of(struct ctl *ctl, int *status)
{
	struct pg_result *result;
	*status = database_query(ctl, "SELECT customer FROM waybill.endpoints WHERE endpoint = $1",
				 PARAMS(operand(ctl, 0)), &result);
	if (*status)
		return NULL;
	char *customer = pg_rows(result) ? text_copy(pg_field(result, 0, 0)) : NULL;
	pg_result_free(&result);
	if (!customer)
		*status = endpoint_missing(operand(ctl, 0));
	return customer;
}

static int write_options(struct ctl *ctl)
{
	int status;
	char *customer = customer_of(ctl, &status);
	if (customer)
		status = endpoint_options_write(ctl, customer, operand(ctl, 0));
	free(customer);
	return status;
}

/* Would it have batches in a format that has none? */
static int check_batch_change(struct ctl *ctl)
{
	struct pg_result *result;
	int status = database_query(ctl,
				    "SELECT coalesce($2, format) FROM waybill.endpoints WHERE endpoint = $1 "
				    "AND coalesce($3::int, batch_max) > 1",
				    PARAMS(operand(ctl, 0), option(ctl, "format"), option(ctl, "batch")), &result);
	if (status)
		return status;
	if (pg_rows(result) && !endpoint_format_has_batches(pg_string(result, 0, 0)))
		status = endpoint_batch_refuse(pg_string(result, 0, 0));
	pg_result_free(&result);
	return status;
}

static int write_columns(struct ctl *ctl)
{
	struct buffer events = {0};
	const char *types = option(ctl, "events");
	buffer_format(&events, "{%s}", types ? types : "");
	int status = change(ctl,
			    "UPDATE waybill.endpoints SET url = coalesce($2, url), format = coalesce($3, format), "
			    "events = coalesce($4::text[], events), v1a = coalesce($5::boolean, v1a), "
			    "batch_max = coalesce($6::int, batch_max), batch_wait_s = coalesce($7::int, batch_wait_s) "
			    "WHERE endpoint = $1 RETURNING 1",
			    PARAMS(operand(ctl, 0), option(ctl, "url"), option(ctl, "format"),
				   types ? buffer_string(&events) : NULL, option(ctl, "v1a"), option(ctl, "batch"),
				   option(ctl, "batch-wait")));
	buffer_free(&events);
	return status;
}

int cmd_endpoint_set(struct ctl *ctl)
{
	int status = check_words(ctl, option(ctl, "url"));
	if (!status)
		status = database_begin(ctl);
	if (!status)
		status = check_batch_change(ctl);
	if (!status)
		status = write_columns(ctl);
	if (!status)
		status = write_options(ctl);
	return status ? status : database_commit(ctl);
}

int cmd_endpoint_pause(struct ctl *ctl)
{
	return change(ctl,
		      "UPDATE waybill.endpoints SET status = 'paused', status_reason = coalesce($2, '') "
		      "WHERE endpoint = $1 RETURNING 1",
		      PARAMS(operand(ctl, 0), option(ctl, "reason")));
}

/* What happened while the endpoint was disabled was never owed to it: says how much there is, and how to have it. */
static int tell_missed(struct ctl *ctl)
{
	struct pg_result *result;
	int status = database_query(
		ctl,
		"SELECT count(*), to_char(min(e.occurred_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') "
		"FROM waybill.endpoints p JOIN waybill.events e USING (customer) "
		"WHERE p.endpoint = $1 AND e.recorded_at >= p.disabled_at "
		"AND e.occurred_at >= p.disabled_at - interval '1 day' "
		"AND (p.events = '{}' OR e.type = ANY (p.events)) AND e.type NOT LIKE 'webhook.%' "
		"AND NOT EXISTS (SELECT FROM waybill.deliveries d WHERE d.customer = p.customer "
		"AND d.endpoint = p.endpoint AND d.event_id = e.event_id)",
		PARAMS(operand(ctl, 0)), &result);
	if (status)
		return status;
	if (pg_int(result, 0, 0)) {
		struct output *output = output_new(OUTPUT_RECORD, ctl->json);
		output_row(output, json_pack("{s:s, s:I, s:o}", "endpoint", operand(ctl, 0), "not_owed",
					     (json_int_t)pg_int(result, 0, 0), "to_have_them",
					     json_sprintf("waybill endpoint replay %s --since %s", operand(ctl, 0),
							  pg_string(result, 0, 1))));
		output_end(&output, NULL);
		remark("what happened while it was disabled is not owed to it");
	}
	pg_result_free(&result);
	return 0;
}

int cmd_endpoint_resume(struct ctl *ctl)
{
	struct pg_result *result;
	int status = database_query(
		ctl,
		"WITH old AS (SELECT status FROM waybill.endpoints WHERE endpoint = $1 FOR UPDATE), "
		"e AS (UPDATE waybill.endpoints SET status = 'active', status_reason = '', failures = 0, "
		"failing_since = NULL, retry_at = NULL, notices = 0 WHERE endpoint = $1 RETURNING 1) "
		"SELECT old.status, pg_notify('waybill_deliveries', '') FROM old, e",
		PARAMS(operand(ctl, 0)), &result);
	if (status)
		return status;
	if (!pg_rows(result))
		status = endpoint_missing(operand(ctl, 0));
	else if (text_equal(pg_field(result, 0, 0), TEXT("disabled")))
		status = tell_missed(ctl);
	pg_result_free(&result);
	return status;
}

int cmd_endpoint_remove(struct ctl *ctl)
{
	if (!ctl->yes)
		return complain(EX_USAGE, "repeat it with --yes, or: waybill endpoint pause ENDPOINT",
				"removing %s removes what it is owed and the record of its attempts for good",
				operand(ctl, 0));
	return change(ctl, "DELETE FROM waybill.endpoints WHERE endpoint = $1 RETURNING 1", PARAMS(operand(ctl, 0)));
}

static void show_secret(struct ctl *ctl, const char *keep, struct buffer *secret)
{
	struct output *output = output_new(OUTPUT_RECORD, ctl->json);
	output_row(output, json_pack("{s:s, s:s, s:s}", "endpoint", operand(ctl, 0), "secret", buffer_string(secret),
				     "old_secret_signs_for", keep));
	output_end(&output, NULL);
	remark("the secret is shown this once; until the receiver has it, the old one signs as well; "
	       "the own signatures of the formats sendgrid and mailgun, of which there is one only, are the old one's "
	       "until then");
}

int cmd_endpoint_rotate_secret(struct ctl *ctl)
{
	int status;
	const char *keep = option(ctl, "keep") ? option(ctl, "keep") : ROTATION_OVERLAP;
	struct buffer secret = {0}, sealed = {0};
	char *customer = customer_of(ctl, &status);
	if (!customer)
		return status;
	random_text("whsec_", SECRET_BYTES, encode_base64, &secret);
	status = endpoint_seal(ctl, customer, operand(ctl, 0), ENDPOINT_SEAL_SECRET, buffer_view(&secret), &sealed);
	if (!status)
		status = change(ctl,
				"UPDATE waybill.endpoints SET sealed_previous = sealed_secret, "
				"previous_until = now() + $3::interval, sealed_secret = $2::bytea "
				"WHERE endpoint = $1 RETURNING 1",
				PARAMS(operand(ctl, 0), buffer_string(&sealed), keep));
	if (!status)
		show_secret(ctl, keep, &secret);
	seal_wipe(&secret);
	buffer_free(&sealed);
	free(customer);
	return status;
}

/* The bytes of the endpoint's secret, appended to KEY, which the caller wipes. 0, or the exit status. */
static int open_secret(struct ctl *ctl, struct text sealed_hex, const char *customer, struct buffer *key)
{
	char *error = NULL;
	struct buffer bound = {0}, sealed = {0}, secret = {0};
	struct seal *seal = seal_open(ctl->settings.webhook_key, &error);
	const char *why = seal ? pg_bytea(sealed_hex, &sealed) : error;
	buffer_format(&bound, "%s %s", customer, operand(ctl, 0));
	if (!why)
		why = seal_unseal(seal, buffer_view(&sealed), buffer_view(&bound), &secret);
	if (!why)
		why = encode_base64_decode(text_from(buffer_view(&secret), sizeof("whsec_") - 1), key);
	int status = why ? complain(EX_CONFIG, "run this as the account that may read the key",
				    "the secret cannot be opened: %s", why)
			 : 0;
	free(error);
	seal_close(&seal);
	seal_wipe(&secret);
	buffer_free(&bound);
	buffer_free(&sealed);
	return status;
}

static void public_text(enum webhook_key_kind kind, struct text secret, const char *prefix, struct buffer *out)
{
	struct buffer raw = {0};
	struct webhook_key *key = webhook_key_derive(kind, secret);
	webhook_key_public(key, &raw);
	buffer_text(out, text_of(prefix));
	encode_base64(buffer_view(&raw), out);
	webhook_key_free(&key);
	buffer_free(&raw);
}

static void show_public_keys(struct ctl *ctl, struct text secret)
{
	struct buffer ed25519 = {0}, p256 = {0};
	public_text(WEBHOOK_KEY_ED25519, secret, "whpk_", &ed25519);
	public_text(WEBHOOK_KEY_P256, secret, "", &p256);
	struct output *output = output_new(OUTPUT_RECORD, ctl->json);
	output_row(output, json_pack("{s:s, s:s, s:s}", "endpoint", operand(ctl, 0), "v1a", buffer_string(&ed25519),
				     "sendgrid", buffer_string(&p256)));
	output_end(&output, NULL);
	buffer_free(&ed25519);
	buffer_free(&p256);
}

int cmd_endpoint_public_key(struct ctl *ctl)
{
	struct buffer secret = {0};
	struct pg_result *result;
	int status = database_query(ctl, "SELECT customer, sealed_secret FROM waybill.endpoints WHERE endpoint = $1",
				    PARAMS(operand(ctl, 0)), &result);
	if (status)
		return status;
	status = pg_rows(result) ? open_secret(ctl, pg_field(result, 0, 1), pg_string(result, 0, 0), &secret)
				 : endpoint_missing(operand(ctl, 0));
	if (!status)
		show_public_keys(ctl, buffer_view(&secret));
	seal_wipe(&secret);
	pg_result_free(&result);
	return status;
}
