/* What a mail that came back says, from its bytes: tests/golden/reports/NAME.eml with NAME.report beside it. With BLESS=1 in
 * the environment the latter are written. And the parts of reading that a mail alone does not show. */

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bouncer/report.h"
#include "bouncer/report_event.h"
#include "bouncer/report_mime.h"
#include "bouncer/report_words.h"

#define FOLDER "tests/golden/reports"

static void read_file(const char *path, struct buffer *out)
{
	char chunk[4096];
	FILE *file = fopen(path, "rb");
	out->len = 0;
	for (size_t got; file && (got = fread(chunk, 1, sizeof chunk, file)) > 0;)
		buffer_add(out, chunk, got);
	if (file)
		fclose(file);
}

static void add(struct buffer *out, const char *name, struct text value)
{
	if (value.len)
		buffer_format(out, "%s: %.*s\n", name, TEXT_ARG(value));
}

static void describe_recipient(const struct report_recipient *r, struct buffer *out)
{
	buffer_format(out, "%s%s: %.*s\n", r->failed ? "failed" : "recipient", r->expired ? ", expired" : "",
		      TEXT_ARG(r->address));
	add(out, "  original", r->original);
	add(out, "  status", r->status);
	if (r->code)
		buffer_format(out, "  code: %u\n", r->code);
	add(out, "  stage", r->stage);
	add(out, "  relay", r->relay);
	add(out, "  said", r->said);
}

static void describe(struct text raw, bool unsubscribes, struct buffer *out)
{
	struct report_mail mail;
	struct report report;
	report_mime_read(raw, &mail);
	report_read(&mail, unsubscribes, &report);
	buffer_format(out, "kind: %s\n", report_kind_words[report.kind]);
	add(out, "feedback_type", report.feedback_type);
	add(out, "message_id", report.message_id);
	add(out, "reporter", report.reporter);
	for (size_t i = 0; i < report.count; i++)
		describe_recipient(&report.recipient[i], out);
	report_free(&report);
	report_mail_free(&mail);
}

static void check_file(const char *path)
{
	char expected_path[512];
	struct buffer raw = {0}, expected = {0}, found = {0};
	snprintf(expected_path, sizeof expected_path, "%.*s.report", (int)(strlen(path) - 4), path);
	read_file(path, &raw);
	describe(buffer_view(&raw), false, &found);
	if (getenv("BLESS")) {
		FILE *file = fopen(expected_path, "wb");
		assert_non_null(file);
		fwrite(found.ptr, 1, found.len, file);
		fclose(file);
	}
	read_file(expected_path, &expected);
	if (!text_equal(buffer_view(&found), buffer_view(&expected)))
		fail_msg("%s\n--- found:\n%.*s--- expected:\n%.*s", path, TEXT_ARG(buffer_view(&found)),
			 TEXT_ARG(buffer_view(&expected)));
	buffer_free(&raw);
	buffer_free(&expected);
	buffer_free(&found);
}

static void golden(void **state)
{
	(void)state;
	glob_t files;
	assert_int_equal(glob(FOLDER "/*.eml", 0, NULL, &files), 0);
	assert_true(files.gl_pathc >= 30);
	for (size_t i = 0; i < files.gl_pathc; i++)
		check_file(files.gl_pathv[i]);
	globfree(&files);
}

/* At the address for it any mail unsubscribes, but a bounce or a complaint is what it is. */
static void unsubscribe_address(void **state)
{
	(void)state;
	static const struct {
		const char *file, *kind;
	} rows[] = {
		{"person", "kind: unsubscribe\n"},      {"autoreply", "kind: unsubscribe\n"},
		{"unsubscribe", "kind: unsubscribe\n"}, {"dsn", "kind: bounce\n"},
		{"arf", "kind: complaint\n"},
	};
	struct buffer raw = {0}, found = {0};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char path[512];
		snprintf(path, sizeof path, FOLDER "/%s.eml", rows[i].file);
		read_file(path, &raw);
		found.len = 0;
		describe(buffer_view(&raw), true, &found);
		if (!text_starts(buffer_view(&found), text_of(rows[i].kind)))
			fail_msg("%s: %s", rows[i].file, buffer_string(&found));
	}
	buffer_free(&raw);
	buffer_free(&found);
}

static void codes(void **state)
{
	(void)state;
	static const struct {
		const char *words;
		uint32_t code;
		const char *said;
	} rows[] = {
		{"said: 550 5.1.1 unknown", 550, "550 5.1.1 unknown"},
		{"550-5.1.1 no 550 5.1.1 user. 421 later", 550, "550-5.1.1 no 550 5.1.1 user. "},
		{"450 10:00 o'clock, 554 no", 554, "554 no"},
		{"1550 x 4500 y 5.550 z", 0, "1550 x 4500 y 5.550 z"},
		{"ERROR_CODE :550, unknown", 550, "550, unknown"},
		{"250 ok", 0, "250 ok"},
		{"550", 0, "550"},
		{"", 0, ""},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t at;
		assert_int_equal(report_words_code(text_of(rows[i].words), &at), rows[i].code);
		assert_true(text_equal(report_words_said(text_of(rows[i].words)), text_of(rows[i].said)));
	}
}

static void addresses(void **state)
{
	(void)state;
	static const struct {
		const char *words, *first, *second;
	} rows[] = {
		{"to <jane.doe+x@example.net>, then joe@example.org.", "jane.doe+x@example.net", "joe@example.org"},
		{"@example.net a@ b@c", "b@c", ""},
		{"j\xc3\xbcrgen@b\xc3\xbc"
		 "cher.example",
		 "j\xc3\xbcrgen@b\xc3\xbc"
		 "cher.example",
		 ""},
		{"@@@@", "", ""},
		{"", "", ""},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct text rest = text_of(rows[i].words);
		assert_true(text_equal(report_words_address(&rest), text_of(rows[i].first)));
		assert_true(text_equal(report_words_address(&rest), text_of(rows[i].second)));
	}
}

static void stages(void **state)
{
	(void)state;
	static const struct {
		const char *words, *stage;
	} rows[] = {
		{"(in reply to end of DATA command)", "end of DATA"},
		{"mx did not like our RCPT TO: 550", "RCPT TO"},
		{"error from remote mail server after end of data:", "end of DATA"},
		{">>> MAIL From:<a@b> <<< 550 no", "MAIL FROM"},
		{">>> DATA <<< 354 go >>> RCPT To:<x> <<< 550 no", "RCPT TO"},
		{"<<< 550 no", ""},
		{"nothing", ""},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct text found = report_words_stage(text_of(rows[i].words));
		if (!text_equal_fold(found, text_of(rows[i].stage)))
			fail_msg("%s: %.*s", rows[i].words, TEXT_ARG(found));
	}
}

/* Whom it is about: the message's recipient by its first name, by its last one, or the only one there is. */
static void settle(void **state)
{
	(void)state;
	static const struct {
		const char *by_original, *by_address, *only, *who;
	} rows[] = {
		{"a@x", "b@x", NULL, "a@x"}, {NULL, "b@x", NULL, "b@x"}, {NULL, NULL, "c@x", "c@x"},
		{NULL, "b@x", "c@x", "b@x"}, {NULL, NULL, NULL, ""},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_true(text_equal(
			report_settle(text_of(rows[i].by_original), text_of(rows[i].by_address), text_of(rows[i].only)),
			text_of(rows[i].who)));
}

/* More recipients than are kept, more parts than are looked at: the rest is counted or left, and all ends. */
static void bounds(void **state)
{
	(void)state;
	struct buffer raw = {0};
	struct report_mail mail;
	struct report report;
	buffer_text(&raw, TEXT("Content-Type: message/delivery-status\n\n"));
	for (unsigned i = 0; i < 1000; i++)
		buffer_format(&raw, "\nFinal-Recipient: rfc822; u%u@example.net\nAction: failed\nStatus: 5.1.1\n", i);
	report_mime_read(buffer_view(&raw), &mail);
	report_read(&mail, false, &report);
	assert_int_equal(report.count, REPORT_MAX_RECIPIENTS);
	assert_int_equal(report.left_out, 1000 - REPORT_MAX_RECIPIENTS);
	report_free(&report);
	report_mail_free(&mail);

	raw.len = 0;
	buffer_text(&raw, TEXT("Content-Type: multipart/mixed; boundary=b\n\n"));
	for (unsigned i = 0; i < 10000; i++)
		buffer_text(&raw, TEXT("--b\n\nx\n"));
	report_mime_read(buffer_view(&raw), &mail);
	assert_int_equal(mail.count, REPORT_MAX_PIECES);
	report_mail_free(&mail);
	buffer_free(&raw);
}

/* In a process of its own the library finds the same; a mail that is its end, as groups in groups are, ends nothing else. */
static void apart(void **state)
{
	(void)state;
	struct buffer raw = {0};
	struct report_mail here, there;
	glob_t files;
	assert_int_equal(glob(FOLDER "/*.eml", 0, NULL, &files), 0);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		read_file(files.gl_pathv[i], &raw);
		report_mime_read(buffer_view(&raw), &here);
		assert_int_equal(report_mime_read_apart(buffer_view(&raw), &there), 0);
		assert_int_equal(here.count, there.count);
		for (size_t k = 0; k < here.count; k++) {
			assert_int_equal(here.piece[k].kind, there.piece[k].kind);
			assert_true(text_equal(here.piece[k].text, there.piece[k].text));
		}
		report_mail_free(&here);
		report_mail_free(&there);
	}
	globfree(&files);
	raw.len = 0;
	buffer_text(&raw, TEXT("To: "));
	for (unsigned i = 0; i < 500000; i++)
		buffer_text(&raw, TEXT("a:"));
	buffer_text(&raw, TEXT("\n\nx"));
	int status = report_mime_read_apart(buffer_view(&raw), &there);
	assert_true(status == 1 ? there.count == 0 : status == 0 && there.count == 2);
	report_mail_free(&there);
	buffer_free(&raw);
}

/* Whatever a mail says, what goes to the database is JSON of bounded length. */
static void account_is_bounded(void **state)
{
	(void)state;
	struct buffer raw = {0}, out = {0};
	struct report_mail mail;
	struct report report;
	buffer_text(&raw, TEXT("From: MAILER-DAEMON\nSubject: "));
	for (unsigned i = 0; i < 100000; i++)
		buffer_char(&raw, i % 7 ? 'x' : '"');
	buffer_text(&raw, TEXT("\nContent-Type: message/delivery-status\n\n"));
	for (unsigned i = 0; i < 100; i++)
		buffer_format(
			&raw,
			"\nFinal-Recipient: rfc822; u%u@example.net\nStatus: 5.1.1\nDiagnostic-Code: smtp; %02000u\n",
			i, i);
	report_mime_read(buffer_view(&raw), &mail);
	report_read(&mail, false, &report);
	report_account(&report, TEXT("b+x@return.example.com"), "it is a test", TEXT(""), TEXT(""), &out);
	assert_true(out.len < 8192);
	assert_true(text_search_fold(buffer_view(&out), TEXT("\"recipients\":100")));
	report_free(&report);
	report_mail_free(&mail);
	buffer_free(&raw);
	buffer_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden), cmocka_unit_test(unsubscribe_address),
		cmocka_unit_test(codes),  cmocka_unit_test(addresses),
		cmocka_unit_test(stages), cmocka_unit_test(settle),
		cmocka_unit_test(bounds), cmocka_unit_test(account_is_bounded),
		cmocka_unit_test(apart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
