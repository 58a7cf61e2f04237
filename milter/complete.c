#include <stdio.h>

#include "common/limit.h"

#include "milter/complete.h"

void complete_date(int64_t now_s, char *out)
{
	static const char *const days[] = {"Thu", "Fri", "Sat", "Sun",
					   "Mon", "Tue", "Wed"}; /* 1970-01-01 was the first */
	static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	int64_t year, second = now_s % 86400;
	int month, day;
	limit_date(now_s / 86400, &year, &month, &day);
	snprintf(out, COMPLETE_DATE_SIZE, "%s, %02d %s %04d %02d:%02d:%02d +0000", days[now_s / 86400 % 7], day,
		 months[month - 1], (int)(year % 10000), (int)(second / 3600), (int)(second / 60 % 60),
		 (int)(second % 60));
}

static bool has(const struct fields *fields, struct text name)
{
	return fields_find(fields, name, NULL) > 0;
}

static void add(struct fields *fields, struct text name, struct text value, struct fields *added)
{
	if (fields_add(fields, name, value))
		fields_add(added, name, value);
}

static void add_missing(struct fields *fields, const struct complete_facts *facts, struct fields *added)
{
	if (!has(fields, TEXT("date"))) {
		char date[COMPLETE_DATE_SIZE];
		complete_date(facts->now_s, date);
		add(fields, TEXT("Date"), text_of(date), added);
	}
	if (!has(fields, TEXT("message-id"))) {
		struct buffer id = {0};
		buffer_format(&id, "<%.*s.%.*s@%.*s>", TEXT_ARG(facts->queue_id), TEXT_ARG(facts->random),
			      TEXT_ARG(facts->domain));
		add(fields, TEXT("Message-ID"), buffer_view(&id), added);
		buffer_free(&id);
	}
	/* RFC 2045 section 4: without it the other MIME fields mean nothing. */
	bool mime = has(fields, TEXT("content-type")) || has(fields, TEXT("content-transfer-encoding"));
	if (mime && !has(fields, TEXT("mime-version")))
		add(fields, TEXT("MIME-Version"), TEXT("1.0"), added);
}

/* Gmail's form: up to three parts of the sender's choice, and last the name that all its mail shares. */
static void add_feedback(struct fields *fields, struct text sender, const struct complete_facts *facts,
			 struct fields *added)
{
	struct buffer value = {0};
	buffer_format(&value, "%.*s:%.*s:%.*s", TEXT_ARG(facts->login), TEXT_ARG(facts->customer), TEXT_ARG(sender));
	add(fields, TEXT("Feedback-ID"), buffer_view(&value), added);
	buffer_free(&value);
}

/* The id comes back in reports that return nothing else of the message (RFC 9477). */
static void add_cfbl(struct fields *fields, struct text address, struct text token, struct fields *added)
{
	struct buffer value = {0};
	buffer_format(&value, "%.*s; report=arf", TEXT_ARG(address));
	add(fields, TEXT("CFBL-Address"), buffer_view(&value), added);
	if (token.len && !has(fields, TEXT("cfbl-feedback-id")))
		add(fields, TEXT("CFBL-Feedback-ID"), token, added);
	buffer_free(&value);
}

#define PLACE "{token}"

/* Both fields or none (RFC 8058 section 3.1): a message that has one of them goes with its own. The URL stands on a line
 * of its own, since it may be long. */
static void add_unsubscribe(struct fields *fields, struct text host, const struct complete_facts *facts,
			    struct fields *added)
{
	struct buffer value = {0};
	struct text rest = facts->list_unsubscribe;
	size_t at = text_search(rest, TEXT(PLACE));
	if (has(fields, TEXT("list-unsubscribe")) || has(fields, TEXT("list-unsubscribe-post")) ||
	    (at != SIZE_MAX && !facts->token.len))
		return;
	buffer_text(&value, TEXT("\n\t<"));
	for (; at != SIZE_MAX; at = text_search(rest, TEXT(PLACE))) {
		buffer_text(&value, text_head(rest, at));
		buffer_text(&value, facts->token);
		rest = text_from(rest, at + sizeof PLACE - 1);
	}
	buffer_text(&value, rest);
	buffer_char(&value, '>');
	/* For programs that only write mail; waybill-report reads it. */
	if (host.len && facts->token.len)
		buffer_format(&value, ",\n\t<mailto:u+%.*s@%.*s?subject=unsubscribe>", TEXT_ARG(facts->token),
			      TEXT_ARG(host));
	add(fields, TEXT("List-Unsubscribe"), buffer_view(&value), added);
	add(fields, TEXT("List-Unsubscribe-Post"), TEXT("List-Unsubscribe=One-Click"), added);
	buffer_free(&value);
}

void complete(struct fields *fields, const struct complete_options *options, const struct complete_facts *facts,
	      struct fields *added)
{
	if (options->fix)
		add_missing(fields, facts, added);
	if (options->feedback.len && !has(fields, TEXT("feedback-id")))
		add_feedback(fields, options->feedback, facts, added);
	if (options->cfbl.len && !has(fields, TEXT("cfbl-address")))
		add_cfbl(fields, options->cfbl, facts->token, added);
	if (facts->list_unsubscribe.len)
		add_unsubscribe(fields, options->unsubscribe_host, facts, added);
}
