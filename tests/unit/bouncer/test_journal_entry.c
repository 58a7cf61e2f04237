/* The journal's export format, whole and in pieces of every size, and whose word counts as Postfix's. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bouncer/journal_entry.h"

#define HEAD    "__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=1795244400123456\n_HOSTNAME=mx1\n_PID=16\n"
#define POSTFIX "_SYSTEMD_UNIT=postfix@-.service\n_UID=101\nSYSLOG_IDENTIFIER=postfix/smtpd\n"
#define START   "2026-11-21T07:00:00.123456Z mx1 "

static const struct {
	const char *what;
	struct text stream;
	const char *unit, *lines; /* each with a line end; an entry that is not Postfix's is an empty one */
} cases[] = {
	{"an entry", TEXT(HEAD POSTFIX "MESSAGE=connect from h[192.0.2.7]\n\n"), "postfix",
	 START "postfix/smtpd[16]: connect from h[192.0.2.7]\n"},
	{"two, and the beginning of a third", TEXT(HEAD POSTFIX "MESSAGE=a\n\n" HEAD POSTFIX "MESSAGE=b\n\n" HEAD),
	 "postfix", START "postfix/smtpd[16]: a\n" START "postfix/smtpd[16]: b\n"},
	{"fields of no interest, one whose name begins like ours, and empty lines",
	 TEXT("\n\nMESSAGE_ID=x\nPRIORITY=6\n" HEAD POSTFIX "MESSAGE=a=b\n\n\n"), "postfix",
	 START "postfix/smtpd[16]: a=b\n"},
	{"a binary message: its bytes are shown as Postfix shows them, and begin no line of their own",
	 TEXT(HEAD POSTFIX "MESSAGE\n\x0b\0\0\0\0\0\0\0a\n\n\0\x7f\xc3\xa4 b=c\nX=y\n\n"), "postfix",
	 START "postfix/smtpd[16]: a????\xc3\xa4 b=c\n"},
	{"a binary field of no interest that looks like an entry",
	 TEXT(HEAD "JUNK\n\x0c\0\0\0\0\0\0\0\nMESSAGE=no\n\n" POSTFIX "MESSAGE=yes\n\n"), "postfix",
	 START "postfix/smtpd[16]: yes\n"},
	{"a binary field of no length", TEXT(HEAD POSTFIX "MESSAGE\n\0\0\0\0\0\0\0\0\n\n"), "postfix",
	 START "postfix/smtpd[16]: \n"},
	{"of two fields with one name the first", TEXT(HEAD POSTFIX "MESSAGE=a\nMESSAGE=b\n\n"), "postfix",
	 START "postfix/smtpd[16]: a\n"},
	{"a local user's, by logger(1)",
	 TEXT(HEAD "_SYSTEMD_UNIT=session-3.scope\n_UID=1000\nSYSLOG_IDENTIFIER=postfix/smtp\nMESSAGE=x\n\n"),
	 "postfix", "\n"},
	{"a local user's own unit of that name",
	 TEXT(HEAD "_SYSTEMD_UNIT=user@1000.service\n_SYSTEMD_USER_UNIT=postfix.service\n_UID=1000\n"
		   "SYSLOG_IDENTIFIER=postfix/smtp\nMESSAGE=x\n\n"),
	 "postfix", "\n"},
	{"root's, by postsuper(1) in a session",
	 TEXT(HEAD "_SYSTEMD_UNIT=session-1.scope\n_UID=0\nSYSLOG_IDENTIFIER=postfix/postsuper\nMESSAGE=x\n\n"),
	 "postfix", START "postfix/postsuper[16]: x\n"},
	{"any, where the unit is not asked for", TEXT(HEAD "_UID=1000\nSYSLOG_IDENTIFIER=postfix/smtp\nMESSAGE=x\n\n"),
	 "", START "postfix/smtp[16]: x\n"},
	{"journald's own word about suppressed messages",
	 TEXT(HEAD "_TRANSPORT=driver\n_UID=0\nSYSLOG_IDENTIFIER=systemd-journald\n"
		   "MESSAGE=Suppressed 7 messages from postfix@-.service\n\n"),
	 "postfix", START "systemd-journald[16]: Suppressed 7 messages from postfix@-.service\n"},
	{"the kernel's", TEXT(HEAD "_TRANSPORT=kernel\nSYSLOG_IDENTIFIER=kernel\nMESSAGE=x\n\n"), "postfix", "\n"},
	{"without a time", TEXT("__CURSOR=c\n" POSTFIX "MESSAGE=x\n\n"), "postfix", "\n"},
	{"without host and process id", TEXT("__REALTIME_TIMESTAMP=0\n" POSTFIX "MESSAGE=x\n\n"), "postfix",
	 "1970-01-01T00:00:00.000000Z - postfix/smtpd: x\n"},
};

static void read_all(struct text stream, size_t piece, const char *unit, struct buffer *out)
{
	struct journal_entry entry = {0};
	while (stream.len) {
		struct text part = text_head(stream, piece);
		stream = text_from(stream, part.len);
		while (journal_entry_next(&entry, &part)) {
			journal_entry_line(&entry, text_of(unit), out);
			buffer_char(out, '\n');
		}
		assert_int_equal(part.len, 0);
	}
	journal_entry_free(&entry);
}

static void table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (size_t piece = 1; piece <= cases[i].stream.len; piece++) {
			struct buffer out = {0};
			read_all(cases[i].stream, piece, cases[i].unit, &out);
			if (strcmp(buffer_string(&out), cases[i].lines) != 0)
				fail_msg("%s, in pieces of %zu\n      got: %s expected: %s", cases[i].what, piece,
					 buffer_string(&out), cases[i].lines);
			buffer_free(&out);
		}
}

/* A field of any length is read to its end, and what is too much of it is not kept. */
static void too_long(void **state)
{
	(void)state;
	struct journal_entry entry = {0};
	char chunk[4096];
	struct text head = TEXT("MESSAGE\n\0\0\x04\0\0\0\0\0"), tail = TEXT("\nCORE=1\n\n"); /* 256 KiB */
	memset(chunk, '\n', sizeof chunk);
	assert_false(journal_entry_next(&entry, &head));
	for (size_t i = 0; i < 64; i++) {
		struct text part = text_at(chunk, sizeof chunk);
		assert_false(journal_entry_next(&entry, &part));
	}
	assert_true(journal_entry_next(&entry, &tail));
	assert_int_equal(entry.field[JOURNAL_MESSAGE].len, JOURNAL_FIELD_BYTES);
	journal_entry_free(&entry);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(table), cmocka_unit_test(too_long)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
