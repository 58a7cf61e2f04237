/* What a reply says, apart from the rules: its text without what differs from message to message, its codes, its
 * provider. */

#include <string.h>

#include "common/classify.h"

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* "5.7.1" at the start of T (RFC 3463 section 2); its length. Not the start of an IPv4 address or a version. */
static size_t enhanced_at(struct text t)
{
	size_t len = 1, run = 0, dots = 0;
	if (t.len < 5 || (t.ptr[0] != '2' && t.ptr[0] != '4' && t.ptr[0] != '5') || t.ptr[1] != '.')
		return 0;
	for (; len < t.len; len++) {
		bool dot = t.ptr[len] == '.';
		if (!dot && !digit(t.ptr[len]))
			break;
		if (dot && (dots == 2 || (dots && !run)))
			break;
		dots += dot;
		run = dot ? 0 : run + 1;
		if (run > 3)
			return 0;
	}
	bool more = len + 1 < t.len && t.ptr[len] == '.' && digit(t.ptr[len + 1]);
	return dots == 2 && run && !more ? len : 0;
}

struct text classify_enhanced(struct text words)
{
	for (size_t i = 0; i + 4 < words.len; i++) {
		if (words.ptr[i + 1] != '.' || (i && (digit(words.ptr[i - 1]) || words.ptr[i - 1] == '.')))
			continue;
		size_t len = enhanced_at(text_from(words, i));
		if (len)
			return text_head(text_from(words, i), len);
	}
	return (struct text){0};
}

/* "550-5.7.1 ", "550 5.1.1 ", "550 #5.1.0 ", "550-", and "550 " of the FIRST: the codes of a line of a reply; their
 * length. */
static size_t line_codes(struct text t, bool first)
{
	if (t.len < 4 || !digit(t.ptr[0]) || !digit(t.ptr[1]) || !digit(t.ptr[2]) || t.ptr[0] < '4' || t.ptr[0] > '5' ||
	    t.ptr[1] > '7' || (t.ptr[3] != '-' && t.ptr[3] != ' '))
		return 0;
	size_t at = t.ptr[4 < t.len ? 4 : 3] == '#' ? 5 : 4;
	size_t len = enhanced_at(text_from(t, at));
	if (!len)
		return first || t.ptr[3] == '-' ? 4 : 0;
	at += len;
	return at < t.len && (t.ptr[at] == ' ' || t.ptr[at] == ':') ? at + 1 : at;
}

static bool in_address(char c)
{
	return c > ' ' && !strchr("<>()[]\",;:'", c);
}

/* The address whose "@" is at AT. */
static void address_bounds(struct text t, size_t at, size_t *from, size_t *to)
{
	*from = at;
	*to = at + 1;
	while (*from && in_address(t.ptr[*from - 1]))
		--*from;
	while (*to < t.len && (in_address(t.ptr[*to])))
		++*to;
	while (*to > at + 1 && t.ptr[*to - 1] == '.')
		--*to;
}

/* An IPv4 address, or four groups of an IPv6 one; its length. */
static size_t ip_at(struct text t)
{
	size_t len = 0, dots = 0, colons = 0;
	for (; len < t.len && len < 45; len++) {
		char c = lower(t.ptr[len]);
		if (c == '.' && len + 1 < t.len && digit(t.ptr[len + 1]))
			dots++;
		else if (c == ':')
			colons++;
		else if (!digit(c) && !(c >= 'a' && c <= 'f'))
			break;
	}
	for (size_t i = 0; dots == 3 && !colons && i < len; i++)
		if (!digit(t.ptr[i]) && t.ptr[i] != '.')
			return 0;
	return (dots == 3 && !colons) || colons >= 3 ? len : 0;
}

/* "https://host/path": as "<host>". */
static size_t url_at(struct text t, struct text *host)
{
	size_t skip = text_starts_fold(t, TEXT("http://")) ? 7 : text_starts_fold(t, TEXT("https://")) ? 8 : 0;
	if (!skip)
		return 0;
	size_t end = skip;
	while (end < t.len && t.ptr[end] > ' ' && !strchr("<>\"()", t.ptr[end]))
		end++;
	size_t len = skip;
	while (len < end && !strchr("/?#:", t.ptr[len]))
		len++;
	*host = text_at(t.ptr + skip, len - skip);
	return end;
}

static void put_lower(struct text t, struct buffer *out)
{
	for (size_t i = 0; i < t.len; i++)
		buffer_char(out, lower(t.ptr[i]));
}

/* An address in front of I that was not seen to be one until its "@" came: takes it back. */
static size_t take_address(struct text words, size_t at, struct buffer *out, size_t out_start)
{
	size_t from, to;
	address_bounds(words, at, &from, &to);
	size_t back = at - from;
	out->len = out->len - out_start >= back ? out->len - back : out_start;
	buffer_text(out, TEXT("@"));
	return to;
}

void classify_normalise(struct text words, struct buffer *out)
{
	size_t out_start = out->len;
	bool blank = true;
	words = text_head(words, CLASSIFY_MAX_WORDS);
	for (size_t i = 0; i < words.len;) {
		struct text rest = text_from(words, i), host;
		unsigned char c = (unsigned char)words.ptr[i];
		bool edge = !i || !(digit(words.ptr[i - 1]) || words.ptr[i - 1] == '.');
		size_t len;
		if (c <= ' ') {
			if (!blank)
				buffer_char(out, ' ');
			blank = true;
			i++;
			continue;
		}
		if (blank && (len = line_codes(rest, !i))) {
			i += len;
			continue;
		}
		blank = false;
		if (c == '@') {
			i = take_address(words, i, out, out_start);
		} else if ((c == 'h' || c == 'H') && (len = url_at(rest, &host))) {
			buffer_char(out, '<');
			put_lower(host, out);
			buffer_char(out, '>');
			i += len;
		} else if (digit((char)c) && edge && (len = ip_at(rest))) {
			buffer_text(out, TEXT("<ip>"));
			i += len;
		} else {
			buffer_char(out, lower((char)c));
			i++;
		}
	}
	if (out->len > out_start && out->ptr[out->len - 1] == ' ')
		out->len--;
}

static const struct {
	struct text host, words; /* the end of the relay's name; words of the reply, in lower case */
	struct text provider;
} providers[] = {
	{TEXT(".google.com"), TEXT("gsmtp"), TEXT("google")},
	{TEXT(".googlemail.com"), TEXT("support.google.com"), TEXT("google")},
	{TEXT(".protection.outlook.com"), TEXT(".outlook.com"), TEXT("microsoft")},
	{TEXT(".hotmail.com"), TEXT("aka.ms/"), TEXT("microsoft")},
	{TEXT(".prod.outlook.com"), TEXT("resolver."), TEXT("microsoft")},
	{TEXT(".yahoodns.net"), TEXT("[tss0"), TEXT("yahoo")},
	{TEXT(".yahoo.com"), TEXT("yahoo.com account"), TEXT("yahoo")},
	{TEXT(".icloud.com"), TEXT("support.apple.com"), TEXT("apple")},
	{TEXT(".gmx.net"), TEXT("postmaster.gmx.net"), TEXT("united-internet")},
	{TEXT(".web.de"), TEXT("postmaster.1und1.de"), TEXT("united-internet")},
	{TEXT(".kundenserver.de"), TEXT("postmaster.1and1.com"), TEXT("united-internet")},
	{TEXT(".mimecast.com"), TEXT("mimecast"), TEXT("mimecast")},
	{TEXT(".pphosted.com"), TEXT("proofpoint"), TEXT("proofpoint")},
	{TEXT(".amazonaws.com"), TEXT("amazon ses"), TEXT("amazon")},
	{TEXT(".mail.ru"), TEXT("help.mail.ru"), TEXT("mail.ru")},
	{TEXT(".yandex.ru"), TEXT("yandex"), TEXT("yandex")},
	{TEXT(".qq.com"), TEXT("service.mail.qq.com"), TEXT("tencent")},
	{TEXT(".orange.fr"), TEXT("ofr_"), TEXT("orange")},
	{TEXT(".wanadoo.fr"), TEXT("ofr0"), TEXT("orange")},
	{TEXT(".free.fr"), TEXT("postmaster.free.fr"), TEXT("free")},
	{TEXT(".laposte.net"), TEXT("lpn00"), TEXT("laposte")},
	{TEXT(".secureserver.net"), TEXT("x.co/"), TEXT("godaddy")},
	{TEXT(".comcast.net"), TEXT("comcast"), TEXT("comcast")},
	{TEXT(".cox.net"), TEXT("cox too many"), TEXT("cox")},
	{TEXT(".t-online.de"), TEXT("postmaster.t-online.de"), TEXT("t-online")},
	{TEXT(".ezweb.ne.jp"), TEXT("ezweb.ne.jp"), TEXT("kddi")},
	{TEXT(".docomo.ne.jp"), TEXT("docomo.ne.jp"), TEXT("docomo")},
};

/* How servers name the command that was answered: Postfix, Exim, sendmail, qmail, Courier, DragonFly and others. Where a
 * transcript shows several, DATA was refused because of what came before. */
static const struct {
	struct text words, stage;
} stages[] = {
	{TEXT("in reply to end of data"), TEXT("end of DATA")},
	{TEXT("in reply to rcpt to"), TEXT("RCPT TO")},
	{TEXT("in reply to mail from"), TEXT("MAIL FROM")},
	{TEXT("in reply to data"), TEXT("DATA")},
	{TEXT("after rcpt to"), TEXT("RCPT TO")},
	{TEXT("after sending rcpt to"), TEXT("RCPT TO")},
	{TEXT("after pipelined rcpt to"), TEXT("RCPT TO")},
	{TEXT("after mail from"), TEXT("MAIL FROM")},
	{TEXT("after pipelined mail from"), TEXT("MAIL FROM")},
	{TEXT("after end of data"), TEXT("end of DATA")},
	{TEXT("after pipelined end of data"), TEXT("end of DATA")},
	{TEXT("after sending data block"), TEXT("end of DATA")},
	{TEXT("after data"), TEXT("DATA")},
	{TEXT("did not like our rcpt to"), TEXT("RCPT TO")},
	{TEXT("did not like our mail from"), TEXT("MAIL FROM")},
	{TEXT("did not like our final data"), TEXT("end of DATA")},
	{TEXT("did not like our data"), TEXT("DATA")},
	{TEXT("following rcpt command"), TEXT("RCPT TO")},
	{TEXT("following mail command"), TEXT("MAIL FROM")},
	{TEXT("following data command"), TEXT("DATA")},
	{TEXT("for rcpt to command"), TEXT("RCPT TO")},
	{TEXT("for mail from command"), TEXT("MAIL FROM")},
	{TEXT("for data command"), TEXT("DATA")},
	{TEXT("rcpt to generated following"), TEXT("RCPT TO")},
	{TEXT("does not like recipient"), TEXT("RCPT TO")},
	{TEXT("recipient was rejected"), TEXT("RCPT TO")},
	{TEXT("sender was rejected"), TEXT("MAIL FROM")},
	{TEXT("failed after i sent the message"), TEXT("end of DATA")},
	{TEXT(">>> rcpt to"), TEXT("RCPT TO")},
	{TEXT(">>> mail from"), TEXT("MAIL FROM")},
	{TEXT(">>> data"), TEXT("DATA")},
	{TEXT(">>> ehlo"), TEXT("EHLO")},
	{TEXT(">>> helo"), TEXT("HELO")},
};

struct text classify_stage(struct text words)
{
	for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
		if (text_search_fold(words, stages[i].words))
			return stages[i].stage;
	return (struct text){0};
}

static bool ends_fold(struct text t, struct text end)
{
	return t.len >= end.len && text_equal_fold(text_from(t, t.len - end.len), end);
}

struct text classify_provider(struct text relay, struct text words)
{
	for (size_t i = 0; relay.len && i < sizeof providers / sizeof *providers; i++)
		if (ends_fold(relay, providers[i].host))
			return providers[i].provider;
	for (size_t i = 0; i < sizeof providers / sizeof *providers; i++)
		if (text_search_fold(words, providers[i].words))
			return providers[i].provider;
	return (struct text){0};
}
