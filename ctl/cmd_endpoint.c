/* Endpoints of customers: where webhooks go. Secrets are made here, shown once, and sealed under the webhook key. */

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/digest.h"
#include "common/encode.h"
#include "common/seal.h"
#include "ctl/check.h"
#include "ctl/cmd.h"
#include "ctl/cmd_internal.h"
#include "ctl/database.h"

#define SECRET_BYTES 32 /* Standard Webhooks 1.0: 24 to 64 */
#define ID_BYTES     10 /* "ep_" and 16 characters of base32 */

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

static int seal_endpoint(struct ctl *ctl, const char *id, struct text secret, struct buffer *param)
{
	char *error = NULL;
	struct buffer associated = {0}, sealed = {0};
	struct seal *seal = seal_open(ctl->settings.webhook_key, &error);
	if (!seal) {
		int status = complain(EX_CONFIG, "waybill seal init, or run this as the account that may read the key",
				      "the secret cannot be sealed: %s", error);
		free(error);
		return status;
	}
	buffer_format(&associated, "%s %s", operand(ctl, 0), id);
	if (seal_secret(seal, secret, buffer_view(&associated), &sealed))
		abort();
	pg_bytea_param(buffer_view(&sealed), param);
	buffer_free(&associated);
	buffer_free(&sealed);
	seal_close(&seal);
	return 0;
}

static int insert(struct ctl *ctl, const char *id, struct text secret)
{
	struct buffer sealed = {0}, events = {0};
	const char *types = option(ctl, "events");
	buffer_format(&events, "{%s}", types ? types : "");
	int status = seal_endpoint(ctl, id, secret, &sealed);
	if (!status)
		status = database_query(
			ctl,
			"INSERT INTO waybill.endpoints (customer, endpoint, url, format, events, sealed_secret) "
			"VALUES ($1, $2, $3, coalesce($4, 'waybill'), $5::text[], $6::bytea)",
			PARAMS(operand(ctl, 0), id, operand(ctl, 1), option(ctl, "format"), buffer_string(&events),
			       buffer_string(&sealed)),
			NULL);
	buffer_free(&sealed);
	buffer_free(&events);
	return status;
}

static int check_words(struct ctl *ctl)
{
	const char *format = option(ctl, "format"), *url = operand(ctl, 1);
	int status =
		format ? check_choice("format", format, format_names, sizeof(format_names) / sizeof(*format_names)) : 0;
	if (status)
		return status;
	if (!text_starts_fold(text_of(url), TEXT("https://")) && !text_starts_fold(text_of(url), TEXT("http://")))
		return complain(EX_DATAERR, NULL, "endpoint \"%s\": a URL begins with https://", url);
	return customer_require(ctl, operand(ctl, 0));
}

int cmd_endpoint_add(struct ctl *ctl)
{
	struct buffer id = {0}, secret = {0};
	int status = check_words(ctl);
	if (status)
		return status;
	random_text("ep_", ID_BYTES, encode_base32, &id);
	random_text("whsec_", SECRET_BYTES, encode_base64, &secret);
	status = insert(ctl, buffer_string(&id), buffer_view(&secret));
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
