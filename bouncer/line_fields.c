/* The two messages with many fields: a delivery attempt, and a refusal. And queue ids. */

#include "bouncer/line_internal.h"

/* Queue ids (src/global/mail_queue.h): short ones are upper-case hexadecimal, microseconds and inode; long ones are base
 * 52 over digits and consonants, at least six characters of seconds, four of microseconds, then "z" and the inode. */
#define SHORT_MIN         6
#define LONG_SECONDS      6
#define LONG_MICROSECONDS 4
#define LONG_STAMP_MAX    11 /* seven digits of seconds last for thirty thousand years */
#define LONG_MIN          (LONG_SECONDS + LONG_MICROSECONDS + 1)
#define QUEUE_ID_MAX      32

static const char base52[] = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz";

static bool is_hex(char c)
{
	return line_digit(c) || (c >= 'A' && c <= 'F');
}

static bool is_base52(char c)
{
	if (line_digit(c))
		return true;
	char upper = (char)(c & ~0x20);
	return upper >= 'B' && upper <= 'Z' && upper != 'E' && upper != 'I' && upper != 'O' && upper != 'U';
}

bool line_queue_id(struct text t)
{
	size_t i = 0;
	if (t.len < SHORT_MIN || t.len > QUEUE_ID_MAX)
		return false;
	while (i < t.len && is_hex(t.ptr[i]))
		i++;
	if (i == t.len)
		return true;
	for (i = t.len < LONG_MIN ? t.len + 1 : 0; i < t.len && is_base52(t.ptr[i]);)
		i++;
	return i == t.len;
}

static int64_t base52_value(struct text t)
{
	int64_t value = 0;
	for (size_t i = 0; i < t.len; i++)
		value = value * 52 + (strchr(base52, t.ptr[i]) - base52);
	return value;
}

int64_t line_queue_time(struct text queue_id)
{
	if (queue_id.len < LONG_MIN || !line_queue_id(queue_id))
		return 0;
	for (size_t i = 0; i < queue_id.len; i++)
		if (!is_base52(queue_id.ptr[i]))
			return 0;
	struct text stamp = text_head(queue_id, text_rfind(queue_id, 'z'));
	if (stamp.len < LONG_SECONDS + LONG_MICROSECONDS || stamp.len > LONG_STAMP_MAX || stamp.len == queue_id.len)
		return 0;
	size_t seconds = stamp.len - LONG_MICROSECONDS;
	return base52_value(text_head(stamp, seconds)) * 1000000 + base52_value(text_from(stamp, seconds));
}

/* "1.25" at the start of *T. Seconds as Postfix prints them: no sign, no exponent, few decimals. */
static double decimal(struct text *t)
{
	static const double scale[] = {1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6};
	double whole = (double)line_number(t);
	if (!SKIP(*t, "."))
		return whole;
	struct text digits = *t;
	uint64_t fraction = line_number(t);
	size_t count = digits.len - t->len;
	return count < sizeof scale / sizeof *scale ? whole + (double)fraction * scale[count] : whole;
}

static void delays(struct text value, struct record *record)
{
	for (size_t i = 0; i < RECORD_DELAYS && value.len && line_digit(value.ptr[0]); i++) {
		record->delays[i] = decimal(&value);
		SKIP(value, "/");
	}
}

/* "<a@b>, " or, from Postfix before 2.3 and from local(8), "a@b, ". */
static bool address(struct text *rest, struct text *out)
{
	if (SKIP(*rest, "<")) {
		if (!line_address(rest, out))
			return false;
	} else {
		*out = text_head(*rest, text_search(*rest, TEXT(", ")));
		*rest = text_from(*rest, out->len);
	}
	return SKIP(*rest, ", ");
}

static const struct {
	struct text word;
	enum record_status status;
} statuses[] = {
	{TEXT("sent"), STATUS_SENT},
	{TEXT("deferred"), STATUS_DEFERRED},
	{TEXT("bounced"), STATUS_BOUNCED},
	{TEXT("SOFTBOUNCE"), STATUS_SOFTBOUNCE},
	{TEXT("deliverable"), STATUS_PROBE},
	{TEXT("undeliverable"), STATUS_PROBE},
	{TEXT("undeliverable-but-not-cached"), STATUS_PROBE},
};

/* "sent (250 ok)", the last field: everything up to the line's end is the reason. */
static const char *status(struct text rest, struct record *record)
{
	struct text word = line_until(&rest, ' ');
	for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
		if (text_equal(word, statuses[i].word))
			record->status = statuses[i].status;
	if (record->status == STATUS_NONE)
		return "unknown delivery status";
	if (SKIP(rest, "(")) {
		record->truncated = !text_ends(rest, TEXT(")"));
		record->reason = record->truncated ? rest : text_head(rest, rest.len - 1);
	}
	record->kind = RECORD_DELIVERY;
	return NULL;
}

const char *line_delivery(struct text rest, struct record *record)
{
	if (!address(&rest, &record->recipient))
		return "delivery without recipient";
	if (SKIP(rest, "orig_to=") && !address(&rest, &record->orig_recipient))
		return "delivery without original recipient";
	while (rest.len) {
		if (SKIP(rest, "status="))
			return status(rest, record);
		struct text key = line_until(&rest, '=');
		struct text value = line_until(&rest, ',');
		if (text_equal(key, TEXT("relay")))
			record->relay = value;
		else if (text_equal(key, TEXT("delay")))
			record->delay = decimal(&value);
		else if (text_equal(key, TEXT("delays")))
			delays(value, record);
		else if (text_equal(key, TEXT("dsn")))
			record->dsn = value;
		else if (text_equal(key, TEXT("tls")))
			record->tls = value;
		if (!SKIP(rest, " "))
			break;
	}
	return "delivery without status";
}

/* "550 " and "5.7.1 " in front of what the client is told; each may be missing. */
static void codes(struct text *rest, struct record *record)
{
	struct text t = *rest;
	if (t.len > 4 && t.ptr[3] == ' ' && line_digit(t.ptr[0]) && line_digit(t.ptr[1]) && line_digit(t.ptr[2])) {
		record->code = (uint32_t)line_number(&t);
		*rest = t = text_from(t, 1);
	}
	if (t.len > 6 && (t.ptr[0] == '4' || t.ptr[0] == '5' || t.ptr[0] == '2') && t.ptr[1] == '.') {
		struct text word = line_until(&t, ' ');
		for (size_t i = 0; i < word.len; i++)
			if (!line_digit(word.ptr[i]) && word.ptr[i] != '.')
				return;
		record->dsn = word;
		*rest = t;
	}
}

/* The attributes behind "; ". helo is whatever the client said, spaces and all, so it ends at the last ">"; what smtpd
 * appends since 3.10 stands behind it. */
static void attributes(struct text rest, struct record *record)
{
	while (rest.len) {
		bool ok = true;
		if (SKIP(rest, ": ")) { /* cleanup: what the client is told about a header or the body */
			codes(&rest, record);
			record->reason = rest;
			return;
		}
		if (SKIP(rest, "from=<"))
			ok = line_address(&rest, &record->sender);
		else if (SKIP(rest, "to=<"))
			ok = line_address(&rest, &record->recipient);
		else if (SKIP(rest, "helo=<")) {
			size_t end = text_rfind(rest, '>');
			record->helo = text_head(rest, end);
			rest = end == SIZE_MAX ? (struct text){rest.ptr, 0} : text_from(rest, end + 1);
		} else if (SKIP(rest, "sasl_username=")) {
			record->login = text_head(rest, text_search(rest, TEXT(" sasl_sender=")));
			rest = text_from(rest, record->login.len);
		} else
			line_until(&rest, ' ');
		if (!ok)
			return;
		while (SKIP(rest, ",") || SKIP(rest, " "))
			;
	}
}

/* Where the attributes begin: the first "; from=<" (or to=, proto=) behind the address that the text is about. */
static size_t attributes_at(struct text rest)
{
	struct text t = rest, subject;
	if (SKIP(t, "<"))
		line_address(&t, &subject);
	size_t skipped = (size_t)(t.ptr - rest.ptr), first = SIZE_MAX;
	static const struct text starts[] = {TEXT("; from=<"), TEXT("; to=<"), TEXT("; proto=")};
	for (size_t i = 0; i < 3; i++) {
		size_t at = text_search(t, starts[i]);
		first = at < first ? at : first;
	}
	return first == SIZE_MAX ? SIZE_MAX : skipped + first;
}

/* "reject: RCPT from HOST[IP]: 550 5.1.1 <r@x>: text; from=<s> to=<r> proto=ESMTP helo=<h>", also "milter-reject:
 * END-OF-MESSAGE from …", "reject: header Subject: … from …; …" and "proxy-reject: END-OF-MESSAGE: 554 …; …". */
const char *line_reject(struct text rest, struct record *record)
{
	record->kind = RECORD_REJECT;
	record->verb = line_until(&rest, ':');
	SKIP(rest, " ");
	if (STARTS(rest, "header ") || STARTS(rest, "body ") || STARTS(rest, "mime-header ")) {
		record->stage = TEXT("end of DATA");
	} else {
		size_t end = 0;
		while (end < rest.len && rest.ptr[end] != ' ' && rest.ptr[end] != ':')
			end++;
		record->stage = text_head(rest, end);
		rest = text_from(rest, end);
		if (SKIP(rest, " from ")) {
			if (!line_peer(&rest, &record->client_host, &record->client_ip))
				return "refusal without client";
			record->client_ip =
				text_equal(record->client_ip, TEXT("unknown")) ? (struct text){0} : record->client_ip;
		}
		if (!SKIP(rest, ": "))
			return "refusal without reason";
	}
	codes(&rest, record);
	size_t at = attributes_at(rest);
	record->reason = text_head(rest, at);
	if (at != SIZE_MAX)
		attributes(text_from(rest, at + 2), record);
	return NULL;
}
