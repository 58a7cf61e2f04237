#include <string.h>

#include "milter/fold.h"
#include "milter/survival.h"
#include "milter/wide.h"

const char *const survival_ids[SURVIVAL_MAX + 1] = {
	[SURVIVAL_GOOD] = "good",
	[SURVIVAL_EIGHT_BIT_BODY] = "8bit",
	[SURVIVAL_UNDECLARED_8BIT] = "8bit-undeclared",
	[SURVIVAL_EIGHT_BIT_HEADER] = "8bit-header",
	[SURVIVAL_LONG_LINE] = "long-line",
	[SURVIVAL_BARE_LF] = "bare-lf",
	[SURVIVAL_BARE_CR] = "bare-cr",
	[SURVIVAL_NUL] = "nul",
};

static const char *const words[SURVIVAL_MAX] = {
	[SURVIVAL_GOOD] = "is fine",
	[SURVIVAL_EIGHT_BIT_BODY] = "has 8-bit text",
	[SURVIVAL_UNDECLARED_8BIT] = "has 8-bit text that Content-Transfer-Encoding does not declare",
	[SURVIVAL_EIGHT_BIT_HEADER] = "has 8-bit text in a header field",
	[SURVIVAL_LONG_LINE] = "is longer than 998 bytes",
	[SURVIVAL_BARE_LF] = "has a LF without CR",
	[SURVIVAL_BARE_CR] = "has a CR without LF",
	[SURVIVAL_NUL] = "has a NUL byte",
};

const char *survival_id(enum survival_problem problem)
{
	return survival_ids[problem];
}

const char *survival_words(enum survival_problem problem)
{
	return words[problem];
}

void survival_begin(struct survival *survival)
{
	*survival = (struct survival){.line = 1};
}

static void found(struct survival *survival, enum survival_problem problem)
{
	if (problem <= survival->problem)
		return;
	survival->problem = problem;
	survival->problem_line = survival->line;
}

static bool has_eight_bit(struct text t)
{
	uint64_t bits = 0, word;
	size_t i = 0;
	for (; i + sizeof word <= t.len; i += sizeof word) {
		memcpy(&word, t.ptr + i, sizeof word);
		bits |= word;
	}
	for (; i < t.len; i++)
		bits |= (unsigned char)t.ptr[i];
	return (bits & 0x8080808080808080U) != 0;
}

/* Bytes of one line, its LF not included. RARE: there may be NUL or 8-bit bytes. */
static void look_at(struct survival *survival, struct text part, bool rare)
{
	if (!part.len)
		return;
	if (survival->cr)
		found(survival, SURVIVAL_BARE_CR);
	size_t first = text_find(part, '\r');
	survival->cr = part.ptr[part.len - 1] == '\r';
	if (first < part.len - 1)
		found(survival, SURVIVAL_BARE_CR);
	if (rare && text_find(part, '\0') != SIZE_MAX)
		found(survival, SURVIVAL_NUL);
	if (rare && has_eight_bit(part))
		found(survival, SURVIVAL_EIGHT_BIT_BODY);
	survival->length += part.len;
	if (survival->length - survival->cr > SURVIVAL_MAX_LINE)
		found(survival, SURVIVAL_LONG_LINE);
}

/* Are all bytes of 7 bits, none of them NUL, and CR and LF only together? */
static bool is_plain(char before, char byte)
{
	return byte != '\0' && (unsigned char)byte < 0x80 && (byte == '\n') == (before == '\r');
}

/* The same of COUNT times WIDE_BYTES from AT on, which has a byte before it; adds to *LINES how many LF there are. */
static bool are_plain(const char *at, size_t count, size_t *lines)
{
	wide odd = {0}, bits = {0};
	for (; count; count--, at += WIDE_BYTES) {
		wide byte = wide_load(at), lf = wide_is(byte, '\n');
		odd |= (lf ^ wide_is(wide_load(at - 1), '\r')) | wide_is(byte, '\0');
		bits |= byte;
		*lines += wide_count(lf);
	}
	return !wide_bits(odd) && !(wide_bits(bits) & WIDE_HIGH_BITS);
}

static bool look_over(struct text bytes, char before, size_t *lines)
{
	size_t wides = bytes.len ? (bytes.len - 1) / WIDE_BYTES : 0;
	*lines = 0;
	if (wides && !are_plain(bytes.ptr + 1, wides, lines))
		return false;
	for (size_t i = 0; i < bytes.len; i += i ? 1 : 1 + wides * WIDE_BYTES) {
		if (!is_plain(i ? bytes.ptr[i - 1] : before, bytes.ptr[i]))
			return false;
		*lines += bytes.ptr[i] == '\n';
	}
	return true;
}

/* Is no line too long? LENGTH is what the first one has from before, and becomes what the last one has. Looks for the
 * last line end that keeps each stretch short enough rather than for every one. */
static bool lines_fit(struct text bytes, size_t *length)
{
	for (;;) {
		size_t room = SURVIVAL_MAX_LINE + 2 - *length; /* with CRLF */
		size_t lf = text_rfind(text_head(bytes, room), '\n');
		if (lf == SIZE_MAX)
			break;
		bytes = text_from(bytes, lf + 1);
		*length = 0;
	}
	*length += bytes.len;
	return *length <= SURVIVAL_MAX_LINE;
}

/* Chunks in which nothing is to be found, as nearly all are, in two fast passes. */
static bool add_plain(struct survival *survival, struct text bytes)
{
	size_t lines, length = survival->length;
	if (!bytes.len || length > SURVIVAL_MAX_LINE || !look_over(bytes, survival->cr ? '\r' : '\0', &lines) ||
	    !lines_fit(bytes, &length))
		return false;
	survival->line += lines;
	survival->length = length;
	survival->cr = bytes.ptr[bytes.len - 1] == '\r';
	return true;
}

void survival_add(struct survival *survival, struct text bytes)
{
	if (add_plain(survival, bytes))
		return;
	bool rare = has_eight_bit(bytes) || text_find(bytes, '\0') != SIZE_MAX;
	while (bytes.len) {
		size_t end = text_find(bytes, '\n');
		look_at(survival, text_head(bytes, end), rare);
		if (end == SIZE_MAX)
			return;
		if (!survival->cr)
			found(survival, SURVIVAL_BARE_LF);
		survival->cr = false;
		survival->length = 0;
		survival->line++;
		bytes = text_from(bytes, end + 1);
	}
}

/* RFC 2045 section 6.2: these allow bytes above 127. */
static bool declares_eight_bit(const struct fields *fields)
{
	size_t at = 0;
	if (!fields_find(fields, TEXT("content-transfer-encoding"), &at))
		return false;
	struct text value = text_trim(fields_value(fields, at));
	return text_starts_fold(value, TEXT("8bit")) || text_starts_fold(value, TEXT("binary"));
}

/* A CR that no LF follows, in a value folded with LF or CRLF. */
static bool has_bare_cr(struct text value)
{
	for (size_t at; (at = text_find(value, '\r')) != SIZE_MAX; value = text_from(value, at + 1))
		if (at + 1 == value.len || value.ptr[at + 1] != '\n')
			return true;
	return false;
}

static enum survival_problem field_problem(struct text name, struct text value)
{
	if (text_find(value, '\0') != SIZE_MAX)
		return SURVIVAL_NUL;
	if (has_bare_cr(value))
		return SURVIVAL_BARE_CR;
	if (fold_is_due(name, value))
		return SURVIVAL_LONG_LINE;
	return has_eight_bit(value) ? SURVIVAL_EIGHT_BIT_HEADER : SURVIVAL_GOOD;
}

struct survival_finding survival_end(struct survival *survival, const struct fields *fields)
{
	if (survival->cr)
		found(survival, SURVIVAL_BARE_CR);
	if (survival->problem == SURVIVAL_EIGHT_BIT_BODY && !declares_eight_bit(fields))
		survival->problem = SURVIVAL_UNDECLARED_8BIT;
	struct survival_finding finding = {survival->problem, false, survival->problem_line};
	for (size_t i = 0; i < fields->count; i++) {
		enum survival_problem problem = field_problem(fields_name(fields, i), fields_value(fields, i));
		if (problem > finding.problem)
			finding = (struct survival_finding){problem, true, i + 1};
	}
	return finding;
}
