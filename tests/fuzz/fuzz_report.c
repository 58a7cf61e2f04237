/* Any mail at all, from its bytes to what goes to the database, GMime included. */

#include <stdlib.h>
#include <string.h>

#include "bouncer/report_event.h"
#include "bouncer/report_mime.h"
#include "bouncer/report_origin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_within(const struct report_mail *mail, const struct report *report, struct text t)
{
	if (!t.len ||
	    (report->words.ptr && t.ptr >= report->words.ptr && t.ptr + t.len <= report->words.ptr + report->words.len))
		return true;
	for (size_t i = 0; i < mail->count; i++) {
		struct text piece = mail->piece[i].text;
		if (piece.ptr && t.ptr >= piece.ptr && t.ptr + t.len <= piece.ptr + piece.len)
			return true;
	}
	return false;
}

static void check(const struct report_mail *mail, const struct report *report)
{
	if (report->kind >= REPORT_KIND_MAX || report->count > REPORT_MAX_RECIPIENTS)
		abort();
	for (size_t i = 0; i < report->count; i++) {
		const struct report_recipient *r = &report->recipient[i];
		if (r->said.len > REPORT_MAX_SAID || (r->code && (r->code < 400 || r->code > 599)))
			abort();
		if (!is_within(mail, report, r->address) || !is_within(mail, report, r->said) ||
		    !is_within(mail, report, r->status))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct report_keys keys = {.key = {{"key", 3}}, .count = 1, .host = {"return.example.com", 18}};
	struct report_mail mail;
	struct report report;
	struct report_origin origin;
	struct buffer account = {0};
	report_mime_read(text_at(data, size), &mail);
	for (int unsubscribes = 0; unsubscribes < 2; unsubscribes++) {
		report_read(&mail, unsubscribes, &report);
		check(&mail, &report);
		account.len = 0;
		report_account(&report, TEXT("x"), "fuzz", TEXT(""), TEXT(""), &account);
		if (account.len > 32768)
			abort();
		report_free(&report);
	}
	if (!report_origin_within(&keys, &mail, &origin) && !origin.path.queue_id[0])
		abort();
	report_mail_free(&mail);
	buffer_free(&account);
	return 0;
}
