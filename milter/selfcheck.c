/* waybill-dkim-check [--keys FILE] <message: does the message verify against the keys in DNS? The milter starts it for a
 * sample of what it signed, as a process of its own: it holds no key, and what it may hang on is ended with it.
 *
 * The message has CRLF line ends. Prints "passed", or one line that says why not, behind the name of the key in DNS if a
 * signature is to blame. Exit status: 0 every signature is right, 1 one is not, 75 DNS did not answer. --keys FILE takes
 * "NAME RECORD" lines instead of DNS, for tests. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <sys/types.h>

#include <opendkim/dkim.h>

#include "common/text.h"

#define DNS_TIMEOUT_S 5

static int read_message(struct buffer *message)
{
	char chunk[65536];
	for (ssize_t got; (got = read(STDIN_FILENO, chunk, sizeof chunk)) != 0;) {
		if (got < 0 && errno != EINTR)
			return -1;
		if (got > 0)
			buffer_add(message, chunk, (size_t)got);
	}
	return 0;
}

static DKIM_LIB *open_library(char *keys)
{
	DKIM_LIB *library = dkim_init(NULL, NULL);
	dkim_query_t method = DKIM_QUERY_FILE;
	unsigned int timeout_s = DNS_TIMEOUT_S;
	if (!library)
		return NULL;
	dkim_options(library, DKIM_OP_SETOPT, DKIM_OPTS_TIMEOUT, &timeout_s, sizeof timeout_s);
	if (!keys)
		return library;
	dkim_options(library, DKIM_OP_SETOPT, DKIM_OPTS_QUERYMETHOD, &method, sizeof method);
	dkim_options(library, DKIM_OP_SETOPT, DKIM_OPTS_QUERYINFO, keys, strlen(keys));
	return library;
}

/* The first field of REST with its folded lines, without the CRLF at its end; moves REST behind it. */
static struct text take_field(struct text *rest)
{
	size_t end = 0;
	for (;;) {
		size_t line = text_search(text_from(*rest, end), TEXT("\r\n"));
		if (line == SIZE_MAX) {
			end = rest->len + 2;
			break;
		}
		end += line + 2;
		if (end >= rest->len || (rest->ptr[end] != ' ' && rest->ptr[end] != '\t'))
			break;
	}
	struct text field = text_head(*rest, end - 2);
	*rest = text_from(*rest, end);
	return field;
}

/* libopendkim's signatures want u_char *, but it does not write. */
static u_char *bytes_of(struct text t)
{
	union {
		const char *in;
		u_char *out;
	} cast = {.in = t.ptr};
	return cast.out;
}

static DKIM_STAT feed(DKIM *dkim, struct text message)
{
	DKIM_STAT status = DKIM_STAT_OK;
	while (status == DKIM_STAT_OK && message.len && !text_starts(message, TEXT("\r\n"))) {
		struct text field = take_field(&message);
		status = dkim_header(dkim, bytes_of(field), field.len);
	}
	struct text body = text_from(message, 2);
	if (status == DKIM_STAT_OK)
		status = dkim_eoh(dkim);
	if (status == DKIM_STAT_OK && body.len)
		status = dkim_body(dkim, bytes_of(body), body.len);
	return status == DKIM_STAT_OK ? dkim_eom(dkim, NULL) : status;
}

static int fail(int status, const char *why)
{
	printf("%s\n", why ? why : "no reason given");
	return status;
}

/* Behind the name of the key in DNS. */
static int blame(int status, DKIM_SIGINFO *signature, const char *why)
{
	printf("%s._domainkey.%s: ", (const char *)dkim_sig_getselector(signature),
	       (const char *)dkim_sig_getdomain(signature));
	return fail(status, why);
}

static int check_all(DKIM *dkim)
{
	DKIM_SIGINFO **list;
	int count = 0;
	if (dkim_getsiglist(dkim, &list, &count) != DKIM_STAT_OK || count == 0)
		return fail(1, "there is no signature");
	for (int i = 0; i < count; i++) {
		dkim_sig_process(dkim, list[i]);
		int error = dkim_sig_geterror(list[i]);
		if (error == DKIM_SIGERROR_KEYFAIL)
			return blame(EX_TEMPFAIL, list[i], "DNS did not answer");
		if (!DKIM_SIG_CHECK(list[i]))
			return blame(1, list[i], dkim_sig_geterrorstr((DKIM_SIGERROR)error));
	}
	puts("passed");
	return 0;
}

/* Was the message read to its end, so that each signature has a verdict of its own? */
static bool is_judged(DKIM_STAT status)
{
	return status == DKIM_STAT_OK || status == DKIM_STAT_BADSIG || status == DKIM_STAT_NOKEY ||
	       status == DKIM_STAT_REVOKED || status == DKIM_STAT_CANTVRFY;
}

static int verify(DKIM_LIB *library, struct text message)
{
	DKIM_STAT status;
	DKIM *dkim = dkim_verify(library, bytes_of(TEXT("waybill")), NULL, &status);
	if (!dkim)
		return fail(EX_TEMPFAIL, dkim_getresultstr(status));
	status = feed(dkim, message);
	int result;
	if (is_judged(status))
		result = check_all(dkim);
	else
		result = fail(status == DKIM_STAT_KEYFAIL ? EX_TEMPFAIL : 1, dkim_getresultstr(status));
	dkim_free(dkim);
	return result;
}

int main(int argc, char **argv)
{
	struct buffer message = {0};
	bool keys = argc == 3 && strcmp(argv[1], "--keys") == 0;
	if (argc != 1 && !keys)
		return fail(EX_USAGE, "usage: waybill-dkim-check [--keys FILE] <message");
	DKIM_LIB *library = open_library(keys ? argv[2] : NULL);
	if (!library || read_message(&message) != 0)
		return fail(EX_TEMPFAIL, "the message cannot be read");
	int status = verify(library, buffer_view(&message));
	dkim_close(library);
	buffer_free(&message);
	return status;
}
