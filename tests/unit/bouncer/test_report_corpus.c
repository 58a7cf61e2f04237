/* Real bounces, complaints and automatic replies with what another project's parser found in them. The files lie outside
 * of the project (../shared/corpus/bounces); without them there is nothing to check. Floors are what is reached, rounded
 * down. What is missed: eleven warnings of a delay, which that parser calls bounces; transcripts about several recipients;
 * refusals of mailing lists. Its own codes (x.0.0 and x.y.9xx, which no mail has) are left out. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/classify.h"

#include "bouncer/report.h"
#include "bouncer/report_mime.h"

#define FOLDER "../shared/corpus/bounces"

enum column { FILE_NAME, NUMBER, STATUS, REPLY_CODE, REASON, HARD, FEEDBACK, COLUMNS };

static struct counts {
	size_t bounces, bounce_kind, address, statuses, status, codes, code, others, other_kind;
} counts;

static void read_file(const char *name, struct buffer *out)
{
	char path[512], chunk[4096];
	snprintf(path, sizeof path, FOLDER "/%s", name);
	FILE *file = fopen(path, "rb");
	out->len = 0;
	for (size_t got; file && (got = fread(chunk, 1, sizeof chunk, file)) > 0;)
		buffer_add(out, chunk, got);
	if (file)
		fclose(file);
}

/* A status that stands in the mail: the labels have some of their own. */
static bool is_real(struct text status)
{
	size_t dot = text_rfind(status, '.');
	return status.len && !text_ends(status, TEXT(".0.0")) && !(status.len - dot == 4 && status.ptr[dot + 1] == '9');
}

static enum report_kind wanted_kind(const struct text row[COLUMNS])
{
	if (text_equal(row[REASON], TEXT("vacation")))
		return REPORT_AUTOREPLY;
	if (text_equal(row[FEEDBACK], TEXT("opt-out")))
		return REPORT_UNSUBSCRIBE;
	if (text_equal(row[FEEDBACK], TEXT("auth-failure")))
		return REPORT_FEEDBACK;
	return text_equal(row[REASON], TEXT("feedback")) ? REPORT_COMPLAINT : REPORT_BOUNCE;
}

static void count_bounce(const struct text row[COLUMNS], const struct report *report, size_t number)
{
	static const struct report_recipient none;
	char code[12];
	const struct report_recipient *r = number < report->count ? &report->recipient[number] : &none;
	counts.bounces++;
	counts.bounce_kind += report->kind == REPORT_BOUNCE;
	counts.address += r->address.len > 0;
	if (is_real(row[STATUS])) {
		counts.statuses++;
		counts.status +=
			text_equal(r->status, row[STATUS]) || text_equal(classify_enhanced(r->said), row[STATUS]);
	}
	if (row[REPLY_CODE].len) {
		snprintf(code, sizeof code, "%u", r->code);
		counts.codes++;
		counts.code += text_equal(text_of(code), row[REPLY_CODE]);
	}
}

static void count_row(const struct text row[COLUMNS])
{
	char name[256];
	uint64_t number = 1;
	struct buffer raw = {0};
	struct report_mail mail;
	struct report report;
	text_put(row[FILE_NAME], name, sizeof name);
	text_uint(row[NUMBER], 1000, &number);
	read_file(name, &raw);
	report_mime_read(buffer_view(&raw), &mail);
	report_read(&mail, false, &report);
	enum report_kind wanted = wanted_kind(row);
	if (wanted == REPORT_BOUNCE) {
		count_bounce(row, &report, (size_t)number - 1);
	} else {
		counts.others++;
		counts.other_kind += report.kind == wanted;
	}
	report_free(&report);
	report_mail_free(&mail);
	buffer_free(&raw);
}

static void at_least(const char *what, size_t part, size_t whole, double floor)
{
	double share = whole ? (double)part / (double)whole : 0;
	printf("%-34s %3zu of %3zu  %.3f\n", what, part, whole, share);
	if (share < floor)
		fail_msg("%s: %.3f is below %.3f", what, share, floor);
}

static void corpus(void **state)
{
	(void)state;
	struct buffer labels = {0};
	read_file("labels.tsv", &labels);
	struct text rest = buffer_view(&labels), line;
	if (!rest.len)
		skip();
	text_take(&rest, '\n', &line);
	while (rest.ptr && text_take(&rest, '\n', &line)) {
		struct text row[COLUMNS] = {{0}};
		for (size_t i = 0; i < COLUMNS && line.ptr; i++)
			text_take(&line, '\t', &row[i]);
		if (row[FILE_NAME].len)
			count_row(row);
	}
	buffer_free(&labels);
	at_least("bounces told as bounces", counts.bounce_kind, counts.bounces, 0.95);
	at_least("their recipients", counts.address, counts.bounces, 0.95);
	at_least("their status", counts.status, counts.statuses, 0.97);
	at_least("their reply codes", counts.code, counts.codes, 0.93);
	at_least("complaints, replies, opt-outs", counts.other_kind, counts.others, 1.0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(corpus)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
