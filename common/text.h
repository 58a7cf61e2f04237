#ifndef COMMON_TEXT_H
#define COMMON_TEXT_H

/* Views into somebody else's bytes, and the one growable buffer.
 *
 * A struct text owns nothing: it is valid as long as the bytes it points to. It may hold any byte, NUL included, and is
 * not NUL-terminated. A parser hands out views into its caller's buffer; whoever keeps one longer copies it. */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text {
	const char *ptr;
	size_t len;
};

/* A view of a string literal. */
#define TEXT(literal) ((struct text){(literal), sizeof(literal) - 1})
/* The two arguments of a "%.*s". */
#define TEXT_ARG(t) (int)(t).len, ((t).ptr ? (t).ptr : "")

/* A view of a C string; NULL gives the empty text. */
struct text text_of(const char *string);
/* The LEN bytes at PTR. */
static inline struct text text_at(const void *ptr, size_t len)
{
	return (struct text){ptr, len};
}

/* The bytes of T from offset FROM on, or at most LEN of them; clamped to T. */
static inline struct text text_from(struct text t, size_t from)
{
	if (from > t.len)
		from = t.len;
	return (struct text){t.ptr ? t.ptr + from : NULL, t.len - from};
}
static inline struct text text_head(struct text t, size_t len)
{
	return (struct text){t.ptr, len < t.len ? len : t.len};
}

static inline bool text_equal(struct text a, struct text b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
/* The same without regard to ASCII case. */
bool text_equal_fold(struct text a, struct text b);
static inline bool text_starts(struct text t, struct text prefix)
{
	return text_equal(text_head(t, prefix.len), prefix);
}
bool text_starts_fold(struct text t, struct text prefix);
bool text_ends(struct text t, struct text suffix);
/* <0, 0 or >0 as memcmp, a prefix first. */
int text_compare(struct text a, struct text b);
/* The offset of the first (last) C in T, or of the first NEEDLE; SIZE_MAX when there is none. An empty one is at the begin. */
size_t text_find(struct text t, char c);
size_t text_rfind(struct text t, char c);
size_t text_search(struct text t, struct text needle);
bool text_search_fold(struct text t, struct text needle);

/* T without leading and trailing space, tab, CR and LF. */
struct text text_trim(struct text t);
/* Takes from *REST what stands before the first SEPARATOR and moves *REST behind it; false when *REST is used up
 * (*REST.ptr becomes NULL after the last piece, so that "a," gives two pieces and "" gives one). */
bool text_take(struct text *rest, char separator, struct text *piece);

/* A decimal number without sign, of digits only, at most MAX; NULL or why not. */
const char *text_uint(struct text t, uint64_t max, uint64_t *out);

/* How many bytes the UTF-8 character at the head of T has; 0 when there is none (RFC 3629 section 4: nothing overlong, no
 * surrogate, nothing beyond U+10FFFF) and when T is empty. */
size_t text_utf8(struct text t);
/* How many bytes at the head of T are UTF-8: T.len when all are. */
size_t text_utf8_head(struct text t);

/* A NUL-terminated copy; free() it. A NUL inside T stays where it is. */
char *text_copy(struct text t);
/* Copies T into the SIZE bytes at OUT, cut if need be, always NUL-terminated; true when nothing was cut. */
bool text_put(struct text t, char *out, size_t size);

/* A growable byte buffer. Zero-initialised it is empty; buffer_free() makes it so again. Out of memory ends the
 * process (see memory.h). */
struct buffer {
	char *ptr;
	size_t len, cap;
};

void buffer_add(struct buffer *b, const void *bytes, size_t len);
void buffer_text(struct buffer *b, struct text t);
void buffer_char(struct buffer *b, char c);
void buffer_format(struct buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Drops the first LEN bytes. */
void buffer_drop(struct buffer *b, size_t len);
struct text buffer_view(const struct buffer *b);
/* Its bytes with a NUL behind them, which does not count in len; valid until the next change. */
const char *buffer_string(struct buffer *b);
void buffer_free(struct buffer *b);

#endif
