#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <opendkim/dkim.h>

#include "common/memory.h"

#include "oracle.h"

struct oracle {
	DKIM_LIB *library;
	char why[256];
};

struct oracle *oracle_new(const char *keys)
{
	struct oracle *oracle = memory_zero(1, sizeof *oracle);
	oracle->library = dkim_init(NULL, NULL);
	dkim_query_t method = DKIM_QUERY_FILE;
	char *path = text_copy(text_of(keys));
	dkim_options(oracle->library, DKIM_OP_SETOPT, DKIM_OPTS_QUERYMETHOD, &method, sizeof method);
	dkim_options(oracle->library, DKIM_OP_SETOPT, DKIM_OPTS_QUERYINFO, path, strlen(path));
	free(path);
	return oracle;
}

void oracle_free(struct oracle **oracle)
{
	dkim_close((*oracle)->library);
	free(*oracle);
	*oracle = NULL;
}

/* The length of the field at the head of TEXT with its folded lines, without the last CRLF. */
static size_t field_length(struct text text)
{
	for (size_t i = 0; i + 1 < text.len; i++) {
		if (text.ptr[i] != '\r' || text.ptr[i + 1] != '\n')
			continue;
		if (i + 2 >= text.len || (text.ptr[i + 2] != ' ' && text.ptr[i + 2] != '\t'))
			return i;
	}
	return text.len;
}

static const char *problem(struct oracle *oracle, const char *step, const char *why)
{
	snprintf(oracle->why, sizeof oracle->why, "%s: %s", step, why ? why : "?");
	return oracle->why;
}

static const char *check_signatures(struct oracle *oracle, DKIM *dkim, int wanted)
{
	DKIM_SIGINFO **list;
	int count = 0;
	if (dkim_getsiglist(dkim, &list, &count) != DKIM_STAT_OK || count != wanted)
		return problem(oracle, "signatures", "another number of them");
	for (int i = 0; i < count; i++) {
		dkim_sig_process(dkim, list[i]);
		if (!DKIM_SIG_CHECK(list[i]))
			return problem(oracle, (const char *)dkim_sig_getselector(list[i]),
				       dkim_sig_geterrorstr((DKIM_SIGERROR)dkim_sig_geterror(list[i])));
	}
	return NULL;
}

static const char *feed(struct oracle *oracle, DKIM *dkim, struct text message)
{
	while (message.len && !text_starts(message, TEXT("\r\n"))) {
		size_t len = field_length(message);
		char *copy = text_copy(text_head(message, len));
		DKIM_STAT status = dkim_header(dkim, (u_char *)copy, len);
		free(copy);
		if (status != DKIM_STAT_OK)
			return problem(oracle, "header", dkim_geterror(dkim));
		message = text_from(message, len + 2);
	}
	DKIM_STAT status = dkim_eoh(dkim);
	if (status != DKIM_STAT_OK)
		return problem(oracle, "end of header", dkim_geterror(dkim));
	struct text body = text_from(message, 2);
	char *copy = text_copy(body);
	status = body.len ? dkim_body(dkim, (u_char *)copy, body.len) : DKIM_STAT_OK;
	free(copy);
	if (status != DKIM_STAT_OK)
		return problem(oracle, "body", dkim_geterror(dkim));
	return dkim_eom(dkim, NULL) == DKIM_STAT_OK ? NULL : problem(oracle, "end", dkim_geterror(dkim));
}

const char *oracle_verify(struct oracle *oracle, struct text message, int signatures)
{
	DKIM_STAT status;
	DKIM *dkim = dkim_verify(oracle->library, (const unsigned char *)"test", NULL, &status);
	if (!dkim)
		return problem(oracle, "begin", dkim_getresultstr(status));
	const char *why = feed(oracle, dkim, message);
	if (!why)
		why = check_signatures(oracle, dkim, signatures);
	dkim_free(dkim);
	return why;
}

static DKIM_STAT add_parts(DKIM *dkim, struct text body, size_t chunk)
{
	DKIM_STAT status = DKIM_STAT_OK;
	while (body.len && status == DKIM_STAT_OK) {
		char *copy = text_copy(text_head(body, chunk));
		status = dkim_body(dkim, (u_char *)copy, text_head(body, chunk).len);
		free(copy);
		body = text_from(body, chunk);
	}
	return status;
}

static const char *sign(struct oracle *oracle, DKIM *dkim, struct text body, size_t chunk, struct buffer *out)
{
	u_char from[] = "From: a@example.com", signature[2048];
	if (dkim_header(dkim, from, sizeof from - 1) != DKIM_STAT_OK || dkim_eoh(dkim) != DKIM_STAT_OK ||
	    add_parts(dkim, body, chunk) != DKIM_STAT_OK || dkim_eom(dkim, NULL) != DKIM_STAT_OK ||
	    dkim_getsighdr(dkim, signature, sizeof signature, 0) != DKIM_STAT_OK)
		return problem(oracle, "signing", dkim_geterror(dkim));
	struct text rest = text_of((const char *)signature);
	size_t at = text_search(rest, TEXT("bh="));
	if (at == SIZE_MAX)
		return problem(oracle, "signing", "no bh=");
	rest = text_from(rest, at + 3);
	rest = text_head(rest, text_find(rest, ';'));
	for (size_t i = 0; i < rest.len; i++)
		if (!strchr("\r\n\t ", rest.ptr[i]))
			buffer_char(out, rest.ptr[i]);
	return NULL;
}

const char *oracle_body_hash(struct oracle *oracle, struct text key, struct text body, size_t chunk, struct buffer *out)
{
	DKIM_STAT status;
	char *pem = text_copy(key);
	DKIM *dkim = dkim_sign(oracle->library, (const unsigned char *)"test", NULL, (dkim_sigkey_t)pem,
			       (const unsigned char *)"s", (const unsigned char *)"example.com", DKIM_CANON_RELAXED,
			       DKIM_CANON_RELAXED, DKIM_SIGN_RSASHA256, -1, &status);
	free(pem);
	if (!dkim)
		return problem(oracle, "begin", dkim_getresultstr(status));
	const char *why = sign(oracle, dkim, body, chunk, out);
	dkim_free(dkim);
	return why;
}
