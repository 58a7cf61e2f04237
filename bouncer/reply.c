#include "bouncer/reply.h"
#include "bouncer/line_internal.h"

/* "5.7.1": class 2, 4 or 5 and two numbers of up to three digits (RFC 3463 section 2). */
static struct text enhanced(struct text t)
{
	size_t len = 0, dots = 0, run = 0;
	if (t.len < 5 || (t.ptr[0] != '2' && t.ptr[0] != '4' && t.ptr[0] != '5') || t.ptr[1] != '.')
		return (struct text){0};
	while (len < t.len && (line_digit(t.ptr[len]) || (t.ptr[len] == '.' && dots < 2 && run))) {
		bool dot = t.ptr[len++] == '.';
		dots += dot;
		run = dot ? 0 : run + 1;
		if (run > 3)
			return (struct text){0};
	}
	return dots == 2 && run ? text_head(t, len) : (struct text){0};
}

/* Some servers write the enhanced code in brackets or behind a word ("550 [5.1.1]", "550 #5.1.1", "552 Error: 5.2.2"):
 * the first one within the first words. */
#define SEARCH_WITHIN 80

static struct text enhanced_within(struct text t)
{
	t = text_head(t, SEARCH_WITHIN);
	for (size_t i = 0; i < t.len; i++) {
		if (i && (line_digit(t.ptr[i - 1]) || t.ptr[i - 1] == '.'))
			continue;
		struct text found = enhanced(text_from(t, i));
		size_t end = i + found.len;
		if (found.len && (end == t.len || (t.ptr[end] != '.' && !line_digit(t.ptr[end]))))
			return found;
	}
	return (struct text){0};
}

void reply_text(struct text response, struct reply *out)
{
	struct text t = response;
	out->response = response;
	if (t.len < 3 || t.ptr[0] < '2' || t.ptr[0] > '5' || !line_digit(t.ptr[1]) || !line_digit(t.ptr[2]) ||
	    (t.len > 3 && line_digit(t.ptr[3])))
		return;
	out->code = (uint32_t)line_number(&t);
	if (!SKIP(t, " "))
		SKIP(t, "-");
	out->dsn = enhanced(t);
	if (!out->dsn.len)
		out->dsn = enhanced_within(t);
}

static const struct text in_reply_to = TEXT(" (in reply to ");

/* "… (in reply to end of DATA command)": the stage, cut off *SAID. The last one counts, what is before it is theirs. */
static struct text stage(struct text *said)
{
	size_t at = SIZE_MAX;
	for (size_t from = 0, found; (found = text_search(text_from(*said, from), in_reply_to)) != SIZE_MAX;) {
		at = from + found;
		from = at + 1;
	}
	if (at == SIZE_MAX)
		return (struct text){0};
	struct text words = text_from(*said, at + in_reply_to.len);
	*said = text_head(*said, at);
	size_t end = text_search(words, TEXT(" command)"));
	if (end == SIZE_MAX)
		end = text_rfind(words, ')');
	return text_head(words, end);
}

/* "… while sending RCPT TO": what Postfix was doing. */
static struct text activity(struct text t)
{
	size_t at = text_search(t, TEXT(" while "));
	if (at == SIZE_MAX)
		return (struct text){0};
	t = text_from(t, at + 7);
	if (SKIP(t, "sending message body") || SKIP(t, "sending end of data"))
		return TEXT("end of DATA");
	if (STARTS(t, "receiving the initial server greeting") || STARTS(t, "performing the"))
		return TEXT("connect");
	SKIP(t, "sending ");
	return t;
}

void reply_parse(struct text reason, struct reply *out)
{
	*out = (struct reply){0};
	struct text t = reason;
	SKIP(t, "delivery temporarily suspended: ");
	if (SKIP(t, "host ") && line_peer(&t, &out->host, &out->ip)) {
		bool talk = SKIP(t, " refused to talk to me: ");
		if (talk || SKIP(t, " said: ")) {
			out->stage = stage(&t);
			if (talk)
				out->stage = TEXT("connect");
			reply_text(t, out);
		}
	} else if (SKIP(t, "connect to ")) {
		line_peer(&t, &out->host, &out->ip);
		out->stage = TEXT("connect");
	} else if (SKIP(t, "lost connection with ") || SKIP(t, "conversation with ")) {
		line_peer(&t, &out->host, &out->ip);
		out->stage = activity(t);
	} else if (t.len > 3 && t.ptr[0] == '2' && line_digit(t.ptr[1]) && line_digit(t.ptr[2])) {
		out->stage = TEXT("end of DATA");
		reply_text(t, out);
	}
}

void reply_relay(struct text relay, struct text *host, struct text *ip, uint32_t *port)
{
	*host = *ip = (struct text){0};
	*port = 0;
	if (text_equal(relay, TEXT("none")))
		return;
	size_t open = text_find(relay, '['), close = text_rfind(relay, ']');
	*host = text_head(relay, open);
	if (open == SIZE_MAX || close == SIZE_MAX || close < open)
		return;
	struct text inside = text_head(text_from(relay, open + 1), close - open - 1);
	if (text_find(inside, '/') == SIZE_MAX)
		*ip = inside;
	struct text rest = text_from(relay, close + 1);
	if (SKIP(rest, ":"))
		*port = (uint32_t)line_number(&rest);
}
