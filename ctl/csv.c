#include "ctl/csv.h"

/* LINE begins behind an opening quote. */
static const char *take_quoted(struct text *line, struct buffer *out)
{
	for (size_t i = 0; i < line->len; i++) {
		if (line->ptr[i] != '"') {
			buffer_char(out, line->ptr[i]);
		} else if (i + 1 < line->len && line->ptr[i + 1] == '"') {
			buffer_char(out, line->ptr[i++]);
		} else {
			*line = text_from(*line, i + 1);
			return NULL;
		}
	}
	return "a quote is not closed";
}

bool csv_next(struct text *line, struct buffer *out, const char **why)
{
	struct text rest;
	out->len = 0;
	if (!line->ptr)
		return false;
	if (line->len && line->ptr[0] == '"') {
		*line = text_from(*line, 1);
		*why = take_quoted(line, out);
		if (*why)
			return false;
	}
	/* What follows a closing quote belongs to the field, as most readers have it. */
	text_take(line, ',', &rest);
	buffer_text(out, rest);
	return true;
}

void csv_add(struct buffer *line, struct text field)
{
	/* A line that begins with "#" is a comment to who reads it. */
	bool quote = (!line->len && text_starts(field, TEXT("#"))) || text_find(field, ',') != SIZE_MAX ||
		     text_find(field, '"') != SIZE_MAX || text_find(field, '\n') != SIZE_MAX ||
		     text_find(field, '\r') != SIZE_MAX;
	if (line->len)
		buffer_char(line, ',');
	if (!quote) {
		buffer_text(line, field);
		return;
	}
	buffer_char(line, '"');
	for (size_t i = 0; i < field.len; i++) {
		if (field.ptr[i] == '"')
			buffer_char(line, '"');
		buffer_char(line, field.ptr[i]);
	}
	buffer_char(line, '"');
}

void array_add(struct buffer *array, struct text element)
{
	buffer_text(array, array->len ? TEXT(",\"") : TEXT("{\""));
	for (size_t i = 0; i < element.len; i++) {
		if (element.ptr[i] == '"' || element.ptr[i] == '\\')
			buffer_char(array, '\\');
		buffer_char(array, element.ptr[i]);
	}
	buffer_char(array, '"');
}

void array_end(struct buffer *array)
{
	buffer_text(array, array->len ? TEXT("}") : TEXT("{}"));
}
