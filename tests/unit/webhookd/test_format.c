/* Every format against files that people can read: tests/golden/formats/NAME.event holds a row, a field a line ("name=value";
 * \\n, \\t and \\xNN as in C), NAME.FORMAT.json what becomes of it; batch.FORMAT.json is a batch of two of them. With BLESS=1
 * in the environment the latter are written. */

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bouncer/format.h"

#define FOLDER "tests/golden/formats"

static const char *const names[EVENT_FIELD_MAX] = {
	[EVENT_CUSTOMER] = "customer",
	[EVENT_ID] = "id",
	[EVENT_SEQ] = "seq",
	[EVENT_TYPE] = "type",
	[EVENT_TIME] = "time",
	[EVENT_SECONDS] = "seconds",
	[EVENT_HOST] = "host",
	[EVENT_INSTANCE] = "instance",
	[EVENT_QUEUE_ID] = "queue_id",
	[EVENT_ORIG_QUEUE_ID] = "orig_queue_id",
	[EVENT_MESSAGE_ID] = "message_id",
	[EVENT_SENDER] = "sender",
	[EVENT_RECIPIENT] = "recipient",
	[EVENT_ORIG_RECIPIENT] = "orig_recipient",
	[EVENT_RECIPIENT_DOMAIN] = "recipient_domain",
	[EVENT_SASL_USERNAME] = "sasl_username",
	[EVENT_CLIENT_IP] = "client_ip",
	[EVENT_SIZE] = "size",
	[EVENT_ATTEMPT] = "attempt",
	[EVENT_TAG] = "tag",
	[EVENT_METADATA] = "metadata",
	[EVENT_SMTP_CODE] = "smtp_code",
	[EVENT_ENHANCED_CODE] = "enhanced_code",
	[EVENT_REMOTE_ENHANCED_CODE] = "remote_enhanced_code",
	[EVENT_STAGE] = "stage",
	[EVENT_RESPONSE] = "response",
	[EVENT_REMOTE_MX] = "remote_mx",
	[EVENT_REMOTE_IP] = "remote_ip",
	[EVENT_REMOTE_PORT] = "remote_port",
	[EVENT_REMOTE_TLS] = "remote_tls",
	[EVENT_PROVIDER] = "provider",
	[EVENT_DELAY_TOTAL] = "delay_total",
	[EVENT_DELAY_QUEUE] = "delay_queue",
	[EVENT_DELAY_ACTIVE] = "delay_active",
	[EVENT_DELAY_CONNECT] = "delay_connect",
	[EVENT_DELAY_TRANSMIT] = "delay_transmit",
	[EVENT_BOUNCE_CLASS] = "bounce_class",
	[EVENT_BOUNCE_CATEGORY] = "bounce_category",
	[EVENT_BOUNCE_SCOPE] = "bounce_scope",
	[EVENT_BOUNCE_ASYNC] = "bounce_async",
	[EVENT_BOUNCE_RULE] = "bounce_rule",
	[EVENT_REASON] = "reason",
	[EVENT_TRUNCATED] = "truncated",
	[EVENT_SUPPRESSION] = "suppression",
	[EVENT_SUPPRESSION_EXPIRES] = "suppression_expires",
	[EVENT_SOURCE_KIND] = "source_kind",
	[EVENT_PARTIAL] = "partial",
	[EVENT_DETAIL] = "detail",
};

static char *read_file(const char *path, size_t *len)
{
	FILE *in = fopen(path, "r");
	char *bytes = NULL;
	size_t cap = 0;
	if (!in)
		return NULL;
	ssize_t got = getdelim(&bytes, &cap, EOF, in);
	fclose(in);
	*len = got > 0 ? (size_t)got : 0;
	return bytes;
}

/* Resolves the escapes in place. */
static struct text unescape(char *value)
{
	char *to = value;
	for (char *from = value; *from; from++) {
		unsigned byte;
		if (*from != '\\') {
			*to++ = *from;
		} else if (from[1] == 'x' && sscanf(from + 2, "%2x", &byte) == 1) {
			*to++ = (char)byte;
			from += 3;
		} else {
			from++;
			*to++ = *from == 'n' ? '\n' : *from == 't' ? '\t' : *from;
		}
	}
	return text_at(value, (size_t)(to - value));
}

static void read_row(char *bytes, struct event_row *row)
{
	*row = (struct event_row){0};
	for (char *save, *line = strtok_r(bytes, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		size_t field = 0;
		char *equals = strchr(line, '=');
		assert_non_null(equals);
		*equals = '\0';
		while (field < EVENT_FIELD_MAX && strcmp(names[field], line) != 0)
			field++;
		if (field == EVENT_FIELD_MAX)
			fail_msg("no field %s", line);
		row->field[field] = unescape(equals + 1);
	}
}

/* BODY is what NAME.FORMAT.json holds, or becomes it. */
static void compare(const char *name, int name_len, enum format format, struct buffer *body)
{
	char path[512];
	size_t len;
	buffer_char(body, '\n');
	snprintf(path, sizeof(path), FOLDER "/%.*s.%s.json", name_len, name, format_names[format]);
	if (getenv("BLESS")) {
		FILE *out = fopen(path, "w");
		assert_non_null(out);
		fwrite(body->ptr, 1, body->len, out);
		fclose(out);
	}
	char *wanted = read_file(path, &len);
	if (!wanted || !text_equal(text_at(wanted, len), buffer_view(body)))
		fail_msg("%s: got\n%s", path, buffer_string(body));
	free(wanted);
}

static void check(const char *event, enum format format, const struct event_row *row)
{
	struct buffer body = {0}, again = {0};
	format_body(format, row, &body);
	format_body(format, row, &again);
	assert_true(text_equal(buffer_view(&body), buffer_view(&again)));
	compare(event, (int)(strlen(event) - strlen(".event")), format, &body);
	buffer_free(&body);
	buffer_free(&again);
}

static int is_event(const struct dirent *entry)
{
	return text_ends(text_of(entry->d_name), TEXT(".event"));
}

static void test_golden(void **state)
{
	struct dirent **entries;
	int count = scandir(FOLDER, &entries, is_event, alphasort);
	(void)state;
	assert_true(count >= 10);
	for (int i = 0; i < count; i++) {
		char path[512];
		size_t len;
		struct event_row row;
		snprintf(path, sizeof(path), FOLDER "/%s", entries[i]->d_name);
		char *bytes = read_file(path, &len);
		read_row(bytes, &row);
		for (enum format format = 0; format < FORMAT_MAX; format++)
			check(entries[i]->d_name, format, &row);
		free(bytes);
		free(entries[i]);
	}
	free(entries);
}

static void test_batches(void **state)
{
	size_t len;
	struct event_row rows[2];
	char *delivered = read_file(FOLDER "/delivered.event", &len),
	     *bounced = read_file(FOLDER "/bounced.event", &len);
	(void)state;
	read_row(delivered, &rows[0]);
	read_row(bounced, &rows[1]);
	for (enum format format = 0; format < FORMAT_MAX; format++) {
		struct buffer body = {0};
		assert_true(format_has_batches(format) == (format == FORMAT_WAYBILL || format == FORMAT_SENDGRID));
		if (!format_has_batches(format))
			continue;
		format_batch(format, TEXT("bat_mfrggzdfmztwq2lknnwg23tpoa"), rows, 2, &body);
		compare("batch", 5, format, &body);
		buffer_free(&body);
	}
	/* One event is as SendGrid's single ones are. */
	struct buffer one = {0}, single = {0};
	format_batch(FORMAT_SENDGRID, TEXT("bat_x"), rows, 1, &one);
	format_body(FORMAT_SENDGRID, rows, &single);
	assert_true(text_equal(buffer_view(&one), buffer_view(&single)));
	buffer_free(&one);
	buffer_free(&single);
	free(delivered);
	free(bounced);
}

static void test_names(void **state)
{
	(void)state;
	for (enum format format = 0; format < FORMAT_MAX; format++)
		assert_int_equal(format_of(text_of(format_names[format])), format);
	assert_int_equal(format_of(TEXT("xml")), FORMAT_MAX);
	assert_int_equal(format_of(TEXT("")), FORMAT_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden), cmocka_unit_test(test_batches),
					   cmocka_unit_test(test_names)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
