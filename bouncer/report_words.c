#include "bouncer/report_words.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char at(struct text t, size_t i)
{
	return i < t.len ? t.ptr[i] : '\0';
}

/* "10:00" and "9:00" */
static bool is_time(struct text t)
{
	size_t digits = is_digit(at(t, 0)) ? is_digit(at(t, 1)) ? 2 : 1 : 0;
	return digits && at(t, digits) == ':' && is_digit(at(t, digits + 1)) && is_digit(at(t, digits + 2));
}

static bool is_code(struct text t, size_t i)
{
	char before = i ? t.ptr[i - 1] : ' ', after = at(t, i + 3);
	if ((t.ptr[i] != '4' && t.ptr[i] != '5') || !is_digit(at(t, i + 1)) || !is_digit(at(t, i + 2)))
		return false;
	if (is_digit(before) || before == '.' || before == '-')
		return false;
	/* Zoho: "ERROR_CODE :550, …" */
	if ((before == ':' || i == 0) && after == ',')
		return true;
	return (after == ' ' || after == '-') && !is_time(text_from(t, i + 4));
}

uint32_t report_words_code(struct text t, size_t *where)
{
	for (size_t i = 0; i + 3 < t.len; i++)
		if (is_code(t, i)) {
			*where = i;
			return (uint32_t)((t.ptr[i] - '0') * 100 + (t.ptr[i + 1] - '0') * 10 + (t.ptr[i + 2] - '0'));
		}
	return 0;
}

struct text report_words_said(struct text t)
{
	size_t from = 0, next = 0;
	uint32_t code = report_words_code(t, &from);
	if (!code)
		return t;
	struct text said = text_from(t, from);
	for (size_t i = 3; i < said.len; i += next + 3) {
		uint32_t other = report_words_code(text_from(said, i), &next);
		if (!other)
			break;
		if (other != code && at(said, i + next - 1) == ' ')
			return text_head(said, i + next);
	}
	return said;
}

static bool is_local(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || (unsigned char)c >= 0x80 ||
	       c == '.' || c == '_' || c == '+' || c == '=' || c == '-' || c == '\'' || c == '/' || c == '&' ||
	       c == '#';
}

static bool is_domain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || (unsigned char)c >= 0x80 ||
	       c == '.' || c == '-' || c == '_';
}

struct text report_words_address(struct text *rest)
{
	while (rest->len) {
		size_t sign = text_find(*rest, '@'), from = sign, end = sign + 1;
		if (sign == SIZE_MAX)
			break;
		while (from && is_local(rest->ptr[from - 1]))
			from--;
		while (end < rest->len && is_domain(rest->ptr[end]))
			end++;
		struct text found = text_head(text_from(*rest, from), end - from);
		size_t local = sign - from;
		*rest = text_from(*rest, end);
		while (found.len && (found.ptr[found.len - 1] == '.' || found.ptr[found.len - 1] == '-'))
			found.len--;
		if (local && found.len > local + 1)
			return found;
	}
	*rest = (struct text){0};
	return (struct text){0};
}

/* How servers name the command that they were answered: Postfix, DragonFly, Exim, sendmail, IIS. */
static const struct {
	const char *words, *stage;
} stages[] = {
	{"in reply to RCPT TO", "RCPT TO"},
	{"in reply to MAIL FROM", "MAIL FROM"},
	{"in reply to end of DATA", "end of DATA"},
	{"in reply to DATA", "DATA"},
	{"in reply to EHLO", "EHLO"},
	{"in reply to HELO", "HELO"},
	{"did not like our RCPT TO", "RCPT TO"},
	{"did not like our MAIL FROM", "MAIL FROM"},
	{"did not like our final DATA", "end of DATA"},
	{"did not like our DATA", "DATA"},
	{"after RCPT TO", "RCPT TO"},
	{"after sending RCPT TO", "RCPT TO"},
	{"after MAIL FROM", "MAIL FROM"},
	{"after sending MAIL FROM", "MAIL FROM"},
	{"after end of data", "end of DATA"},
	{"after DATA", "DATA"},
	{"following RCPT command", "RCPT TO"},
	{"following MAIL command", "MAIL FROM"},
	{"following DATA command", "DATA"},
	{"for RCPT TO command", "RCPT TO"},
	{"for MAIL FROM command", "MAIL FROM"},
	{"for DATA command", "DATA"},
};

/* A transcript: ">>> RCPT TO:<x>" and then "<<< 550". */
static struct text transcript_stage(struct text t)
{
	static const char *const commands[] = {"RCPT TO", "MAIL FROM", "DATA", "EHLO", "HELO", "STARTTLS"};
	size_t answer = text_search(t, TEXT("<<< 5"));
	if (answer == SIZE_MAX)
		answer = text_search(t, TEXT("<<< 4"));
	if (answer == SIZE_MAX)
		return (struct text){0};
	struct text before = text_head(t, answer);
	for (size_t i = answer; i-- > 0;) {
		struct text command = text_from(before, i);
		if (!text_starts(command, TEXT(">>> ")))
			continue;
		for (size_t k = 0; k < sizeof commands / sizeof *commands; k++)
			if (text_starts_fold(text_from(command, 4), text_of(commands[k])))
				return text_of(commands[k]);
		break;
	}
	return (struct text){0};
}

struct text report_words_stage(struct text t)
{
	for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
		if (text_search_fold(t, text_of(stages[i].words)))
			return text_of(stages[i].stage);
	return transcript_stage(t);
}

bool report_words_any(struct text t, const char *const *words)
{
	for (; *words; words++)
		if (text_search_fold(t, text_of(*words)))
			return true;
	return false;
}

bool report_words_is_original(struct text line)
{
	static const char *const announced[] = {"original message", "original mail",    "message follows", "copy of",
						"unsent message",   "returned message", "forwarded",       NULL};
	static const char *const first[] = {"received:",
					    "return-path:",
					    "message-id:",
					    "message headers follow",
					    "original message follows",
					    "original mail follows",
					    "the original message follows",
					    "included is a copy of the message",
					    "--- below this line is a copy",
					    NULL};
	line = text_trim(line);
	if (text_starts(line, TEXT("--")) && report_words_any(line, announced))
		return true;
	for (const char *const *word = first; *word; word++)
		if (text_starts_fold(line, text_of(*word)))
			return true;
	return false;
}

static const struct {
	const char *name;
	char c;
} entities[] = {{"&lt;", '<'}, {"&gt;", '>'}, {"&amp;", '&'}, {"&quot;", '"'}, {"&nbsp;", ' '}, {"&#39;", '\''}};

/* The length of the entity at the head of T, its character added; 0 when there is none. */
static size_t add_entity(struct text t, struct buffer *out)
{
	for (size_t i = 0; i < sizeof entities / sizeof *entities; i++)
		if (text_starts(t, text_of(entities[i].name))) {
			buffer_char(out, entities[i].c);
			return text_of(entities[i].name).len;
		}
	return 0;
}

void report_words_of_html(struct text html, struct buffer *out)
{
	while (html.len) {
		size_t end = html.ptr[0] == '<' ? text_find(html, '>') : SIZE_MAX, used = 1;
		struct text tag = end == SIZE_MAX ? (struct text){0} : text_head(html, end + 1);
		if (tag.len && text_find(tag, '@') == SIZE_MAX) {
			buffer_char(out, ' ');
			used = tag.len;
		} else if (html.ptr[0] != '&' || !(used = add_entity(html, out))) {
			buffer_char(out, html.ptr[0]);
			used = 1;
		}
		html = text_from(html, used);
	}
}
