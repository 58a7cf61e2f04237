/* Delivery status: the fields of RFC 3464 in their own part or, as some servers write them, within the notice; else what
 * the notice says in words. */

#include "common/classify.h"

#include "bouncer/report_internal.h"
#include "bouncer/report_words.h"

/* "smtp; 550 5.1.1 …" and "rfc822; a@b": without the type. */
static struct text without_type(struct text value)
{
	size_t end = text_find(value, ';');
	if (end == SIZE_MAX || text_find(text_head(value, end), ' ') != SIZE_MAX)
		return value;
	return text_trim(text_from(value, end + 1));
}

static struct text address_of(struct text value)
{
	struct text bare = without_type(value), rest = bare, found = report_words_address(&rest);
	/* RFC 6533 and quoted local parts have more than a reader of words expects: then it is taken as it is. */
	if (found.len && !text_starts(bare, TEXT("\"")))
		return found;
	if (text_starts(bare, TEXT("<")) && text_ends(bare, TEXT(">")))
		bare = text_head(text_from(bare, 1), bare.len - 2);
	return text_find(bare, '@') == SIZE_MAX ? (struct text){0} : bare;
}

static struct text first_word(struct text t)
{
	size_t end = 0;
	while (end < t.len && t.ptr[end] != ' ' && t.ptr[end] != ';' && t.ptr[end] != '(')
		end++;
	return text_head(t, end);
}

/* Fields about one recipient (RFC 3464 section 2.3). */
struct group {
	struct text address, original, action, status, diagnostic, relay;
	bool any;
};

static void take_field(const struct report_field *field, struct group *g)
{
	const struct {
		const char *name;
		struct text *into, value;
	} fields[] = {
		{"Final-Recipient", &g->address, address_of(field->value)},
		{"Original-Recipient", &g->original, address_of(field->value)},
		{"Action", &g->action, first_word(field->value)},
		{"Status", &g->status, classify_enhanced(field->value)},
		{"Diagnostic-Code", &g->diagnostic, without_type(field->value)},
		{"Remote-MTA", &g->relay, first_word(without_type(field->value))},
	};
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
		if (!text_equal_fold(field->name, text_of(fields[i].name)))
			continue;
		/* Of two diagnostics the longer one says more. */
		if (fields[i].value.len &&
		    (fields[i].into != &g->diagnostic || fields[i].value.len > g->diagnostic.len))
			*fields[i].into = fields[i].value;
		g->any |= i <= 1;
		return;
	}
}

/* RFC 3464 section 2.3.3; where nothing is said, the status' class says it. */
static bool is_failure(struct text action, struct text status)
{
	return action.len ? text_equal_fold(action, TEXT("failed")) : !text_starts(status, TEXT("2."));
}

static void end_group(struct group *g, struct report *out)
{
	struct report_recipient *r = NULL;
	if (g->any && (g->action.len || g->status.len || g->diagnostic.len))
		r = report_add_recipient(out, g->address.len ? g->address : g->original);
	if (r && (!r->failed || g->diagnostic.len > r->said.len)) {
		r->original = g->original;
		r->failed |= is_failure(g->action, g->status);
		r->status = g->status.len ? g->status : r->status;
		r->said = text_head(g->diagnostic, REPORT_MAX_SAID);
		r->relay = g->relay.len ? g->relay : r->relay;
	}
	*g = (struct group){0};
}

/* Groups end with an empty line or where the next recipient begins; some servers leave out the former. */
static void read_fields(struct text rest, struct report *out)
{
	struct group g = {0};
	struct report_field field;
	while (report_field_next(&rest, &field)) {
		bool next = text_equal_fold(field.name, TEXT("Final-Recipient")) && g.address.len;
		if (next || (field.blank && g.any))
			end_group(&g, out);
		if (field.name.len)
			take_field(&field, &g);
		if (text_equal_fold(field.name, TEXT("Reporting-MTA")))
			out->reporter = without_type(field.value);
	}
	end_group(&g, out);
}

static void add_line(struct text line, struct buffer *words)
{
	line = text_trim(line);
	if (line.len && words->len)
		buffer_char(words, ' ');
	buffer_text(words, line);
}

/* The notice on one line, up to where the returned message begins. */
static void add_notice(struct text text, struct buffer *words)
{
	struct text rest = text_head(text, REPORT_MAX_NOTICE), line;
	while (rest.ptr && text_take(&rest, '\n', &line)) {
		if (words->len && report_words_is_original(line))
			return;
		add_line(line, words);
	}
}

static void read_notice(const struct report_mail *mail, struct report *out)
{
	for (size_t i = 0; i < mail->count; i++)
		if (mail->piece[i].kind == PIECE_NOTICE)
			add_notice(mail->piece[i].text, &out->words);
	for (size_t i = 0; i < mail->count && !out->words.len; i++)
		if (mail->piece[i].kind == PIECE_HTML) {
			report_words_of_html(text_head(mail->piece[i].text, REPORT_MAX_NOTICE), &out->plain);
			add_notice(buffer_view(&out->plain), &out->words);
		}
}

/* Said without a word: nothing but codes and signs. */
static bool is_poor(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (!((t.ptr[i] >= '0' && t.ptr[i] <= '9') || t.ptr[i] == ' ' || t.ptr[i] == '.' || t.ptr[i] == ';' ||
		      t.ptr[i] == ':' || t.ptr[i] == '-'))
			return false;
	return true;
}

#define MAX_ADDRESSES 4096 /* bytes of a field that are compared with each address of a notice */

/* The first address that is neither the mail's sender nor whom it was sent to. */
static struct text failed_address(const struct report_mail *mail, struct text words)
{
	struct text to = text_head(report_mail_first(mail, PIECE_HEADER, "To"), MAX_ADDRESSES);
	struct text from = text_head(report_mail_first(mail, PIECE_HEADER, "From"), MAX_ADDRESSES);
	for (struct text found; (found = report_words_address(&words)).len;)
		if (!text_search_fold(to, found) && !text_search_fold(from, found))
			return found;
	return (struct text){0};
}

#define MAX_ABOUT (2 * REPORT_MAX_SAID) /* bytes of a notice about one recipient of several */

/* Of several recipients each has the words behind its address, up to the next one's; none when it is not mentioned. */
static struct text words_about(const struct report *report, size_t i, struct text words)
{
	if (report->count == 1)
		return words;
	struct text address = report->recipient[i].address;
	size_t at = address.len ? text_search(words, address) : SIZE_MAX;
	if (at == SIZE_MAX)
		return (struct text){0};
	struct text about = text_head(text_from(words, at), MAX_ABOUT);
	for (size_t k = 0; k < report->count; k++) {
		struct text its = report->recipient[k].address;
		size_t other = k != i && its.len ? text_search(text_from(about, 1), its) : SIZE_MAX;
		if (other != SIZE_MAX)
			about = text_head(about, 1 + other);
	}
	return about;
}

static void read_words(const struct report_mail *mail, struct text words, struct report *out)
{
	/* Exim's and Google's. */
	struct text failed = report_mail_first(mail, PIECE_HEADER, "X-Failed-Recipients"), found;
	while ((found = report_words_address(&failed)).len)
		report_add_recipient(out, found);
	if (!out->count)
		report_add_recipient(out, failed_address(mail, words));
	for (size_t i = 0; i < out->count; i++) {
		struct text about = words_about(out, i, words);
		out->recipient[i].failed = true;
		out->recipient[i].status = classify_enhanced(about);
		out->recipient[i].stage = report_words_stage(text_head(about, REPORT_MAX_SAID * 2));
		out->recipient[i].said = text_head(report_words_said(about), REPORT_MAX_SAID);
	}
}

static const char *const expired_words[] = {"retry timeout exceeded",
					    "retry time not reached",
					    "message expired",
					    "delivery time expired",
					    "has been in the queue too long",
					    "cannot send message for",
					    "giving up",
					    "expired after",
					    NULL};

/* What all have in common, whichever way they were found. */
static void complete(struct report_recipient *r, struct text notice)
{
	size_t at = 0;
	if (is_poor(r->said) && notice.len)
		r->said = text_head(report_words_said(notice), REPORT_MAX_SAID);
	r->code = report_words_code(r->said, &at);
	if (!r->status.len)
		r->status = classify_enhanced(r->said);
	if (!r->stage.len)
		r->stage = report_words_stage(r->said);
	if (!r->stage.len)
		r->stage = report_words_stage(text_head(notice, REPORT_MAX_SAID * 2));
	r->expired = text_starts(r->status, TEXT("4.")) && report_words_any(r->said, expired_words);
}

static const char *const delay_words[] = {"will be retried",
					  "still being retried",
					  "will keep trying",
					  "will continue to try",
					  "do not need to resend",
					  "no need to resend",
					  "delivery has been delayed",
					  "message is delayed",
					  "warning message only",
					  "delivery attempts will continue",
					  NULL};

void report_read_delivery(const struct report_mail *mail, struct report *out)
{
	static const enum report_piece_kind fields_in[] = {PIECE_STATUS, PIECE_NOTICE};
	for (size_t k = 0; k < 2 && !out->count; k++)
		for (size_t i = 0; i < mail->count; i++)
			if (mail->piece[i].kind == fields_in[k])
				read_fields(mail->piece[i].text, out);
	read_notice(mail, out);
	struct text words = buffer_view(&out->words);
	bool by_words = !out->count;
	if (by_words)
		read_words(mail, words, out);
	out->kind = REPORT_PROGRESS;
	if (by_words && report_words_any(words, delay_words))
		return;
	for (size_t i = 0; i < out->count; i++) {
		complete(&out->recipient[i], words_about(out, i, words));
		if (out->recipient[i].failed)
			out->kind = REPORT_BOUNCE;
	}
}

static const char *const bounce_senders[] = {"mailer-daemon", "postmaster@", "mail delivery s", "mailer daemon",
					     "mail-daemon",   "maildaemon",  "mail-deliver",    NULL};
static const char *const bounce_subjects[] = {"undeliver",
					      "delivery status notification",
					      "returned mail",
					      "failure notice",
					      "delivery fail",
					      "delivery has failed",
					      "mail delivery failed",
					      "non-delivery",
					      "nondeliverable",
					      "delivery problem",
					      "mail delivery status",
					      "could not be delivered",
					      "error sending your mail",
					      "mail could not",
					      "unzustellbar",
					      "delivery error",
					      "message not delivered",
					      "mail system error",
					      "\xe9\x80\x80\xe4\xbf\xa1",
					      NULL};

static const char *const bounce_notices[] = {
	"could not be delivered to:", "created automatically by mail delivery software",
	"did not reach the following recipient", NULL};

static bool begins_like_bounce(const struct report_mail *mail)
{
	for (size_t i = 0; i < mail->count; i++)
		if (mail->piece[i].kind == PIECE_NOTICE)
			return report_words_any(text_head(mail->piece[i].text, REPORT_MAX_SAID), bounce_notices);
	return false;
}

/* A person or a program that answers: its words may quote a bounce, or speak of a delivery of its own. */
static bool is_answer(const struct report_mail *mail, const struct report *report)
{
	return text_starts_fold(report_mail_first(mail, PIECE_HEADER, "Auto-Submitted"), TEXT("auto-replied")) ||
	       text_starts_fold(report->subject, TEXT("re:")) || text_starts_fold(report->subject, TEXT("aw:"));
}

bool report_looks_like_bounce(const struct report_mail *mail, const struct report *report)
{
	if (report_mail_first(mail, PIECE_HEADER, "X-Failed-Recipients").len ||
	    report_words_any(report->from, bounce_senders))
		return true;
	return !is_answer(mail, report) &&
	       (report_words_any(report->subject, bounce_subjects) || begins_like_bounce(mail));
}
