#include "bouncer/report_internal.h"
#include "bouncer/report_words.h"

const char *const report_kind_words[REPORT_KIND_MAX] = {
	[REPORT_OTHER] = "other",
	[REPORT_BOUNCE] = "bounce",
	[REPORT_PROGRESS] = "progress",
	[REPORT_COMPLAINT] = "complaint",
	[REPORT_FEEDBACK] = "feedback",
	[REPORT_AUTOREPLY] = "autoreply",
	[REPORT_UNSUBSCRIBE] = "unsubscribe",
};

bool report_has_piece(const struct report_mail *mail, enum report_piece_kind kind)
{
	for (size_t i = 0; i < mail->count; i++)
		if (mail->piece[i].kind == kind)
			return true;
	return false;
}

struct report_recipient *report_add_recipient(struct report *out, struct text address)
{
	for (size_t i = 0; i < out->count; i++)
		if (address.len && text_equal_fold(out->recipient[i].address, address))
			return &out->recipient[i];
	if (out->count == REPORT_MAX_RECIPIENTS) {
		out->left_out++;
		return NULL;
	}
	out->recipient[out->count] = (struct report_recipient){.address = address};
	return &out->recipient[out->count++];
}

static struct text without_brackets(struct text t)
{
	if (text_starts(t, TEXT("<")) && text_ends(t, TEXT(">")))
		return text_head(text_from(t, 1), t.len - 2);
	return t;
}

/* RFC 3834 section 5: any value but "no". */
static bool says_automatic(struct text value)
{
	size_t end = 0;
	while (end < value.len && value.ptr[end] != ';' && value.ptr[end] != ' ' && value.ptr[end] != '(')
		end++;
	return end && !text_equal_fold(text_head(value, end), TEXT("no"));
}

/* Fields of programs that answer by themselves; VALUES NULL: any. */
static const struct {
	const char *field;
	const char *const *values;
} automatic_fields[] = {
	{"X-Autoreply", NULL},
	{"X-Autorespond", NULL},
	{"X-Autoresponder", NULL},
	{"X-Auto-Reply-From", NULL},
	{"X-MS-Exchange-Inbox-Rules-Loop", NULL},
	{"X-Mail-Autoreply", NULL},
	{"X-Vacation", NULL},
	{"Precedence", (const char *const[]){"auto_reply", "auto-reply", NULL}},
	{"X-Precedence", (const char *const[]){"auto_reply", "auto-reply", NULL}},
};

/* Subjects with which such programs begin. */
static const char *const automatic_subjects[] = {
	"auto:",
	"autoreply",
	"auto-reply",
	"auto reply",
	"automatic reply",
	"automatic response",
	"auto response",
	"out of office",
	"out of the office",
	"vacation",
	"abwesenheit",
	"automatische antwort",
	"r\xc3\xa9ponse automatique",
	"absence du bureau",
	"respuesta autom\xc3\xa1tica",
	"fuera de la oficina",
	"risposta automatica",
	"fuori sede",
	"automatisch antwoord",
	"resposta autom\xc3\xa1tica",
	"automatyczna odpowied\xc5\xba",
	"\xe8\x87\xaa\xe5\x8a\xa8\xe7\xad\x94\xe5\xa4\x8d",
	"\xe8\x87\xaa\xe5\x8b\x95\xe5\xbf\x9c\xe7\xad\x94",
};

static bool is_automatic(const struct report_mail *mail, struct text subject)
{
	if (says_automatic(report_mail_first(mail, PIECE_HEADER, "Auto-Submitted")))
		return true;
	for (size_t i = 0; i < sizeof automatic_fields / sizeof *automatic_fields; i++) {
		struct text value = report_mail_first(mail, PIECE_HEADER, automatic_fields[i].field);
		if (value.len && (!automatic_fields[i].values || report_words_any(value, automatic_fields[i].values)))
			return true;
	}
	for (size_t i = 0; i < sizeof automatic_subjects / sizeof *automatic_subjects; i++)
		if (text_starts_fold(subject, text_of(automatic_subjects[i])))
			return true;
	return false;
}

/* What a mailto: of List-Unsubscribe asks for (RFC 2369 section 3.2), as mail programs send it. */
static bool asks_to_unsubscribe(struct text subject)
{
	return text_equal_fold(subject, TEXT("unsubscribe")) || text_starts_fold(subject, TEXT("unsubscribe "));
}

/* The last Message-ID: a feedback report may carry its own and others before the returned message's. */
static struct text original_message_id(const struct report_mail *mail)
{
	struct text found = report_mail_last(mail, PIECE_RETURNED, "Message-ID");
	return without_brackets(found.len ? found : report_mail_first(mail, PIECE_HEADER, "In-Reply-To"));
}

static enum report_kind without_fields(const struct report_mail *mail, bool unsubscribes, struct report *out)
{
	if (report_looks_like_bounce(mail, out)) {
		report_read_delivery(mail, out);
		return out->kind;
	}
	if (unsubscribes || asks_to_unsubscribe(out->subject))
		return REPORT_UNSUBSCRIBE;
	return is_automatic(mail, out->subject) ? REPORT_AUTOREPLY : REPORT_OTHER;
}

/* Whoever answers is the one that the message went to, or is known by that name. */
static void add_sender(struct report *out)
{
	struct text rest = out->from, address = report_words_address(&rest);
	if (address.len)
		report_add_recipient(out, address);
}

void report_read(const struct report_mail *mail, bool unsubscribes, struct report *out)
{
	*out = (struct report){
		.from = report_mail_first(mail, PIECE_HEADER, "From"),
		.subject = report_mail_first(mail, PIECE_HEADER, "Subject"),
		.message_id = original_message_id(mail),
	};
	if (report_has_piece(mail, PIECE_FEEDBACK)) {
		report_read_feedback(mail, out);
		return;
	}
	if (report_has_piece(mail, PIECE_STATUS))
		report_read_delivery(mail, out);
	if (out->kind == REPORT_OTHER)
		out->kind = without_fields(mail, unsubscribes, out);
	if (out->kind == REPORT_AUTOREPLY || out->kind == REPORT_UNSUBSCRIBE)
		add_sender(out);
}

void report_free(struct report *report)
{
	buffer_free(&report->words);
	buffer_free(&report->plain);
	*report = (struct report){0};
}

struct text report_settle(struct text match_of_original, struct text match_of_address, struct text only)
{
	if (match_of_original.len)
		return match_of_original;
	return match_of_address.len ? match_of_address : only;
}
