#include "common/classify.h"
#include "common/json.h"

#include "bouncer/report_event.h"

#define MAX_WORD     255 /* bytes of an address or another short text that are kept */
#define MAX_ACCOUNTS 8   /* recipients in an account */

static const struct {
	const char *type, *source;
} events[REPORT_KIND_MAX] = {
	[REPORT_BOUNCE] = {"message.bounced", "dsn"},
	[REPORT_COMPLAINT] = {"message.complained", "arf"},
	[REPORT_AUTOREPLY] = {"message.autoreplied", "mail"},
	[REPORT_UNSUBSCRIBE] = {"recipient.unsubscribed", "mail"},
};

const char *report_event_type(enum report_kind kind)
{
	return events[kind].type;
}

/* Left out when empty. */
static void add(struct json *json, const char *key, struct text value)
{
	if (value.len)
		json_string(json, key, value);
}

static void add_word(struct json *json, const char *key, struct text value)
{
	add(json, key, text_head(value, MAX_WORD));
}

static void add_bounce(struct json *json, const struct report_recipient *claim, const struct verdict *verdict,
		       struct text provider)
{
	if (claim->code)
		json_int(json, "smtp_code", claim->code);
	add(json, "enhanced_code", claim->status);
	add(json, "remote_enhanced_code", classify_enhanced(claim->said));
	add(json, "stage", claim->stage);
	add(json, "response", claim->code ? claim->said : (struct text){0});
	add(json, "reason", claim->said);
	json_bool(json, "truncated", claim->said.len == REPORT_MAX_SAID);
	add_word(json, "remote_mx", claim->relay);
	add(json, "provider", provider);
	add(json, "bounce_class", text_of(bounce_class_words[verdict->class]));
	add(json, "bounce_category", text_of(bounce_category_words[verdict->category]));
	add(json, "bounce_scope", text_of(bounce_scope_words[verdict->scope]));
	add(json, "bounce_rule", text_of(verdict->rule));
}

static void add_detail(struct json *json, const struct report *report)
{
	json_open(json, "detail", '{');
	add_word(json, "feedback_type", report->feedback_type);
	add_word(json, "reporter", report->reporter);
	if (report->kind == REPORT_AUTOREPLY)
		add_word(json, "subject", report->subject);
	json_close(json, '}');
}

void report_event(const struct report *report, const struct report_subject *subject,
		  const struct report_recipient *claim, const struct verdict *verdict, struct text provider,
		  struct buffer *out)
{
	struct json json = {.out = out};
	json_open(&json, NULL, '{');
	add(&json, "customer", subject->customer);
	add(&json, "host", subject->host);
	add(&json, "queue_id", subject->queue_id);
	add(&json, "event_id", subject->event_id);
	add(&json, "recipient", subject->recipient);
	add(&json, "type", text_of(events[report->kind].type));
	add(&json, "source_kind", report->feedback_type.len ? TEXT("arf") : text_of(events[report->kind].source));
	if (claim)
		add_bounce(&json, claim, verdict, provider);
	add_detail(&json, report);
	json_close(&json, '}');
}

static void add_accounts(struct json *json, const struct report *report)
{
	json_int(json, "recipients", (int64_t)(report->count + report->left_out));
	json_open(json, "said", '[');
	for (size_t i = 0; i < report->count && i < MAX_ACCOUNTS; i++) {
		const struct report_recipient *r = &report->recipient[i];
		json_open(json, NULL, '{');
		add_word(json, "recipient", r->address);
		add_word(json, "status", r->status);
		add_word(json, "reason", r->said);
		json_close(json, '}');
	}
	json_close(json, ']');
}

void report_account(const struct report *report, struct text sent_to, const char *why, struct text customer,
		    struct text queue_id, struct buffer *out)
{
	struct json json = {.out = out};
	json_open(&json, NULL, '{');
	add(&json, "customer", customer);
	add(&json, "queue_id", queue_id);
	json_string(&json, "why", text_of(why));
	json_string(&json, "kind", text_of(report_kind_words[report->kind]));
	add_word(&json, "sent_to", sent_to);
	add_word(&json, "from", report->from);
	add_word(&json, "subject", report->subject);
	add_word(&json, "message_id", report->message_id);
	add_word(&json, "feedback_type", report->feedback_type);
	add_word(&json, "reporter", report->reporter);
	add_accounts(&json, report);
	json_close(&json, '}');
}
