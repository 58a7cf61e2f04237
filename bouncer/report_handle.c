#include <time.h>

#include "common/classify.h"
#include "common/digest.h"
#include "common/encode.h"
#include "common/event_id.h"
#include "common/log.h"

#include "bouncer/report_event.h"
#include "bouncer/report_handle.h"
#include "bouncer/report_store.h"

/* How long the log of a message is waited for before Postfix must keep the report. */
#define MOMENTS   10
#define MOMENT_MS 200

struct work {
	const struct report_settings *settings;
	const struct report_mail *mail;
	struct text sent_to;
	struct report report;
	struct report_origin origin;
	struct report_message message;
	struct rules *rules;
	size_t fresh, known, nobody; /* events stored now, stored before; recipients that are none of the message's */
};

static int not_now(const struct work *w, const char *why)
{
	log_warning("to=<%.*s>, kind=%s: %s; Postfix keeps the mail and tries again", TEXT_ARG(w->sent_to),
		    report_kind_words[w->report.kind], why);
	return -1;
}

static int answer_of(const struct work *w, enum pg_status status)
{
	return status == PG_OK ? 0 : not_now(w, pg_error(w->settings->pg));
}

/* Changes nothing but the list of such mail. */
static int set_aside(struct work *w, const char *why)
{
	struct buffer account = {0};
	bool token = w->message.customer_known;
	report_account(&w->report, w->sent_to, why, text_of(w->message.customer),
		       token ? text_of(w->origin.path.queue_id) : TEXT(""), &account);
	int status = answer_of(w, report_store_account(w->settings->pg, &account));
	buffer_free(&account);
	if (status == 0)
		log_info("to=<%.*s>, kind=%s, action=set-aside: %s", TEXT_ARG(w->sent_to),
			 report_kind_words[w->report.kind], why);
	return status;
}

/* What makes an event the same one: message, recipient, type. */
static void identify(const struct work *w, struct text recipient, char out[EVENT_ID_SIZE])
{
	unsigned char digest[32];
	struct buffer customer = {0}, node = {0}, material = {0};
	encode_hex(text_at(w->origin.path.customer, RETURN_PATH_CUSTOMER), &customer);
	encode_hex(text_at(w->origin.path.node, RETURN_PATH_NODE), &node);
	event_id_material(&(struct event_identity){.host = buffer_view(&node),
						   .instance = buffer_view(&customer),
						   .queue_id = text_of(w->origin.path.queue_id),
						   .recipient = recipient,
						   .type = text_of(report_event_type(w->report.kind))},
			  &material);
	digest_sha256(buffer_view(&material), digest);
	event_id_print(digest, out);
	buffer_free(&customer);
	buffer_free(&node);
	buffer_free(&material);
}

static void judge(struct work *w, const struct report_recipient *claim, struct verdict *verdict)
{
	if (!w->rules)
		w->rules = w->settings->rules();
	classify(w->rules,
		 &(struct reply_facts){.words = claim->said,
				       .code = claim->code,
				       .enhanced = claim->status,
				       .stage = claim->stage,
				       .relay = claim->relay,
				       .final = true,
				       .expired = claim->expired},
		 verdict);
}

/* CLAIM NULL: an event about no one in particular. */
static int store(struct work *w, const struct report_recipient *claim, struct text recipient)
{
	char id[EVENT_ID_SIZE];
	struct verdict verdict = {.rule = ""};
	struct buffer event = {0};
	bool fresh, bounce = w->report.kind == REPORT_BOUNCE;
	identify(w, recipient, id);
	if (bounce)
		judge(w, claim, &verdict);
	const struct report_subject subject = {.customer = text_of(w->message.customer),
					       .host = text_of(w->message.host),
					       .queue_id = text_of(w->origin.path.queue_id),
					       .event_id = text_of(id),
					       .recipient = recipient};
	report_event(&w->report, &subject, bounce ? claim : NULL, &verdict,
		     bounce ? classify_provider(claim->relay, claim->said) : TEXT(""), &event);
	int status = answer_of(w, report_store_event(w->settings->pg, &event, &fresh));
	buffer_free(&event);
	if (status == 0)
		*(fresh ? &w->fresh : &w->known) += 1;
	return status;
}

static struct text settled(const struct work *w, size_t i)
{
	return report_settle(text_of(w->message.match[i][1]), text_of(w->message.match[i][0]),
			     text_of(w->message.only_recipient));
}

/* Is everybody told whom the report is about? While the message is in the queue, another recipient may still come. */
static bool is_settled(const struct work *w)
{
	bool all = w->report.count > 0;
	for (size_t i = 0; i < w->report.count; i++)
		all &= w->message.match[i][0] || w->message.match[i][1];
	return all || !w->message.later;
}

/* A bounce counts for those who failed; the other kinds for whoever is named, or for nobody in particular. */
static int store_all(struct work *w)
{
	int status = 0;
	bool bounce = w->report.kind == REPORT_BOUNCE;
	for (size_t i = 0; i < w->report.count && status == 0; i++) {
		struct text recipient = settled(w, i);
		if (bounce && !w->report.recipient[i].failed)
			continue;
		if (recipient.len)
			status = store(w, &w->report.recipient[i], recipient);
		else
			w->nobody++;
	}
	if (status == 0 && !bounce && w->fresh + w->known == 0)
		status = store(w, NULL, text_of(w->message.only_recipient));
	return status;
}

static int conclude(struct work *w)
{
	int status = store_all(w);
	if (status == 0 && w->nobody && w->fresh + w->known == 0)
		status = set_aside(w, "it is about nobody whom the message went to");
	else if (status == 0)
		log_info("to=<%.*s>, kind=%s, customer=%s, message=%s, events=%zu, repeated=%zu", TEXT_ARG(w->sent_to),
			 report_kind_words[w->report.kind], w->message.customer, w->origin.path.queue_id, w->fresh,
			 w->known);
	return status;
}

/* Postfix's own notice of a bounce comes before the bouncer has read of it: a moment later it will have. */
static enum pg_status find(struct work *w)
{
	static const struct timespec moment = {0, MOMENT_MS * 1000000};
	enum pg_status status = PG_OK;
	for (int i = 0; i < MOMENTS; i++) {
		report_message_free(&w->message);
		status = report_store_find(w->settings->pg, &w->origin.path, &w->report, &w->message);
		if (status != PG_OK || is_settled(w) || !report_event_type(w->report.kind))
			break;
		nanosleep(&moment, NULL);
	}
	return status;
}

static int handle_verified(struct work *w)
{
	enum pg_status status = find(w);
	if (status != PG_OK)
		return answer_of(w, status);
	if (!w->message.customer_known)
		return set_aside(w, "its token is of no customer");
	if (!report_event_type(w->report.kind))
		return set_aside(w,
				 w->mail->count ? "it says nothing that makes an event" : "its parts cannot be read");
	if (!is_settled(w))
		return not_now(w, "the log of its message is not read to the end");
	if (!w->message.known)
		return set_aside(w, "its message is not known, or no longer");
	return conclude(w);
}

/* Delayed, delivered, "not spam": true, and no news. */
static bool is_no_news(enum report_kind kind)
{
	return kind == REPORT_PROGRESS || kind == REPORT_FEEDBACK;
}

static const char *verify(struct work *w, const char *const *addresses, size_t count)
{
	const char *why = "it has no envelope recipient";
	for (size_t i = 0; i < count; i++) {
		w->sent_to = text_of(addresses[i]);
		why = report_origin_of_address(&w->settings->keys, w->sent_to, &w->origin);
		if (!why)
			break;
	}
	return why;
}

int report_handle(const struct report_settings *settings, const struct report_mail *mail, const char *const *addresses,
		  size_t count)
{
	struct work w = {.settings = settings, .mail = mail};
	int status = 0;
	const char *why = verify(&w, addresses, count);
	report_read(mail, !why && w.origin.unsubscribes && mail->count > 0, &w.report);
	if (why && w.report.feedback_type.len)
		why = report_origin_within(&settings->keys, mail, &w.origin);
	if (is_no_news(w.report.kind))
		log_info("to=<%.*s>, kind=%s, action=none", TEXT_ARG(w.sent_to), report_kind_words[w.report.kind]);
	else
		status = why ? set_aside(&w, why) : handle_verified(&w);
	rules_free(&w.rules);
	report_message_free(&w.message);
	report_free(&w.report);
	return status;
}
