#ifndef MILTER_CANON_H
#define MILTER_CANON_H

/* DKIM's relaxed canonicalisation of header fields and bodies (RFC 6376 sections 3.4.2 and 3.4.4), streamed: memory does
 * not depend on the size of the body, and chunks may end at any byte. A core: no I/O. */

#include "common/text.h"

/* Takes canonical bytes in order, at any boundaries. */
typedef void canon_sink(void *context, struct text bytes);

/* How many canonical bytes are gathered before the sink is called: large enough that its cost per call vanishes. */
#define CANON_CHUNK 2048

struct canon_body {
	canon_sink *sink;
	void *context;
	size_t blank_lines; /* empty lines held back: they count only when something follows */
	bool space;         /* white space held back: it counts only inside a line */
	bool cr;            /* a CR held back: the next byte tells whether it ends the line */
	bool begun;         /* this line has canonical bytes */
	size_t used;
	char out[CANON_CHUNK];
};

/* Begins a body; SINK is called with CONTEXT. */
void canon_body_begin(struct canon_body *body, canon_sink *sink, void *context);
/* The next bytes of the body as they go over the wire: lines end with CRLF; a CR or LF alone is an ordinary byte. */
void canon_body_add(struct canon_body *body, struct text bytes);
/* The body is complete. A last line without CRLF gets one; trailing empty lines are left out; an empty body stays
 * empty (section 3.4.4). */
void canon_body_end(struct canon_body *body);

/* Appends "name:value" in relaxed form, without the final CRLF: the name in lower case, folding undone (CRLF, or LF
 * alone as milters get it, before white space), runs of white space as one blank, none at either end of the value nor
 * before the colon. */
void canon_header(struct text name, struct text value, struct buffer *out);

#endif
