#include <gmime/gmime.h>

#include "bouncer/report_mime_internal.h"

struct reader {
	report_mime_add *add;
	void *context;
	size_t parts, pieces;
};

/* Which piece a part is, by its type. */
static const struct {
	const char *type, *subtype;
	enum report_piece_kind kind;
} kinds[] = {
	{"message", "delivery-status", PIECE_STATUS},
	{"message", "global-delivery-status", PIECE_STATUS}, /* RFC 6533 */
	{"message", "feedback-report", PIECE_FEEDBACK},
	{"text", "rfc822-headers", PIECE_RETURNED},
	{"message", "global-headers", PIECE_RETURNED},
	{"text", "html", PIECE_HTML},
	{"text", "*", PIECE_NOTICE},
};

static void add_piece(struct reader *r, enum report_piece_kind kind, struct text lines)
{
	r->pieces++;
	r->add(r->context, kind, lines);
}

static void add_header(struct reader *r, enum report_piece_kind kind, GMimeObject *object)
{
	struct buffer lines = {0};
	GMimeHeaderList *list = g_mime_object_get_header_list(object);
	for (int i = 0; i < g_mime_header_list_get_count(list); i++) {
		GMimeHeader *header = g_mime_header_list_get_header_at(list, i);
		const char *name = g_mime_header_get_name(header), *value = g_mime_header_get_value(header);
		if (name && value)
			buffer_format(&lines, "%s: %s\n", name, value);
	}
	add_piece(r, kind, buffer_view(&lines));
	buffer_free(&lines);
}

/* Through the character set's converter, where there is one; else the bytes as they are. */
static GMimeStream *converted(GMimeStream *into, const char *charset)
{
	GMimeStream *stream = g_mime_stream_filter_new(into);
	GMimeFilter *filter = charset && g_ascii_strcasecmp(charset, "utf-8") != 0
				      ? g_mime_filter_charset_new(charset, "utf-8")
				      : NULL;
	if (filter) {
		g_mime_stream_filter_add((GMimeStreamFilter *)stream, filter);
		g_object_unref(filter);
	}
	return stream;
}

static void add_content(struct reader *r, enum report_piece_kind kind, GMimePart *object)
{
	GMimeDataWrapper *content = g_mime_part_get_content(object);
	if (!content)
		return;
	GByteArray *bytes = g_byte_array_new();
	GMimeStream *memory = g_mime_stream_mem_new_with_byte_array(bytes);
	GMimeStream *stream =
		converted(memory, g_mime_object_get_content_type_parameter((GMimeObject *)object, "charset"));
	g_mime_stream_mem_set_owner((GMimeStreamMem *)memory, FALSE);
	g_mime_data_wrapper_write_to_stream(content, stream);
	g_mime_stream_flush(stream);
	add_piece(r, kind, text_at(bytes->data, bytes->len));
	g_object_unref(stream);
	g_object_unref(memory);
	g_byte_array_free(bytes, TRUE);
}

static void read_part(struct reader *r, GMimePart *object)
{
	GMimeContentType *type = g_mime_object_get_content_type((GMimeObject *)object);
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (g_mime_content_type_is_type(type, kinds[i].type, kinds[i].subtype)) {
			add_content(r, kinds[i].kind, object);
			return;
		}
}

static void read_object(struct reader *r, GMimeObject *object, unsigned depth)
{
	if (!object || r->parts++ >= REPORT_MIME_MAX_PARTS)
		return;
	if (GMIME_IS_MULTIPART(object)) {
		GMimeMultipart *multipart = (GMimeMultipart *)object;
		for (int i = 0; depth < REPORT_MIME_MAX_DEPTH && i < g_mime_multipart_get_count(multipart); i++)
			read_object(r, g_mime_multipart_get_part(multipart, i), depth + 1);
	} else if (GMIME_IS_MESSAGE_PART(object)) {
		GMimeMessage *returned = g_mime_message_part_get_message((GMimeMessagePart *)object);
		if (returned)
			add_header(r, PIECE_RETURNED, (GMimeObject *)returned);
	} else if (GMIME_IS_PART(object)) {
		read_part(r, (GMimePart *)object);
	}
}

/* What stands behind the first empty line: of a mail whose parts cannot be told apart. */
static struct text body_of(struct text raw)
{
	size_t unix_end = text_search(raw, TEXT("\n\n")), end = text_search(raw, TEXT("\r\n\r\n"));
	return text_from(raw, end < unix_end ? end : unix_end);
}

void report_mime_parse(struct text raw, report_mime_add *add, void *context)
{
	struct reader r = {.add = add, .context = context};
	g_mime_init();
	GMimeStream *stream = g_mime_stream_mem_new_with_buffer(raw.ptr ? raw.ptr : "", raw.len);
	GMimeParser *parser = g_mime_parser_new_with_stream(stream);
	GMimeMessage *message = g_mime_parser_construct_message(parser, NULL);
	if (message) {
		add_header(&r, PIECE_HEADER, (GMimeObject *)message);
		read_object(&r, g_mime_message_get_mime_part(message), 0);
		g_object_unref(message);
	} else {
		add_piece(&r, PIECE_HEADER, (struct text){0});
	}
	if (r.pieces == 1)
		add_piece(&r, PIECE_NOTICE, body_of(raw));
	g_object_unref(parser);
	g_object_unref(stream);
}

static void add_to_mail(void *mail, enum report_piece_kind kind, struct text lines)
{
	report_mail_add(mail, kind, lines);
}

void report_mime_read(struct text raw, struct report_mail *out)
{
	*out = (struct report_mail){0};
	report_mime_parse(raw, add_to_mail, out);
}
