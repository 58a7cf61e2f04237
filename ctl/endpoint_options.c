#include "ctl/endpoint_options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>

#include "common/seal.h"
#include "ctl/client_certificate.h"
#include "ctl/database.h"
#include "ctl/endpoint_seal.h"

#define HEADER_MAX 1024

#define TIMEOUT_MAX_S 30

/* As the table's CHECKs. */
#define BATCH_MAX        1000
#define BATCH_WAIT_MAX_S 300

/* A chain and a key take 10 KiB at most. */
#define CERTIFICATE_MAX 65536

/* What the POST itself, or the signature, decides; all that begin so. */
static const char *const reserved[] = {
	"webhook-",
	"x-twilio-email-event-webhook-",
	"content-",
	"host",
	"connection",
	"keep-alive",
	"proxy-",
	"transfer-encoding",
	"te",
	"trailer",
	"upgrade",
	"expect",
	"accept-encoding",
};

/* RFC 9110, 5.6.2 */
static bool is_token(struct text name)
{
	for (size_t i = 0; i < name.len; i++)
		if (!memchr("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
			    name.ptr[i], 77))
			return false;
	return name.len > 0;
}

static bool is_reserved(struct text name)
{
	for (size_t i = 0; i < sizeof(reserved) / sizeof(*reserved); i++) {
		size_t len = strlen(reserved[i]);
		bool prefix = reserved[i][len - 1] == '-';
		if (name.len >= len && (prefix || name.len == len) && !strncasecmp(name.ptr, reserved[i], len))
			return true;
	}
	return false;
}

const char *endpoint_header_check(struct text header)
{
	const char *colon = memchr(header.ptr, ':', header.len);
	if (header.len > HEADER_MAX)
		return "it is longer than 1,024 bytes";
	if (!colon || !is_token(text_head(header, (size_t)(colon - header.ptr))))
		return "it is not \"Name: value\"";
	if (is_reserved(text_head(header, (size_t)(colon - header.ptr))))
		return "the POST sets that field itself";
	struct text value = text_from(header, (size_t)(colon - header.ptr) + 1);
	bool blank = true;
	for (size_t i = 0; i < value.len; i++) {
		if (value.ptr[i] < ' ' || value.ptr[i] > '~')
			return "its value is not printable ASCII";
		blank = blank && value.ptr[i] == ' ';
	}
	return blank ? "it has no value" : NULL;
}

static bool is_number(const char *word, long least, long most)
{
	char *end;
	long value = strtol(word, &end, 10);
	return *word && *end == '\0' && value >= least && value <= most;
}

/* Appends the file's text to PEM, which the caller wipes. */
static int read_certificate(const char *path, struct buffer *pem)
{
	char bytes[4096];
	size_t got;
	FILE *file = fopen(path, "re");
	if (!file)
		return complain(EX_NOINPUT, NULL, "%s: %s", path, strerror(errno));
	while (pem->len <= CERTIFICATE_MAX && (got = fread(bytes, 1, sizeof(bytes), file)) > 0)
		buffer_add(pem, bytes, got);
	fclose(file);
	explicit_bzero(bytes, sizeof(bytes));
	const char *why =
		pem->len > CERTIFICATE_MAX ? "it is longer than 64 KiB" : client_certificate_check(buffer_view(pem));
	return why ? complain(EX_DATAERR,
			      "certificate, issuers and key belong into one file: cat client.crt client.key",
			      "client certificate %s: %s", path, why)
		   : 0;
}

static int check_certificate(const char *path)
{
	struct buffer pem = {0};
	int status = path && *path ? read_certificate(path, &pem) : 0;
	seal_wipe(&pem);
	return status;
}

static int check_batch(const char *batch, const char *wait)
{
	if (batch && !is_number(batch, 1, BATCH_MAX))
		return complain(EX_DATAERR, "1 is a POST for each event",
				"batch \"%s\" is not a number of events from 1 to %d", batch, BATCH_MAX);
	if (wait && !is_number(wait, 0, BATCH_WAIT_MAX_S))
		return complain(EX_DATAERR, "0 posts what there is without waiting for more",
				"batch-wait \"%s\" is not a number of seconds from 0 to %d", wait, BATCH_WAIT_MAX_S);
	return 0;
}

bool endpoint_format_has_batches(const char *format)
{
	return strcmp(format, "waybill") == 0 || strcmp(format, "sendgrid") == 0;
}

int endpoint_batch_refuse(const char *format)
{
	return complain(EX_DATAERR, "--batch 1, or --format waybill or sendgrid",
			"format %s has no batches: its receivers expect one event in a POST", format);
}

int endpoint_options_check(struct ctl *ctl)
{
	const char *header = option(ctl, "header"), *timeout = option(ctl, "timeout");
	const char *why = header && *header ? endpoint_header_check(text_of(header)) : NULL;
	if (why)
		return complain(EX_DATAERR, "an example is --header \"Authorization: Bearer 4f1c…\"",
				"the header field: %s", why);
	if (timeout && *timeout && !is_number(timeout, 1, TIMEOUT_MAX_S))
		return complain(EX_DATAERR, "empty goes back to [webhookd] timeout",
				"timeout \"%s\" is not a number of seconds from 1 to %d", timeout, TIMEOUT_MAX_S);
	int status = check_batch(option(ctl, "batch"), option(ctl, "batch-wait"));
	return status ? status : check_certificate(option(ctl, "client-certificate"));
}

static int write_certificate(struct ctl *ctl, const char *customer, const char *endpoint)
{
	const char *path = option(ctl, "client-certificate");
	struct buffer pem = {0}, sealed = {0};
	if (!path)
		return 0;
	int status = *path ? read_certificate(path, &pem) : 0;
	if (!status && *path)
		status = endpoint_seal(ctl, customer, endpoint, ENDPOINT_SEAL_CERTIFICATE, buffer_view(&pem), &sealed);
	if (!status)
		status = database_query(
			ctl, "UPDATE waybill.endpoints SET sealed_certificate = $2::bytea WHERE endpoint = $1",
			PARAMS(endpoint, *path ? buffer_string(&sealed) : NULL), NULL);
	seal_wipe(&pem);
	buffer_free(&sealed);
	return status;
}

int endpoint_options_write(struct ctl *ctl, const char *customer, const char *endpoint)
{
	const char *header = option(ctl, "header"), *timeout = option(ctl, "timeout");
	struct buffer sealed = {0};
	int status = 0;
	if (header && *header)
		status = endpoint_seal(ctl, customer, endpoint, ENDPOINT_SEAL_HEADER, text_of(header), &sealed);
	if (!status && (header || timeout))
		status = database_query(
			ctl,
			"UPDATE waybill.endpoints SET "
			"sealed_header = CASE WHEN $2::boolean THEN $3::bytea ELSE sealed_header END, "
			"timeout_s = CASE WHEN $4::text IS NULL THEN timeout_s ELSE nullif($4, '')::int END "
			"WHERE endpoint = $1",
			PARAMS(endpoint, header ? "true" : "false", header && *header ? buffer_string(&sealed) : NULL,
			       timeout),
			NULL);
	buffer_free(&sealed);
	return status ? status : write_certificate(ctl, customer, endpoint);
}
