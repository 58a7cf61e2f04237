/* Feedback reports: RFC 5965; the same from recipients of a CFBL-Address, RFC 9477. */

#include "bouncer/report_internal.h"
#include "bouncer/report_words.h"

/* RFC 5965 section 7.3 and IANA's "Feedback Report Type Values"; a type that is not here is a complaint like "other". */
static const struct {
	const char *type;
	enum report_kind kind;
} types[] = {
	{"abuse", REPORT_COMPLAINT},         {"fraud", REPORT_COMPLAINT},     {"virus", REPORT_COMPLAINT},
	{"other", REPORT_COMPLAINT},         {"not-spam", REPORT_FEEDBACK},   {"auth-failure", REPORT_FEEDBACK},
	{"dmarc", REPORT_FEEDBACK},          {"opt-out", REPORT_UNSUBSCRIBE}, {"opt-out-list", REPORT_UNSUBSCRIBE},
	{"miscategorized", REPORT_FEEDBACK},
};

static enum report_kind kind_of(struct text type)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (text_equal_fold(type, text_of(types[i].type)))
			return types[i].kind;
	return REPORT_COMPLAINT;
}

/* Whom it went to: in the report's own fields, or where a provider left it in the returned message. */
static const struct {
	enum report_piece_kind kind;
	const char *field;
} recipients[] = {
	{PIECE_FEEDBACK, "Original-Rcpt-To"},
	{PIECE_FEEDBACK, "Removal-Recipient"},
	{PIECE_RETURNED, "X-Original-To"},
	{PIECE_RETURNED, "Delivered-To"},
	{PIECE_RETURNED, "X-HmXmrOriginalRecipient"},
};

static void add_recipients(const struct report_mail *mail, enum report_piece_kind kind, const char *name,
			   struct report *out)
{
	struct report_search search = {0};
	for (struct text value; report_mail_next(mail, kind, name, &search, &value);) {
		struct text address = report_words_address(&value);
		if (address.len)
			report_add_recipient(out, address);
	}
}

void report_read_feedback(const struct report_mail *mail, struct report *out)
{
	out->feedback_type = report_mail_first(mail, PIECE_FEEDBACK, "Feedback-Type");
	out->reporter = report_mail_first(mail, PIECE_FEEDBACK, "Reporting-MTA");
	if (!out->reporter.len)
		out->reporter = report_mail_first(mail, PIECE_FEEDBACK, "User-Agent");
	out->kind = kind_of(out->feedback_type);
	for (size_t i = 0; i < sizeof recipients / sizeof *recipients && !out->count; i++)
		add_recipients(mail, recipients[i].kind, recipients[i].field, out);
	if (!out->count)
		add_recipients(mail, PIECE_RETURNED, "To", out);
}
