#include <string.h>

#include "milter/from.h"

/* Recursive descent over the grammar of RFC 5322 sections 3.2 to 3.4 and 4.4, with one token of look-ahead that the
 * grammar needs: whether "word word …" turns out to be a display name ("<" follows) or a local part ("@" follows). */
struct scan {
	struct text in;
	size_t at;
	char *out;   /* the address so far */
	size_t used; /* its length */
	const char *why;
};

static bool fail(struct scan *s, const char *why)
{
	if (!s->why)
		s->why = why;
	return false;
}

static bool at_end(const struct scan *s)
{
	return s->at == s->in.len;
}

static char peek(const struct scan *s)
{
	return at_end(s) ? '\0' : s->in.ptr[s->at];
}

/* A control byte other than those of folding. */
static bool is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

static bool is_white(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* atext (RFC 5322 section 3.2.3), with UTF-8 (RFC 6532 section 3.2). */
static bool is_atext(char c)
{
	if ((unsigned char)c >= 0x80)
		return true;
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

static bool emit(struct scan *s, char c)
{
	if (s->used + 1 >= FROM_ADDRESS_SIZE)
		return fail(s, "an address that is too long");
	s->out[s->used++] = c;
	return true;
}

/* Behind "(": to the matching ")". */
static bool skip_comment(struct scan *s)
{
	size_t depth = 1;
	for (s->at++; !at_end(s); s->at++) {
		char c = peek(s);
		if (c == '\\')
			s->at++;
		else if (c == '(' && ++depth > FROM_MAX_NESTING)
			return fail(s, "comments nested too deeply");
		else if (c == ')' && --depth == 0) {
			s->at++;
			return true;
		}
		if (at_end(s))
			break;
	}
	return fail(s, "an unclosed comment");
}

/* CFWS, possibly nothing. */
static bool skip_cfws(struct scan *s)
{
	for (;;) {
		char c = peek(s);
		if (at_end(s) || !(is_white(c) || c == '('))
			return true;
		if (c != '(')
			s->at++;
		else if (!skip_comment(s))
			return false;
	}
}

/* The raw text of a quoted string without its quotes; moves behind it. */
static bool take_quoted(struct scan *s, struct text *raw)
{
	size_t begin = ++s->at;
	for (; !at_end(s); s->at++) {
		char c = peek(s);
		if (c == '"') {
			*raw = text_at(s->in.ptr + begin, s->at++ - begin);
			return true;
		}
		if (c == '\\' && ++s->at == s->in.len)
			break;
	}
	return fail(s, "an unclosed quoted string");
}

static bool take_atom(struct scan *s, struct text *atom)
{
	size_t begin = s->at;
	while (!at_end(s) && is_atext(peek(s)))
		s->at++;
	*atom = text_at(s->in.ptr + begin, s->at - begin);
	return atom->len > 0;
}

/* Does a quoted string's content, its quoted pairs resolved, form a dot-atom, so that it means the same unquoted? */
static bool quotes_needed(struct text raw)
{
	bool dot = true;
	for (size_t i = 0; i < raw.len; i++) {
		if (raw.ptr[i] == '\r' || raw.ptr[i] == '\n')
			continue; /* folding is undone */
		if (raw.ptr[i] == '\\')
			i++;
		if (raw.ptr[i] == '.' ? dot : !is_atext(raw.ptr[i]))
			return true;
		dot = raw.ptr[i] == '.';
	}
	return dot;
}

static bool emit_quoted(struct scan *s, struct text raw)
{
	bool quotes = quotes_needed(raw);
	if (quotes && !emit(s, '"'))
		return false;
	for (size_t i = 0; i < raw.len; i++) {
		char c = raw.ptr[i];
		if (c == '\r' || c == '\n')
			continue;
		if (c == '\\' && is_control(raw.ptr[i + 1]))
			return fail(s, "a control character");
		if (c == '\\' && !quotes)
			continue;
		if (!emit(s, c))
			return false;
		if (c == '\\' && !emit(s, raw.ptr[++i]))
			return false;
	}
	return !quotes || emit(s, '"');
}

/* word *("." word): one quoted string, or atoms with CFWS around the dots (obs-local-part). Several quoted strings
 * with dots between are valid by the obsolete grammar and read differently by everyone: refused. */
static bool local_part(struct scan *s)
{
	struct text word;
	if (peek(s) == '"')
		return take_quoted(s, &word) && emit_quoted(s, word) && skip_cfws(s);
	for (;;) {
		if (!take_atom(s, &word))
			return fail(s, "a malformed address");
		for (size_t i = 0; i < word.len; i++)
			if (!emit(s, word.ptr[i]))
				return false;
		if (!skip_cfws(s))
			return false;
		if (peek(s) != '.')
			return true;
		s->at++;
		if (!emit(s, '.') || !skip_cfws(s))
			return false;
	}
}

/* atom *("." atom), CFWS around each (obs-domain). A domain literal belongs to nobody. */
static bool domain(struct scan *s)
{
	struct text atom;
	for (;;) {
		if (!skip_cfws(s))
			return false;
		if (peek(s) == '[')
			return fail(s, "an address literal instead of a domain");
		if (!take_atom(s, &atom))
			return fail(s, "an address without a domain");
		for (size_t i = 0; i < atom.len; i++)
			if (!emit(s, atom.ptr[i]))
				return false;
		if (!skip_cfws(s))
			return false;
		if (peek(s) != '.')
			return true;
		s->at++;
		if (!emit(s, '.'))
			return false;
	}
}

static bool addr_spec(struct scan *s)
{
	if (!skip_cfws(s) || !local_part(s))
		return false;
	if (peek(s) != '@')
		return fail(s, at_end(s) ? "no address" : "a malformed address");
	s->at++;
	return emit(s, '@') && domain(s);
}

/* Behind "<". */
static bool angle_addr(struct scan *s)
{
	s->at++;
	if (!skip_cfws(s))
		return false;
	if (peek(s) == '@')
		return fail(s, "a source route");
	if (peek(s) == '>')
		return fail(s, "an empty address");
	if (!addr_spec(s))
		return false;
	if (peek(s) != '>')
		return fail(s, "an address without its closing \">\"");
	s->at++;
	return skip_cfws(s);
}

/* Moves over the words of a display name: atoms, quoted strings, and what careless senders write into names and every
 * reader accepts: dots (obs-phrase) and square brackets. False at the first byte that is none of it. */
static bool skip_word(struct scan *s)
{
	struct text word;
	char c = peek(s);
	if (c == '"')
		return take_quoted(s, &word);
	if (!at_end(s) && (c == '.' || c == '[' || c == ']')) {
		s->at++;
		return true;
	}
	return !at_end(s) && take_atom(s, &word);
}

/* What stands behind a display name's words, or behind a bare local part's. */
static bool mailbox(struct scan *s)
{
	size_t begin = s->at;
	while (skip_word(s))
		if (!skip_cfws(s))
			return false;
	if (s->why)
		return false;
	if (peek(s) == '<')
		return angle_addr(s);
	if (peek(s) == ':')
		return fail(s, "a group instead of an address");
	s->at = begin;
	return addr_spec(s);
}

static const char *after_mailbox(char c)
{
	switch (c) {
	case ',': return "several addresses";
	case ';': return "a semicolon instead of a comma, or a group";
	case '<': return "two addresses in one";
	case '@': return "two at signs in one address";
	}
	return "text behind the address";
}

static bool has_control(struct text value)
{
	for (size_t i = 0; i < value.len; i++)
		if (is_control(value.ptr[i]) && !is_white(value.ptr[i]))
			return true;
	return false;
}

const char *from_parse(struct text value, char out[FROM_ADDRESS_SIZE])
{
	struct scan s = {.in = value, .out = out};
	out[0] = '\0';
	if (has_control(value))
		return "a control character";
	if (!skip_cfws(&s))
		return s.why;
	if (at_end(&s))
		return "no address";
	if (peek(&s) == ',')
		return "an empty element in the list";
	if (!mailbox(&s))
		return s.why ? s.why : "a malformed address";
	if (!at_end(&s))
		return after_mailbox(peek(&s));
	out[s.used] = '\0';
	struct addr address;
	if (text_utf8_head(text_at(out, s.used)) < s.used)
		return "an address that is not UTF-8";
	return addr_parse(text_at(out, s.used), &address);
}
