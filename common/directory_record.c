/* Layout: every record begins with the byte DIRECTORY_FORMAT. Numbers are base-128 varints, low bits first, signed ones
 * zigzag-folded; texts and lists are a length and their bytes; enums and flags are one byte. A record ends where its
 * last field does: bytes left over are damage. */

#include <string.h>

#include "common/directory_record.h"

#define VARINT_MAX_BYTES 10 /* 64 bits, 7 in each byte */

/* Reading moves through the view; the first damage is kept in WHY and every later read gives zero. */
struct reader {
	struct text rest;
	const char *why;
};

static void put_uint(struct buffer *out, uint64_t value)
{
	while (value >= 0x80) {
		buffer_char(out, (char)(unsigned char)(value | 0x80));
		value >>= 7;
	}
	buffer_char(out, (char)value);
}

static void put_int(struct buffer *out, int64_t value)
{
	put_uint(out, ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0));
}

static void put_text(struct buffer *out, struct text value)
{
	put_uint(out, value.len);
	buffer_text(out, value);
}

static void put_byte(struct buffer *out, int value)
{
	buffer_char(out, (char)(unsigned char)value);
}

static unsigned take_byte(struct reader *in)
{
	if (!in->rest.len && !in->why)
		in->why = "the record is cut off";
	if (in->why)
		return 0;
	unsigned value = (unsigned char)in->rest.ptr[0];
	in->rest = text_from(in->rest, 1);
	return value;
}

static uint64_t take_uint(struct reader *in)
{
	uint64_t value = 0;
	for (unsigned i = 0; i < VARINT_MAX_BYTES; i++) {
		unsigned byte = take_byte(in);
		/* The tenth byte holds the 64th bit alone. */
		if (i == VARINT_MAX_BYTES - 1 && byte > 1)
			break;
		value |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (!(byte & 0x80))
			return in->why ? 0 : value;
	}
	if (!in->why)
		in->why = "a number is too long";
	return 0;
}

static int64_t take_int(struct reader *in)
{
	uint64_t folded = take_uint(in);
	return (int64_t)(folded >> 1) ^ -(int64_t)(folded & 1);
}

static struct text take_text(struct reader *in)
{
	uint64_t len = take_uint(in);
	if (len > in->rest.len && !in->why)
		in->why = "a text is longer than its record";
	if (in->why)
		return (struct text){"", 0};
	struct text value = text_head(in->rest, (size_t)len);
	in->rest = text_from(in->rest, (size_t)len);
	return value;
}

static struct directory_list take_list(struct reader *in)
{
	return (struct directory_list){take_text(in)};
}

/* One byte that must be below MAX: an enum's value. */
static int take_enum(struct reader *in, int max)
{
	int value = (int)take_byte(in);
	if (value >= max && !in->why)
		in->why = "a value is unknown";
	return in->why ? 0 : value;
}

static struct reader record_begin(struct text bytes)
{
	struct reader in = {bytes, NULL};
	unsigned format = take_byte(&in);
	if (!in.why && format != DIRECTORY_FORMAT)
		in.why = "the record is of another format";
	return in;
}

static const char *record_end(const struct reader *in)
{
	if (in->why)
		return in->why;
	return in->rest.len ? "bytes are left over behind the record" : NULL;
}

/* The end of a list element: moves LIST behind it, or to its end when the element was damaged. */
static bool element_end(struct directory_list *list, const struct reader *in)
{
	list->bytes = in->why ? (struct text){"", 0} : in->rest;
	return !in->why;
}

static bool element_begin(const struct directory_list *list, struct reader *in)
{
	*in = (struct reader){list->bytes, NULL};
	return list->bytes.len > 0;
}

bool directory_right_next(struct directory_list *list, struct right *out)
{
	struct reader in;
	if (!element_begin(list, &in))
		return false;
	out->allow = take_enum(&in, 2);
	out->pattern = take_text(&in);
	return element_end(list, &in);
}

void directory_right_add(struct buffer *list, struct right right)
{
	put_byte(list, right.allow);
	put_text(list, right.pattern);
}

#define NETWORK_BITS 128

/* A network is its prefix and only those bytes of the address that the prefix reaches into. */
bool directory_network_next(struct directory_list *list, struct network *out)
{
	struct reader in;
	if (!element_begin(list, &in))
		return false;
	*out = (struct network){.prefix = (uint8_t)take_enum(&in, NETWORK_BITS + 1)};
	for (size_t i = 0; i < ((size_t)out->prefix + 7) / 8; i++)
		out->address[i] = (uint8_t)take_byte(&in);
	return element_end(list, &in);
}

void directory_network_add(struct buffer *list, const struct network *network)
{
	put_byte(list, network->prefix);
	buffer_add(list, network->address, ((size_t)network->prefix + 7) / 8);
}

bool directory_limit_next(struct directory_list *list, struct limit *out)
{
	struct reader in;
	if (!element_begin(list, &in))
		return false;
	out->id = take_text(&in);
	out->scope = (enum limit_scope)take_enum(&in, LIMIT_SCOPE_MAX);
	out->unit = (enum limit_unit)take_enum(&in, LIMIT_UNIT_MAX);
	out->action = (enum limit_action)take_enum(&in, LIMIT_ACTION_MAX);
	out->spec.period = (enum limit_period)take_enum(&in, LIMIT_PERIOD_MAX);
	out->spec.amount = take_int(&in);
	out->spec.burst = take_int(&in);
	out->destination = take_text(&in);
	return element_end(list, &in);
}

void directory_limit_add(struct buffer *list, const struct limit *limit)
{
	put_text(list, limit->id);
	put_byte(list, (int)limit->scope);
	put_byte(list, (int)limit->unit);
	put_byte(list, (int)limit->action);
	put_byte(list, (int)limit->spec.period);
	put_int(list, limit->spec.amount);
	put_int(list, limit->spec.burst);
	put_text(list, limit->destination);
}

bool directory_key_next(struct directory_list *list, struct directory_key *out)
{
	struct reader in;
	if (!element_begin(list, &in))
		return false;
	out->selector = take_text(&in);
	out->algorithm = (enum directory_key_algorithm)take_enum(&in, DIRECTORY_ALGORITHM_MAX);
	out->state = (enum directory_key_state)take_enum(&in, DIRECTORY_KEY_MAX);
	out->sealed = take_text(&in);
	out->public_key = take_text(&in);
	return element_end(list, &in);
}

void directory_key_add(struct buffer *list, const struct directory_key *key)
{
	put_text(list, key->selector);
	put_byte(list, (int)key->algorithm);
	put_byte(list, (int)key->state);
	put_text(list, key->sealed);
	put_text(list, key->public_key);
}

bool directory_name_next(struct directory_list *list, struct text *out)
{
	struct reader in;
	if (!element_begin(list, &in))
		return false;
	*out = take_text(&in);
	return element_end(list, &in);
}

void directory_name_add(struct buffer *list, struct text name)
{
	put_text(list, name);
}

bool directory_offset_next(struct directory_list *list, struct directory_offset *out)
{
	struct reader in;
	if (!element_begin(list, &in))
		return false;
	out->from = take_int(&in);
	out->offset = (int32_t)take_int(&in);
	return element_end(list, &in);
}

void directory_offset_add(struct buffer *list, struct directory_offset offset)
{
	put_int(list, offset.from);
	put_int(list, offset.offset);
}

int32_t directory_offset_at(struct directory_list offsets, int64_t now_s)
{
	struct directory_offset next;
	int32_t offset = 0;
	bool first = true;
	while (directory_offset_next(&offsets, &next)) {
		/* The first holds for the time before it as well. */
		if (!first && next.from > now_s)
			break;
		offset = next.offset;
		first = false;
	}
	return offset;
}

void directory_login_encode(const struct directory_login *in, struct buffer *out)
{
	put_byte(out, DIRECTORY_FORMAT);
	put_text(out, in->name);
	put_text(out, in->customer);
	put_byte(out, in->enabled);
	put_int(out, in->created_at);
	put_int(out, in->expires_at);
	put_text(out, in->rights.bytes);
	put_text(out, in->networks.bytes);
	put_text(out, in->limits.bytes);
	put_text(out, in->destinations.bytes);
	put_int(out, in->suspended_at);
	put_text(out, in->suspended_reason);
	put_int(out, in->guard_since);
}

const char *directory_login_decode(struct text bytes, struct directory_login *out)
{
	struct reader in = record_begin(bytes);
	out->name = take_text(&in);
	out->customer = take_text(&in);
	out->enabled = take_enum(&in, 2);
	out->created_at = take_int(&in);
	out->expires_at = take_int(&in);
	out->rights = take_list(&in);
	out->networks = take_list(&in);
	out->limits = take_list(&in);
	out->destinations = take_list(&in);
	out->suspended_at = take_int(&in);
	out->suspended_reason = take_text(&in);
	out->guard_since = take_int(&in);
	return record_end(&in);
}

void directory_customer_encode(const struct directory_customer *in, struct buffer *out)
{
	put_byte(out, DIRECTORY_FORMAT);
	put_text(out, in->name);
	put_byte(out, (int)in->status);
	put_text(out, in->status_reason);
	put_int(out, in->status_until);
	put_byte(out, (int)in->header_from);
	put_byte(out, in->return_path);
	put_text(out, in->list_unsubscribe);
	put_text(out, in->limits.bytes);
	put_text(out, in->offsets.bytes);
	put_int(out, in->max_recipients);
	put_byte(out, (int)in->takeover);
	put_text(out, in->transport);
}

const char *directory_customer_decode(struct text bytes, struct directory_customer *out)
{
	struct reader in = record_begin(bytes);
	out->name = take_text(&in);
	out->status = (enum directory_status)take_enum(&in, DIRECTORY_STATUS_MAX);
	out->status_reason = take_text(&in);
	out->status_until = take_int(&in);
	out->header_from = (enum directory_header_from)take_enum(&in, DIRECTORY_FROM_MAX);
	out->return_path = take_enum(&in, 2);
	out->list_unsubscribe = take_text(&in);
	out->limits = take_list(&in);
	out->offsets = take_list(&in);
	out->max_recipients = take_int(&in);
	out->takeover = (enum takeover_action)take_enum(&in, TAKEOVER_ACTION_MAX);
	out->transport = take_text(&in);
	return record_end(&in);
}

void directory_domain_encode(const struct directory_domain *in, struct buffer *out)
{
	put_byte(out, DIRECTORY_FORMAT);
	put_text(out, in->name);
	put_text(out, in->customer);
	put_byte(out, (int)in->profile);
	put_byte(out, (int)in->signatures);
	put_text(out, in->keys.bytes);
	put_text(out, in->limits.bytes);
}

const char *directory_domain_decode(struct text bytes, struct directory_domain *out)
{
	struct reader in = record_begin(bytes);
	out->name = take_text(&in);
	out->customer = take_text(&in);
	out->profile = (enum directory_header_profile)take_enum(&in, DIRECTORY_PROFILE_MAX);
	out->signatures = (enum directory_signatures)take_enum(&in, DIRECTORY_SIGN_MAX);
	out->keys = take_list(&in);
	out->limits = take_list(&in);
	return record_end(&in);
}

void directory_suppression_encode(const struct directory_suppression *in, struct buffer *out)
{
	put_byte(out, DIRECTORY_FORMAT);
	put_text(out, in->reason);
	put_text(out, in->event_id);
	put_int(out, in->created_at);
	put_int(out, in->expires_at);
}

const char *directory_suppression_decode(struct text bytes, struct directory_suppression *out)
{
	struct reader in = record_begin(bytes);
	out->reason = take_text(&in);
	out->event_id = take_text(&in);
	out->created_at = take_int(&in);
	out->expires_at = take_int(&in);
	return record_end(&in);
}

void directory_relay_encode(const struct directory_relay *in, struct buffer *out)
{
	put_byte(out, DIRECTORY_FORMAT);
	put_text(out, in->limits.bytes);
}

const char *directory_relay_decode(struct text bytes, struct directory_relay *out)
{
	struct reader in = record_begin(bytes);
	out->limits = take_list(&in);
	return record_end(&in);
}

void directory_state_encode(const struct directory_state *in, struct buffer *out)
{
	put_byte(out, DIRECTORY_FORMAT);
	put_text(out, in->source);
	put_int(out, in->seq);
	put_text(out, in->snapshot);
	put_int(out, in->built_at);
	put_int(out, in->changed_at);
}

const char *directory_state_decode(struct text bytes, struct directory_state *out)
{
	struct reader in = record_begin(bytes);
	out->source = take_text(&in);
	out->seq = take_int(&in);
	out->snapshot = take_text(&in);
	out->built_at = take_int(&in);
	out->changed_at = take_int(&in);
	return record_end(&in);
}

void directory_senders_encode(const struct directory_senders *in, struct buffer *out)
{
	put_byte(out, DIRECTORY_FORMAT);
	put_text(out, in->logins.bytes);
}

const char *directory_senders_decode(struct text bytes, struct directory_senders *out)
{
	struct reader in = record_begin(bytes);
	out->logins = take_list(&in);
	return record_end(&in);
}

void directory_return_path_encode(const struct directory_return_path *in, struct buffer *out)
{
	put_byte(out, DIRECTORY_FORMAT);
	put_text(out, in->customer);
}

const char *directory_return_path_decode(struct text bytes, struct directory_return_path *out)
{
	struct reader in = record_begin(bytes);
	out->customer = take_text(&in);
	return record_end(&in);
}
