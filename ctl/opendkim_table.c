#include "ctl/opendkim_table.h"

struct text opendkim_line(struct text line)
{
	return text_trim(text_head(line, text_find(line, '#')));
}

/* Divides a line at its first white space. */
static bool divide(struct text line, struct text *first, struct text *rest)
{
	size_t at = 0;
	while (at < line.len && line.ptr[at] != ' ' && line.ptr[at] != '\t')
		at++;
	*first = text_head(line, at);
	*rest = text_trim(text_from(line, at));
	return first->len && rest->len;
}

const char *opendkim_key_parse(struct text line, struct opendkim_key *out)
{
	struct text rest;
	if (!divide(line, &out->name, &rest))
		return "a key table's line is NAME DOMAIN:SELECTOR:KEY";
	if (!text_take(&rest, ':', &out->domain) || !text_take(&rest, ':', &out->selector) || !rest.ptr ||
	    !out->domain.len || !out->selector.len || !rest.len)
		return "a key table's line is NAME DOMAIN:SELECTOR:KEY";
	out->key = rest;
	return NULL;
}

const char *opendkim_signing_parse(struct text line, struct opendkim_signing *out)
{
	if (!divide(line, &out->pattern, &out->name))
		return "a signing table's line is PATTERN NAME";
	size_t at = text_rfind(out->pattern, '@');
	out->domain = at == SIZE_MAX ? out->pattern : text_from(out->pattern, at + 1);
	if (!out->domain.len || text_find(out->domain, '*') != SIZE_MAX || out->domain.ptr[0] == '.')
		return "the pattern names no single domain";
	return NULL;
}
