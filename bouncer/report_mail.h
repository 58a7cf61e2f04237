#ifndef BOUNCER_REPORT_MAIL_H
#define BOUNCER_REPORT_MAIL_H

/* A mail that came back, taken apart: the pieces of it that say something about a delivery, as UTF-8 lines that end with
 * LF, folded lines joined, control bytes turned into blanks. Whoever reads MIME makes it (report_mime.h); what it means is
 * found by report_read() (report.h). */

#include "common/text.h"

enum report_piece_kind {
	PIECE_HEADER,   /* the mail's own header: "Name: value" lines, always the first piece */
	PIECE_NOTICE,   /* words for people, plain text */
	PIECE_HTML,     /* the same as HTML */
	PIECE_STATUS,   /* message/delivery-status (RFC 3464) */
	PIECE_FEEDBACK, /* message/feedback-report (RFC 5965) */
	PIECE_RETURNED, /* the header of the message that it is about */
	PIECE_KIND_MAX
};

struct report_piece {
	enum report_piece_kind kind;
	struct text text;
};

/* More pieces than any real report has; what lies behind is not looked at. */
#define REPORT_MAX_PIECES 32
/* Bytes that all pieces together may take. */
#define REPORT_MAX_BYTES (4 << 20)

struct report_mail {
	struct report_piece piece[REPORT_MAX_PIECES];
	size_t count;
	struct buffer bytes[REPORT_MAX_PIECES]; /* of the pieces */
	size_t total;
};

/* Adds a piece, its LINES as they stand in the mail; left out when there are too many. */
void report_mail_add(struct report_mail *mail, enum report_piece_kind kind, struct text lines);
void report_mail_free(struct report_mail *mail);

/* Takes the next line of REST: a field "NAME: VALUE", both trimmed. NAME is empty for a line that is no field; BLANK
 * tells an empty line from words. False when there is none left. */
struct report_field {
	struct text name, value;
	bool blank;
};
bool report_field_next(struct text *rest, struct report_field *out);

/* The next field NAME in the pieces of this kind, in their order; begin with a zeroed SEARCH. False when there is none left. */
struct report_search {
	size_t piece;
	struct text rest;
};
bool report_mail_next(const struct report_mail *mail, enum report_piece_kind kind, const char *name,
		      struct report_search *search, struct text *value);
/* The value of the first (last) one; empty when there is none. */
struct text report_mail_first(const struct report_mail *mail, enum report_piece_kind kind, const char *name);
struct text report_mail_last(const struct report_mail *mail, enum report_piece_kind kind, const char *name);

#endif
