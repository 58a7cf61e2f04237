#include <stdio.h>
#include <string.h>

#include "ctl/dns_answer.h"

#define HEADER_SIZE 12
#define MAX_JUMPS   32  /* compression pointers in one name: no honest name has more */
#define MAX_NAME    255 /* RFC 1035 section 2.3.4 */

struct message {
	const unsigned char *bytes;
	size_t len, at;
	const char *why;
};

static unsigned take(struct message *m, size_t count)
{
	unsigned value = 0;
	if (m->len - m->at < count && !m->why)
		m->why = "the DNS message is cut off";
	for (size_t i = 0; i < count && !m->why; i++)
		value = value << 8 | m->bytes[m->at++];
	return value;
}

/* One label at *AT, or a jump; true while the name goes on. */
static bool name_step(struct message *m, size_t *at, unsigned *jumps, struct buffer *out)
{
	if (*at >= m->len || out->len > MAX_NAME) {
		m->why = "a DNS name is damaged";
		return false;
	}
	unsigned len = m->bytes[*at];
	if ((len & 0xc0) == 0xc0) {
		if (*at + 1 >= m->len || ++*jumps > MAX_JUMPS) {
			m->why = "a DNS name is damaged";
			return false;
		}
		*at = (size_t)(len & 0x3f) << 8 | m->bytes[*at + 1];
		return true;
	}
	if (len > 63 || len >= m->len - *at) {
		m->why = "a DNS name is damaged";
		return false;
	}
	for (size_t i = 1; i <= len; i++) {
		unsigned char c = m->bytes[*at + i];
		buffer_char(out, (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c));
	}
	*at += 1 + len;
	if (len)
		buffer_char(out, '.');
	return len > 0;
}

/* Reads a name at the message's place, which then stands behind it. */
static void take_name(struct message *m, struct buffer *out)
{
	size_t at = m->at, before = out->len;
	unsigned jumps = 0;
	while (name_step(m, &at, &jumps, out))
		continue;
	if (m->why)
		return;
	/* Behind the name: its last label, or its first pointer. */
	while (m->bytes[m->at] && (m->bytes[m->at] & 0xc0) != 0xc0)
		m->at += 1 + (size_t)m->bytes[m->at];
	m->at += m->bytes[m->at] ? 2 : 1;
	if (out->len > before)
		out->len--;
}

static void take_strings(struct message *m, size_t end, struct buffer *out)
{
	while (m->at < end && !m->why) {
		unsigned len = take(m, 1);
		if (len > end - m->at)
			m->why = "a TXT record is damaged";
		else
			buffer_add(out, m->bytes + m->at, len);
		m->at += m->why ? 0 : len;
	}
}

static void take_address(struct message *m, size_t len, struct buffer *out)
{
	if (m->len - m->at < len) {
		m->why = "the DNS message is cut off";
		return;
	}
	const unsigned char *a = m->bytes + m->at;
	if (len == 4) {
		buffer_format(out, "%u.%u.%u.%u", a[0], a[1], a[2], a[3]);
		return;
	}
	for (size_t i = 0; i < 16; i += 2)
		buffer_format(out, "%s%x", i ? ":" : "", a[i] << 8 | a[i + 1]);
}

static void take_data(struct message *m, enum dns_type type, size_t end, struct buffer *out)
{
	switch (type) {
	case DNS_A: take_address(m, 4, out); break;
	case DNS_AAAA: take_address(m, 16, out); break;
	case DNS_TXT: take_strings(m, end, out); break;
	case DNS_MX:
		buffer_format(out, "%u ", take(m, 2));
		take_name(m, out);
		break;
	case DNS_NS:
	case DNS_CNAME:
	case DNS_PTR: take_name(m, out); break;
	}
}

static void take_record(struct message *m, enum dns_type type, struct dns_records *out)
{
	struct buffer owner = {0};
	take_name(m, &owner);
	buffer_free(&owner);
	unsigned got = take(m, 2), class = take(m, 2);
	take(m, 4); /* TTL */
	size_t len = take(m, 2);
	if (!m->why && len > m->len - m->at)
		m->why = "a DNS record is longer than its message";
	if (m->why)
		return;
	size_t end = m->at + len;
	if (got == (unsigned)type && class == 1 && out->count < DNS_MAX_RECORDS)
		take_data(m, type, end, &out->items[out->count++]);
	m->at = end;
}

const char *dns_answer_parse(struct text bytes, enum dns_type type, struct dns_records *out)
{
	struct message m = {(const unsigned char *)bytes.ptr, bytes.len, 4, NULL};
	if (bytes.len < HEADER_SIZE)
		return "the DNS message is cut off";
	unsigned questions = take(&m, 2), answers = take(&m, 2);
	m.at = HEADER_SIZE;
	while (questions-- && !m.why) {
		struct buffer name = {0};
		take_name(&m, &name);
		buffer_free(&name);
		take(&m, 4);
	}
	while (answers-- && !m.why)
		take_record(&m, type, out);
	return m.why;
}

void dns_records_free(struct dns_records *records)
{
	for (size_t i = 0; i < DNS_MAX_RECORDS; i++)
		buffer_free(&records->items[i]);
	records->count = 0;
}

struct text dns_record(const struct dns_records *records, size_t i)
{
	return i < records->count ? buffer_view(&records->items[i]) : TEXT("");
}
