#include <stdlib.h>

#include "common/memory.h"

#include "milter/canon.h"
#include "milter/fields.h"

enum how {
	IF_PRESENT, /* each one that is there */
	ONE_MORE,   /* each one that is there and, if any, one that is not */
	ALWAYS      /* each one that is there and one that is not */
};

/* In the order of the h= tag. RFC 6376 section 5.4.1 for the core of it; RFC 8058 section 4 for List-Unsubscribe and
 * -Post; RFC 9477 section 3.1 for CFBL-*. Columns: strict, list-friendly. */
static const struct signed_name {
	struct text name;
	enum how how[DIRECTORY_PROFILE_MAX];
} signed_names[] = {
	{{"from", 4}, {ALWAYS, ALWAYS}},
	{{"to", 2}, {ALWAYS, ALWAYS}},
	{{"cc", 2}, {ALWAYS, IF_PRESENT}},
	{{"subject", 7}, {ALWAYS, ALWAYS}},
	{{"date", 4}, {ALWAYS, ALWAYS}},
	{{"reply-to", 8}, {ALWAYS, IF_PRESENT}},
	{{"message-id", 10}, {ONE_MORE, IF_PRESENT}},
	{{"mime-version", 12}, {ONE_MORE, IF_PRESENT}},
	{{"content-type", 12}, {ONE_MORE, IF_PRESENT}},
	{{"content-transfer-encoding", 25}, {ONE_MORE, IF_PRESENT}},
	{{"in-reply-to", 11}, {ONE_MORE, IF_PRESENT}},
	{{"references", 10}, {ONE_MORE, IF_PRESENT}},
	{{"sender", 6}, {IF_PRESENT, IF_PRESENT}},
	{{"resent-date", 11}, {IF_PRESENT, IF_PRESENT}},
	{{"resent-from", 11}, {IF_PRESENT, IF_PRESENT}},
	{{"resent-sender", 13}, {IF_PRESENT, IF_PRESENT}},
	{{"resent-to", 9}, {IF_PRESENT, IF_PRESENT}},
	{{"resent-cc", 9}, {IF_PRESENT, IF_PRESENT}},
	{{"resent-message-id", 17}, {IF_PRESENT, IF_PRESENT}},
	{{"list-id", 7}, {IF_PRESENT, IF_PRESENT}},
	{{"list-help", 9}, {IF_PRESENT, IF_PRESENT}},
	{{"list-owner", 10}, {IF_PRESENT, IF_PRESENT}},
	{{"list-subscribe", 14}, {IF_PRESENT, IF_PRESENT}},
	{{"list-unsubscribe", 16}, {IF_PRESENT, IF_PRESENT}},
	{{"list-unsubscribe-post", 21}, {IF_PRESENT, IF_PRESENT}},
	{{"list-archive", 12}, {IF_PRESENT, IF_PRESENT}},
	{{"list-post", 9}, {IF_PRESENT, IF_PRESENT}},
	{{"feedback-id", 11}, {IF_PRESENT, IF_PRESENT}},
	{{"cfbl-address", 12}, {IF_PRESENT, IF_PRESENT}},
	{{"cfbl-feedback-id", 16}, {IF_PRESENT, IF_PRESENT}},
};
#define SIGNED_NAMES ((int)(sizeof signed_names / sizeof *signed_names))

void fields_clear(struct fields *fields)
{
	fields->bytes.len = 0;
	fields->count = fields->unused = 0;
}

void fields_free(struct fields *fields)
{
	buffer_free(&fields->bytes);
	free(fields->list);
	*fields = (struct fields){0};
}

static int find_signed(struct text name)
{
	for (int i = 0; i < SIGNED_NAMES; i++)
		if (text_equal_fold(name, signed_names[i].name))
			return i;
	return -1;
}

bool fields_add(struct fields *fields, struct text name, struct text value)
{
	if (fields->count == FIELDS_MAX_COUNT || name.len + value.len > FIELDS_MAX_BYTES - fields->bytes.len)
		return false;
	if (fields->count == fields->room) {
		fields->room = fields->room ? fields->room * 2 : 32;
		fields->list = memory_resize(fields->list, fields->room, sizeof *fields->list);
	}
	size_t at = fields->bytes.len;
	buffer_text(&fields->bytes, name);
	buffer_text(&fields->bytes, value);
	fields->list[fields->count++] =
		(struct field){at, name.len, at + name.len, value.len, find_signed(text_trim(name)), false};
	return true;
}

bool fields_replace(struct fields *fields, size_t i, struct text value)
{
	if (value.len > FIELDS_MAX_BYTES - fields->bytes.len)
		return false;
	struct field *field = &fields->list[i];
	fields->unused += field->value_len;
	field->value = fields->bytes.len;
	field->value_len = value.len;
	field->replaced = true;
	buffer_text(&fields->bytes, value);
	return true;
}

bool fields_is_replaced(const struct fields *fields, size_t i)
{
	return fields->list[i].replaced;
}

struct text fields_name(const struct fields *fields, size_t i)
{
	return text_at(fields->bytes.ptr + fields->list[i].name, fields->list[i].name_len);
}

struct text fields_value(const struct fields *fields, size_t i)
{
	return text_at(fields->bytes.ptr + fields->list[i].value, fields->list[i].value_len);
}

size_t fields_find(const struct fields *fields, struct text name, size_t *first)
{
	size_t found = 0;
	for (size_t i = 0; i < fields->count; i++) {
		if (!text_equal_fold(text_trim(fields_name(fields, i)), name))
			continue;
		if (!found++ && first)
			*first = i;
	}
	return found;
}

size_t fields_number(const struct fields *fields, size_t i)
{
	size_t number = 1;
	for (size_t before = 0; before < i; before++)
		number += text_equal_fold(fields_name(fields, before), fields_name(fields, i));
	return number;
}

size_t fields_size(const struct fields *fields)
{
	return fields->bytes.len - fields->unused + fields->count * (sizeof ": \r\n" - 1);
}

static void add_name(struct buffer *names, struct text name)
{
	if (names->len)
		buffer_char(names, ':');
	buffer_text(names, name);
}

void fields_select(const struct fields *fields, enum directory_header_profile profile, struct buffer *names,
		   struct buffer *canon)
{
	for (int row = 0; row < SIGNED_NAMES; row++) {
		const struct signed_name *signed_name = &signed_names[row];
		enum how how = signed_name->how[profile];
		bool present = false;
		for (size_t i = fields->count; i-- > 0;) {
			if (fields->list[i].known != row)
				continue;
			present = true;
			add_name(names, signed_name->name);
			canon_header(fields_name(fields, i), fields_value(fields, i), canon);
			buffer_add(canon, "\r\n", 2);
		}
		if (how == ALWAYS || (how == ONE_MORE && present))
			add_name(names, signed_name->name);
	}
}
