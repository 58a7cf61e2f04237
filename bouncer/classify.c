#include <string.h>

#include "bouncer/classify_internal.h"
#include "bouncer/line_internal.h"

static const struct {
	struct text host, words; /* the end of the relay's name; words of the reply */
	struct text provider;
} providers[] = {
	{TEXT(".google.com"), TEXT("gsmtp"), TEXT("google")},
	{TEXT(".googlemail.com"), TEXT("support.google.com"), TEXT("google")},
	{TEXT(".protection.outlook.com"), TEXT(".outlook.com"), TEXT("microsoft")},
	{TEXT(".hotmail.com"), TEXT("aka.ms/"), TEXT("microsoft")},
	{TEXT(".yahoodns.net"), TEXT("[TSS0"), TEXT("yahoo")},
	{TEXT(".icloud.com"), TEXT("support.apple.com"), TEXT("apple")},
	{TEXT(".gmx.net"), TEXT("postmaster.gmx.net"), TEXT("united-internet")},
	{TEXT(".web.de"), TEXT("postmaster.1und1.de"), TEXT("united-internet")},
	{TEXT(".mimecast.com"), TEXT("mimecast"), TEXT("mimecast")},
	{TEXT(".pphosted.com"), TEXT("proofpoint"), TEXT("proofpoint")},
	{TEXT(".amazonaws.com"), TEXT("Amazon SES"), TEXT("amazon")},
	{TEXT(".mail.ru"), TEXT("help.mail.ru"), TEXT("mail.ru")},
	{TEXT(".yandex.ru"), TEXT("yandex"), TEXT("yandex")},
	{TEXT(".qq.com"), TEXT("service.mail.qq.com"), TEXT("tencent")},
};

static bool ends_fold(struct text t, struct text end)
{
	return t.len >= end.len && text_equal_fold(text_from(t, t.len - end.len), end);
}

struct text classify_provider(struct text remote_mx, struct text response)
{
	for (size_t i = 0; i < sizeof providers / sizeof *providers; i++)
		if (ends_fold(remote_mx, providers[i].host))
			return providers[i].provider;
	for (size_t i = 0; i < sizeof providers / sizeof *providers; i++)
		if (text_search(response, providers[i].words) != SIZE_MAX)
			return providers[i].provider;
	return (struct text){0};
}

/* "550-5.7.1 " inside a reply of several lines: its length, 0 when there is none. */
static size_t line_codes(struct text t)
{
	struct text rest = t;
	if (t.len < 4 || !line_digit(t.ptr[0]) || !line_digit(t.ptr[1]) || !line_digit(t.ptr[2]) || t.ptr[0] < '4' ||
	    t.ptr[0] > '5' || (t.ptr[3] != '-' && t.ptr[3] != ' '))
		return 0;
	rest = text_from(rest, 4);
	struct text code = line_until(&rest, ' ');
	for (size_t i = 0; i < code.len; i++)
		if (!line_digit(code.ptr[i]) && code.ptr[i] != '.')
			return t.ptr[3] == '-' ? 4 : 0;
	return (size_t)(rest.ptr - t.ptr);
}

void classify_normalise(struct text words, struct buffer *out)
{
	bool blank = true;
	for (size_t i = 0; i < words.len; i++) {
		unsigned char c = (unsigned char)words.ptr[i];
		size_t codes = blank ? line_codes(text_from(words, i)) : 0;
		if (codes) {
			i += codes - 1;
			continue;
		}
		bool white = c <= ' ';
		if (!white)
			buffer_char(out, (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c));
		else if (!blank)
			buffer_char(out, ' ');
		blank = white;
	}
}

static const struct classify_words *find_words(const struct classify_words *table, struct text words)
{
	for (; table->id; table++)
		if (text_search(words, text_of(table->words)) != SIZE_MAX &&
		    (!table->also || text_search(words, text_of(table->also)) != SIZE_MAX))
			return table;
	return NULL;
}

/* DETAIL against "1.1", "7.*" or "0*". */
static bool is_code(struct text detail, const char *pattern)
{
	struct text wanted = text_of(pattern);
	if (text_ends(wanted, TEXT("*")))
		return text_starts(detail, text_head(wanted, wanted.len - 1));
	return text_equal(detail, wanted);
}

static const struct classify_code *find_code(const struct classify_code *table, char class, struct text detail,
					     struct text stage)
{
	for (; table->id; table++)
		if ((table->class == '*' || table->class == class) && is_code(detail, table->code) &&
		    (!table->stage || text_equal(stage, text_of(table->stage))))
			return table;
	return NULL;
}

static void say(struct verdict *out, enum bounce_category category, const char *rule)
{
	out->category = category;
	out->scope = bounce_category_scope[category];
	out->rule = rule;
}

/* Postfix's own words, when nobody else spoke. */
static bool by_postfix(const struct event *e, struct text words, struct verdict *out)
{
	const struct classify_words *found = e->code ? NULL : find_words(classify_postfix, words);
	if (found)
		say(out, found->category, found->id);
	return found;
}

/* Words about us win over words about the recipient. Postfix and others answer at RCPT for the recipient, so plain
 * "policy" or "spam" there may be the recipient's own filter: never a reason to suppress either. */
static bool by_words(struct text words, struct verdict *out)
{
	const struct classify_words *found = find_words(classify_safety, words);
	if (!found)
		found = find_words(classify_text, words);
	if (found)
		say(out, found->category, found->id);
	return found;
}

static bool by_enhanced(const struct event *e, struct verdict *out)
{
	struct text code = e->remote_dsn.len ? e->remote_dsn : e->dsn;
	const struct classify_code *found =
		code.len > 2 ? find_code(classify_enhanced, code.ptr[0], text_from(code, 2), e->stage) : NULL;
	if (found)
		say(out, found->category, found->id);
	return found;
}

static bool by_reply(const struct event *e, struct verdict *out)
{
	char text[2] = {(char)('0' + e->code / 10 % 10), (char)('0' + e->code % 10)};
	const struct classify_code *found =
		e->code ? find_code(classify_reply, (char)('0' + e->code / 100), text_at(text, 2), e->stage) : NULL;
	if (found)
		say(out, found->category, found->id);
	return found;
}

/* RFC 3463 section 3.1: the first digit. Expiry makes a soft failure final, not hard. */
static enum bounce_class class_of(const struct event *e)
{
	char first = e->dsn.len          ? e->dsn.ptr[0]
		     : e->remote_dsn.len ? e->remote_dsn.ptr[0]
					 : (char)('0' + e->code / 100);
	if (e->type == TYPE_DEFERRED || e->expired || first == '4')
		return CLASS_SOFT;
	return first == '5' ? CLASS_HARD : CLASS_UNDETERMINED;
}

void classify(const struct event *event, struct verdict *out)
{
	*out = (struct verdict){.rule = ""};
	if (event->type != TYPE_DEFERRED && event->type != TYPE_BOUNCED)
		return;
	struct buffer words = {0};
	classify_normalise(event->response.len ? event->response : event->reason, &words);
	if (!by_postfix(event, buffer_view(&words), out) && !by_words(buffer_view(&words), out) &&
	    !by_enhanced(event, out) && !by_reply(event, out))
		say(out, CATEGORY_UNDETERMINED, "undetermined");
	out->class = class_of(event);
	/* What expired is told as such; the cause's scope says about whom. */
	if (event->expired)
		out->category = CATEGORY_EXPIRED;
	buffer_free(&words);
}
