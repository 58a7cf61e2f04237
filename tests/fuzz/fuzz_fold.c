/* Any header value, folded: no line is too long, and but for white space it is the same; any body cut at any place has the
 * same finding. */

#include <stdlib.h>
#include <string.h>

#include "milter/fold.h"
#include "milter/survival.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_white(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void check_fold(struct text name, struct text value)
{
	struct buffer out = {0};
	size_t at = 0;
	if (!fold_is_due(name, value))
		return;
	fold_value(name, value, &out);
	if (fold_is_due(name, buffer_view(&out)))
		abort();
	for (size_t i = 0; i < value.len; i++) {
		if (is_white(value.ptr[i]))
			continue;
		while (at < out.len && is_white(out.ptr[at]))
			at++;
		if (at == out.len || out.ptr[at++] != value.ptr[i])
			abort();
	}
	buffer_free(&out);
}

static struct survival_finding look(struct text body, size_t chunk)
{
	struct survival survival;
	const struct fields none = {0};
	survival_begin(&survival);
	for (size_t at = 0; at < body.len; at += chunk)
		survival_add(&survival, text_head(text_from(body, at), chunk));
	return survival_end(&survival, &none);
}

static void check_survival(struct text body, size_t chunk)
{
	struct survival_finding whole = look(body, body.len + 1), parts = look(body, chunk), bytes = look(body, 1);
	if (whole.problem != parts.problem || whole.line != parts.line || whole.problem != bytes.problem ||
	    whole.line != bytes.line)
		abort();
}

/* Each byte above 127 stands for as many as make lines long enough to matter. */
static void expand(struct text in, struct buffer *out)
{
	for (size_t i = 0; i < in.len; i++) {
		unsigned char c = (unsigned char)in.ptr[i];
		for (int times = c < 0xe0 ? 1 : (c - 0xdf) * 32; times; times--)
			buffer_char(out, c < 0xe0 ? in.ptr[i] : 'x');
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buffer value = {0};
	if (!size || size > 4096)
		return 0;
	expand(text_at(data + 1, size - 1), &value);
	check_fold(text_head(TEXT("Subject-or-something-longer"), data[0] % 28), buffer_view(&value));
	check_survival(buffer_view(&value), 1U + data[0] * 8U);
	buffer_free(&value);
	return 0;
}
