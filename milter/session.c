#include <stdlib.h>

#include "common/memory.h"

#include "milter/fold.h"
#include "milter/session.h"
#include "milter/signature.h"

static struct text without_brackets(struct text address)
{
	if (address.len >= 2 && address.ptr[0] == '<' && address.ptr[address.len - 1] == '>')
		return text_at(address.ptr + 1, address.len - 2);
	return address;
}

void session_begin(struct session *session, struct text sender, canon_sink *sink, void *context)
{
	session->sender.len = session->names.len = 0;
	buffer_text(&session->sender, without_brackets(sender));
	fields_clear(&session->fields);
	session->fields_overflow = session->eight_bit_mime = false;
	session->recipients = session->body_bytes = 0;
	session->destination_count = 0;
	canon_body_begin(&session->body, sink, context);
	survival_begin(&session->survival);
	session->sampled = false;
	session->kept.len = 0;
}

void session_parameter(struct session *session, struct text parameter)
{
	session->eight_bit_mime |= text_equal_fold(parameter, TEXT("BODY=8BITMIME"));
}

bool session_login(struct session *session, struct text login)
{
	if (session->login.len)
		return text_equal(buffer_view(&session->login), login);
	buffer_text(&session->login, login);
	return true;
}

void session_client(struct session *session, struct text client)
{
	session->client.len = 0;
	buffer_text(&session->client, client);
}

void session_free(struct session *session)
{
	buffer_free(&session->client);
	buffer_free(&session->login);
	buffer_free(&session->sender);
	buffer_free(&session->names);
	buffer_free(&session->kept);
	fields_free(&session->fields);
	free(session->destinations);
	session->destinations = NULL;
	session->destination_count = session->destination_room = 0;
}

struct text session_destination(const struct session *session, size_t i)
{
	return text_at(session->names.ptr + session->destinations[i].at, session->destinations[i].len);
}

static struct session_destination *find_destination(struct session *session, struct text domain)
{
	for (size_t i = session->destination_count; i-- > 0;)
		if (text_equal_fold(session_destination(session, i), domain))
			return &session->destinations[i];
	return NULL;
}

static struct session_destination *add_destination(struct session *session, struct text domain)
{
	if (session->destination_count == session->destination_room) {
		session->destination_room = session->destination_room ? session->destination_room * 2 : 8;
		session->destinations =
			memory_resize(session->destinations, session->destination_room, sizeof *session->destinations);
	}
	struct session_destination *new = &session->destinations[session->destination_count++];
	*new = (struct session_destination){session->names.len, domain.len, 0};
	for (size_t i = 0; i < domain.len; i++) {
		char c = domain.ptr[i];
		buffer_char(&session->names, c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c);
	}
	return new;
}

void session_rename_destination(struct session *session, size_t i, struct text name)
{
	int64_t recipients = session->destinations[i].recipients;
	session->destinations[i] = session->destinations[--session->destination_count];
	struct session_destination *destination = find_destination(session, name);
	if (!destination)
		destination = add_destination(session, name);
	destination->recipients += recipients;
}

void session_recipient(struct session *session, struct text recipient)
{
	session->recipients++;
	recipient = without_brackets(recipient);
	size_t at = text_rfind(recipient, '@');
	struct text domain = at == SIZE_MAX ? TEXT("") : text_from(recipient, at + 1);
	struct session_destination *destination = find_destination(session, domain);
	if (!destination)
		destination = add_destination(session, domain);
	destination->recipients++;
}

void session_field(struct session *session, struct text name, struct text value)
{
	if (!fields_add(&session->fields, name, value))
		session->fields_overflow = true;
}

void session_body(struct session *session, struct text chunk)
{
	session->body_bytes += (int64_t)chunk.len;
	canon_body_add(&session->body, chunk);
	survival_add(&session->survival, chunk);
	if (!session->sampled)
		return;
	session->sampled = session->kept.len + chunk.len <= SESSION_MAX_KEPT;
	if (session->sampled)
		buffer_text(&session->kept, chunk);
}

void session_sample(struct session *session)
{
	session->sampled = true;
}

void session_wire_field(struct text name, struct text value, struct buffer *out)
{
	buffer_text(out, name);
	buffer_text(out, TEXT(": "));
	for (size_t i = 0; i < value.len; i++) {
		if (value.ptr[i] == '\n' && (i == 0 || value.ptr[i - 1] != '\r'))
			buffer_char(out, '\r');
		buffer_char(out, value.ptr[i]);
	}
	buffer_text(out, TEXT("\r\n"));
}

void session_wire(const struct session *session, struct buffer *out)
{
	for (size_t i = 0; i < session->fields.count; i++) {
		struct text name = fields_name(&session->fields, i);
		if (!session_field_is_ours(session, i) && !text_equal_fold(name, TEXT(SIGNATURE_FIELD)))
			session_wire_field(name, fields_value(&session->fields, i), out);
	}
	buffer_text(out, TEXT("\r\n"));
	buffer_text(out, buffer_view(&session->kept));
}

bool session_field_is_ours(const struct session *session, size_t i)
{
	return text_starts_fold(fields_name(&session->fields, i), TEXT("x-waybill-"));
}

void session_fold(struct session *session)
{
	struct fields *fields = &session->fields;
	for (size_t i = 0; i < fields->count; i++) {
		struct text name = fields_name(fields, i), value = fields_value(fields, i);
		struct buffer folded = {0};
		if (session_field_is_ours(session, i) || !fold_is_due(name, value))
			continue;
		fold_value(name, value, &folded);
		if (name.len + sizeof ": " - 1 + folded.len <= FOLD_MAX_FIELD)
			fields_replace(fields, i, buffer_view(&folded));
		buffer_free(&folded);
	}
}

int64_t session_size(const struct session *session)
{
	return (int64_t)fields_size(&session->fields) + 2 + session->body_bytes;
}

enum reply_reason session_authors(const struct session *session, struct session_authors *out)
{
	size_t at = 0;
	out->from[0] = out->sender[0] = '\0';
	out->why = NULL;
	size_t count = fields_find(&session->fields, TEXT("from"), &at);
	if (count != 1)
		return count ? REPLY_FROM_SEVERAL : REPLY_FROM_MISSING;
	out->why = from_parse(fields_value(&session->fields, at), out->from);
	if (out->why)
		return REPLY_FROM_MALFORMED;
	count = fields_find(&session->fields, TEXT("sender"), &at);
	if (count > 1)
		return REPLY_SENDER_SEVERAL;
	if (count)
		out->why = from_parse(fields_value(&session->fields, at), out->sender);
	return out->why ? REPLY_SENDER_MALFORMED : REPLY_NONE;
}
