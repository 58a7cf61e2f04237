/* The DNS records that a domain needs, for whoever publishes them: as lines of a zone file, as a name and a value for a
 * provider's web form, or as JSON. The keys' are required; SPF and DMARC are recommended to begin with, and what the domain has
 * already comes before them.
 *
 * In mode cname the customer publishes once, for both slots, SLOT._domainkey.DOMAIN CNAME SLOT.DOMAIN.ZONE, where ZONE is the
 * relay's ([ctl] cname_zone); the keys are published there. */

#include <string.h>
#include <sysexits.h>

#include "ctl/cmd_internal.h"
#include "ctl/database.h"
#include "ctl/dkim_record.h"

struct records {
	struct ctl *ctl;
	struct output *output;
	const char *domain;
	bool cname;
};

static json_t *strings_of(struct text value)
{
	struct text string;
	json_t *strings = json_array();
	while (dkim_string_next(&value, &string))
		json_array_append_new(strings, json_stringn(string.ptr, string.len));
	return strings;
}

struct record {
	struct text name, type, value;
	const char *kind;      /* "dkim", "spf", "dmarc" */
	const char *state;     /* of its key; "for good" */
	const char *publisher; /* "customer" or "relay" */
	const char *advice;    /* a recommended record's: what to do instead of adding it; NULL: it is required */
};

static json_t *record_row(const struct record *record)
{
	return json_pack("{s:s%, s:s%, s:s%, s:o, s:s, s:b, s:s, s:s, s:s?}", "name", record->name.ptr,
			 record->name.len, "type", record->type.ptr, record->type.len, "value", record->value.ptr,
			 record->value.len, "strings", strings_of(record->value), "kind", record->kind, "required",
			 !record->advice, "state", record->state, "publisher", record->publisher, "advice",
			 record->advice);
}

static void print_record(struct records *records, const struct record *record)
{
	struct buffer line = {0};
	if (records->ctl->json) {
		output_row(records->output, record_row(record));
		return;
	}
	/* ";" begins a comment in a zone file (RFC 1035 section 5.1). */
	if (record->advice)
		buffer_format(&line, "; recommended (%s): %s\n", record->kind, record->advice);
	if (option_given(records->ctl, "panel"))
		buffer_format(&line, "%.*s\t%.*s\t%.*s\n", TEXT_ARG(record->name), TEXT_ARG(record->type),
			      TEXT_ARG(record->value));
	else
		dkim_zone_line(record->name, record->type, record->value, &line);
	fputs(buffer_string(&line), stdout);
	buffer_free(&line);
}

/* Where the key's TXT lies. */
static void key_name(const struct records *records, const char *selector, struct buffer *out)
{
	if (records->cname)
		buffer_format(out, "%s.%s.%s", selector, records->domain, records->ctl->settings.cname_zone);
	else
		buffer_format(out, "%s._domainkey.%s", selector, records->domain);
}

static void print_key(struct records *records, const struct pg_result *rows, size_t row)
{
	struct buffer name = {0}, public_key = {0}, value = {0};
	const char *state = pg_string(rows, row, 2);
	bool ed25519 = !strcmp(pg_string(rows, row, 1), dkim_algorithm_names[DIRECTORY_ED25519_SHA256]);
	/* A retired key is revoked in public: RFC 6376 section 3.6.1, an empty p=. */
	if (strcmp(state, "retired") != 0)
		pg_bytea(pg_field(rows, row, 3), &public_key);
	key_name(records, pg_string(rows, row, 0), &name);
	dkim_record_text(ed25519 ? DIRECTORY_ED25519_SHA256 : DIRECTORY_RSA_SHA256, buffer_view(&public_key), &value);
	print_record(records, &(struct record){buffer_view(&name), TEXT("TXT"), buffer_view(&value), "dkim", state,
					       records->cname ? "relay" : "customer", NULL});
	buffer_free(&name);
	buffer_free(&public_key);
	buffer_free(&value);
}

static void print_slots(struct records *records, enum directory_key_algorithm algorithm)
{
	for (unsigned slot = 1; slot <= 2; slot++) {
		struct buffer name = {0}, target = {0};
		char selector[DKIM_SELECTOR_SIZE];
		dkim_slot(slot, algorithm, selector);
		buffer_format(&name, "%s._domainkey.%s", selector, records->domain);
		key_name(records, selector, &target);
		print_record(records, &(struct record){buffer_view(&name), TEXT("CNAME"), buffer_view(&target), "dkim",
						       "for good", "customer", NULL});
		buffer_free(&name);
		buffer_free(&target);
	}
}

/* What lets mail leave from the relay's addresses; false when the configuration names none. */
static bool spf_value(const struct settings *settings, struct buffer *out)
{
	struct text rest = text_of(settings->egress ? settings->egress : ""), address;
	bool any = settings->spf_include != NULL;
	buffer_text(out, TEXT("v=spf1"));
	if (any)
		buffer_format(out, " include:%s", settings->spf_include);
	while (!settings->spf_include && rest.len && text_take(&rest, ',', &address)) {
		address = text_trim(address);
		any = any || address.len;
		if (address.len)
			buffer_format(out, " ip%c:%.*s", text_find(address, ':') == SIZE_MAX ? '4' : '6',
				      TEXT_ARG(address));
	}
	buffer_text(out, TEXT(" ~all"));
	return any;
}

static void print_spf(struct records *records)
{
	struct buffer value = {0};
	/* SPF asks the envelope sender's domain, which is the relay's own when it sets one. */
	if (!records->ctl->settings.return_path && spf_value(&records->ctl->settings, &value))
		print_record(records,
			     &(struct record){text_of(records->domain), TEXT("TXT"), buffer_view(&value), "spf",
					      "for good", "customer",
					      "if the domain has an SPF record already, add the terms between v=spf1 "
					      "and ~all to that one"});
	buffer_free(&value);
}

static void print_dmarc(struct records *records)
{
	struct buffer name = {0}, value = {0};
	buffer_format(&name, "_dmarc.%s", records->domain);
	buffer_format(&value, "v=DMARC1; p=none; rua=mailto:dmarc-reports@%s", records->domain);
	print_record(records,
		     &(struct record){buffer_view(&name), TEXT("TXT"), buffer_view(&value), "dmarc", "for good",
				      "customer",
				      "to begin with, at a mailbox that exists; leave a record that the domain "
				      "has already as it is"});
	buffer_free(&name);
	buffer_free(&value);
}

static void print_all(struct records *records, const struct pg_result *rows)
{
	bool ed25519 = false;
	for (size_t row = 0; row < pg_rows(rows); row++)
		ed25519 = ed25519 || !strcmp(pg_string(rows, row, 1), dkim_algorithm_names[DIRECTORY_ED25519_SHA256]);
	if (records->cname)
		print_slots(records, DIRECTORY_RSA_SHA256);
	if (records->cname && ed25519)
		print_slots(records, DIRECTORY_ED25519_SHA256);
	for (size_t row = 0; row < pg_rows(rows); row++)
		print_key(records, rows, row);
	print_spf(records);
	print_dmarc(records);
}

int domain_print_records(struct ctl *ctl, const char *domain)
{
	struct pg_result *rows = NULL;
	struct records records = {.ctl = ctl, .domain = domain};
	int status = database_exists(ctl, "SELECT FROM waybill.domains WHERE domain = $1 AND dkim_mode = 'cname'",
				     PARAMS(domain));
	if (status > 1)
		return status;
	records.cname = status == 0;
	if (records.cname && !ctl->settings.cname_zone)
		return complain(EX_CONFIG, "set [ctl] cname_zone in waybill.conf",
				"%s is in mode cname, but the relay's zone is not configured", domain);
	status =
		database_query(ctl,
			       "SELECT selector, algorithm, state, public_key FROM waybill.dkim_keys WHERE domain = $1 "
			       "ORDER BY created_at, selector",
			       PARAMS(domain), &rows);
	if (status)
		return status;
	records.output = output_new(OUTPUT_LIST, ctl->json);
	print_all(&records, rows);
	output_end(&records.output, NULL);
	pg_result_free(&rows);
	return 0;
}
