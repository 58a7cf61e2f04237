/* Real lines with the fields that another project's patterns find in them. The files lie outside of the project
 * (../shared/corpus/postfix-lines); without them there is nothing to check. Each file has "data: LINE", the name of the
 * daemon in its "pattern:", and "results:" with postfix_* fields. */

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bouncer/line.h"

#define FOLDER "../shared/corpus/postfix-lines"

/* Their words, ours. */
static const char *const daemons[][2] = {
	{"POSTFIX_ANVIL", "anvil"},         {"POSTFIX_BOUNCE", "bounce"},
	{"POSTFIX_CLEANUP", "cleanup"},     {"POSTFIX_DISCARD", "discard"},
	{"POSTFIX_DNSBLOG", "dnsblog"},     {"POSTFIX_ERROR", "error"},
	{"POSTFIX_LMTP", "lmtp"},           {"POSTFIX_LOCAL", "local"},
	{"POSTFIX_MASTER", "master"},       {"POSTFIX_PICKUP", "pickup"},
	{"POSTFIX_PIPE", "pipe"},           {"POSTFIX_POSTDROP", "postdrop"},
	{"POSTFIX_POSTMAP", "postmap"},     {"POSTFIX_POSTSCREEN", "postscreen"},
	{"POSTFIX_POSTSUPER", "postsuper"}, {"POSTFIX_QMGR", "qmgr"},
	{"POSTFIX_SCACHE", "scache"},       {"POSTFIX_SCRIPT", "postfix-script"},
	{"POSTFIX_SENDMAIL", "sendmail"},   {"POSTFIX_SMTP", "smtp"},
	{"POSTFIX_SMTPD", "smtpd"},         {"POSTFIX_TLSMGR", "tlsmgr"},
	{"POSTFIX_TLSPROXY", "tlsproxy"},   {"POSTFIX_TRIVIAL_REWRITE", "trivial-rewrite"},
	{"POSTFIX_VERIFY", "verify"},       {"POSTFIX_VIRTUAL", "virtual"},
};

struct sample {
	char daemon[32];
	struct buffer line, results;
};

/* A YAML scalar on one line: plain, or in double quotes with backslash escapes. */
static void scalar(struct text value, struct buffer *out)
{
	value = text_trim(value);
	bool quoted = value.len > 1 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"';
	if (quoted)
		value = text_head(text_from(value, 1), value.len - 2);
	for (size_t i = 0; i < value.len; i++) {
		char c = value.ptr[i];
		if (quoted && c == '\\' && i + 1 < value.len) {
			c = value.ptr[++i];
			c = c == 'n' ? '?' : c == 'r' ? '?' : c; /* as Postfix prints control bytes */
		}
		buffer_char(out, c);
	}
}

static bool read_sample(const char *path, struct sample *s)
{
	FILE *file = fopen(path, "rb");
	char raw[16384];
	bool results = false;
	while (file && fgets(raw, sizeof raw, file)) {
		struct text line = text_of(raw), key;
		if (!text_take(&line, ':', &key) || !line.ptr)
			continue;
		struct buffer value = {0};
		scalar(line, &value);
		if (text_equal(key, TEXT("pattern"))) {
			for (size_t i = 0; i < sizeof daemons / sizeof *daemons; i++) {
				char wanted[64];
				snprintf(wanted, sizeof wanted, "%%{%s}", daemons[i][0]);
				if (strstr(buffer_string(&value), wanted))
					snprintf(s->daemon, sizeof s->daemon, "%s", daemons[i][1]);
			}
		} else if (text_equal(key, TEXT("data"))) {
			buffer_text(&s->line, buffer_view(&value));
		} else if (text_equal(key, TEXT("results"))) {
			results = true;
		} else if (results) {
			buffer_format(&s->results, "%.*s=", TEXT_ARG(text_trim(key)));
			buffer_text(&s->results, buffer_view(&value));
			buffer_char(&s->results, '\n');
		}
		buffer_free(&value);
	}
	if (file)
		fclose(file);
	return s->daemon[0] && s->line.len;
}

/* Our value of their field. False: we do not take it apart, or only where it matters for mail. */
static bool field(const struct record *r, struct text name, struct text *out, char number[12])
{
	bool refusal = r->kind == RECORD_REJECT, delivery = r->kind == RECORD_DELIVERY;
	static const char *const statuses[STATUS_MAX] = {"", "sent", "deferred", "bounced", "SOFTBOUNCE", NULL};
	snprintf(number, 12, "%u", (unsigned)r->code);
	if (text_equal(name, TEXT("postfix_queueid")))
		*out = r->queue_id;
	else if (text_equal(name, TEXT("postfix_message-id")))
		*out = r->message_id;
	else if (text_equal(name, TEXT("postfix_bounce_queueid")))
		*out = r->child;
	else if (text_equal(name, TEXT("postfix_status")) && delivery && statuses[r->status])
		*out = text_of(statuses[r->status]);
	else if (text_equal(name, TEXT("postfix_from")))
		*out = r->sender;
	else if (text_equal(name, TEXT("postfix_action")) && refusal)
		*out = r->verb;
	else if (text_equal(name, TEXT("postfix_smtp_stage")) && refusal)
		*out = r->stage;
	else if (text_equal(name, TEXT("postfix_status_code")) && refusal)
		*out = text_of(number);
	else if (text_equal(name, TEXT("postfix_status_code_enhanced")) && refusal)
		*out = r->dsn;
	else if (text_equal(name, TEXT("postfix_client_ip")) && (refusal || r->kind == RECORD_CONNECT))
		*out = r->client_ip;
	else if (text_equal(name, TEXT("postfix_client_hostname")) && (refusal || r->kind == RECORD_CONNECT))
		*out = r->client_host;
	else if (text_equal(name, TEXT("postfix_tls_version")) &&
		 (r->kind == RECORD_TLS || r->kind == RECORD_SERVER_TLS))
		*out = r->tls;
	else if (delivery &&
		 (text_equal(name, TEXT("postfix_smtp_response")) || text_equal(name, TEXT("postfix_error_response")) ||
		  text_equal(name, TEXT("postfix_local_response")) || text_equal(name, TEXT("postfix_pipe_response"))))
		*out = r->reason;
	else
		return false;
	return true;
}

static size_t check_results(const char *file, const struct record *r, struct sample *s)
{
	struct text rest = buffer_view(&s->results), line;
	size_t checked = 0;
	while (text_take(&rest, '\n', &line)) {
		size_t at = text_find(line, '=');
		struct text name = text_head(line, at), wanted = text_from(line, at == SIZE_MAX ? line.len : at + 1),
			    got;
		char number[12];
		if (!line.len || !field(r, name, &got, number))
			continue;
		if (!text_equal(got, wanted))
			fail_msg("%s: %.*s\n      got: %.*s\n expected: %.*s", file, TEXT_ARG(name), TEXT_ARG(got),
				 TEXT_ARG(wanted));
		checked++;
	}
	return checked;
}

static void corpus(void **state)
{
	(void)state;
	DIR *folder = opendir(FOLDER);
	size_t lines = 0, fields = 0;
	if (!folder)
		skip();
	for (struct dirent *entry; (entry = readdir(folder));) {
		char path[512];
		struct sample s = {0};
		struct buffer line = {0};
		struct line_clock clock = {.now_us = INT64_C(1795244400000000)};
		struct record r;
		snprintf(path, sizeof path, FOLDER "/%s", entry->d_name);
		if (text_ends(text_of(path), TEXT(".yaml")) && read_sample(path, &s)) {
			buffer_format(&line, "Nov 21 01:02:03 mx postfix/%s[1]: ", s.daemon);
			buffer_text(&line, buffer_view(&s.line));
			const char *why = line_parse(buffer_view(&line), &clock, &r);
			if (why)
				fail_msg("%s: %s: %s", entry->d_name, why, buffer_string(&line));
			fields += check_results(entry->d_name, &r, &s);
			lines++;
		}
		buffer_free(&line);
		buffer_free(&s.line);
		buffer_free(&s.results);
	}
	closedir(folder);
	print_message("%zu lines, %zu fields\n", lines, fields);
	assert_true(lines > 150 && fields > 150);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(corpus)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
