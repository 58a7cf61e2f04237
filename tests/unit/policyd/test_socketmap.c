/* The socketmap service: netstrings, and what it answers from a real snapshot. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/directory.h"
#include "common/directory_writer.h"
#include "common/return_path.h"

#include "policyd/sendermap.h"
#include "policyd/socketmap.h"

#define NOW_S      INT64_C(1800000000)
#define ACME_SHORT "822b33ad87c1" /* the head of SHA-256("acme") */

static const struct {
	const char *bytes;
	size_t len;            /* 0: not whole yet */
	const char *map, *key; /* map NULL: malformed */
} netstrings[] = {
	{"", 0, "", ""},
	{"5", 0, "", ""},
	{"12:", 0, "", ""},
	{"5:m a@b", 0, "", ""},
	{"5:m a@b,", 8, "m", "a@b"},
	{"5:m a@c,5:m x@y,", 8, "m", "a@c"},
	{"7:m a@c.d,", 10, "m", "a@c.d"},
	{"7:m a@c.d,7:m x", 10, "m", "a@c.d"},
	{"4:m a ,", 7, "m", "a "},
	{"7:m a b c,", 10, "m", "a b c"},
	{"3:map,", 6, "map", ""},
	{"0:,", 3, "", ""},
	{"1:m,", 4, "m", ""},
	{"4096:m", 0, "", ""},
	{"4097:", 0, NULL, NULL},
	{"10000", 0, NULL, NULL},
	{"03:map,", 0, NULL, NULL},
	{":map,", 0, NULL, NULL},
	{"x", 0, NULL, NULL},
	{"-3:map,", 0, NULL, NULL},
	{"3:map;", 0, NULL, NULL},
	{"request=smtpd_access_policy\n\n", 0, NULL, NULL},
};

static void netstrings_are_taken_apart(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof netstrings / sizeof *netstrings; i++) {
		struct socketmap_question question = {TEXT(""), TEXT("")};
		size_t len;
		const char *why = socketmap_take(text_of(netstrings[i].bytes), &len, &question);
		if (!netstrings[i].map != !!why)
			fail_msg("\"%s\": %s", netstrings[i].bytes, why ? why : "taken");
		if (why)
			continue;
		assert_int_equal(len, netstrings[i].len);
		assert_true(text_equal(question.map, text_of(netstrings[i].map)));
		assert_true(text_equal(question.key, text_of(netstrings[i].key)));
	}
}

static void a_question_is_found_at_every_split(void **state)
{
	(void)state;
	static const char whole[] = "19:sender-logins a@b.c,";
	struct socketmap_question question;
	size_t len;
	for (size_t have = 0; have < sizeof whole - 1; have++) {
		assert_null(socketmap_take(text_head(TEXT(whole), have), &len, &question));
		assert_int_equal(len, 0);
	}
	assert_null(socketmap_take(TEXT(whole), &len, &question));
	assert_int_equal(len, sizeof whole - 1);
}

/* ---- a directory ---- */

static char path[] = "/tmp/waybill-socketmap-XXXXXX/directory";
static struct directory *directory;
static struct sendermap *sendermap;

static void put(struct directory_writer *writer, enum directory_kind kind, const char *name, struct buffer *record)
{
	assert_null(directory_writer_put(writer, kind, text_of(name), buffer_view(record)));
	record->len = 0;
}

static const struct {
	const char *name, *customer, *rights[4]; /* "+*@owned", "-boss@acme.test" */
	enum { GOOD, DISABLED, EXPIRED, SUSPENDED } state;
} logins[] = {
	{"app", "acme", {"+*@owned"}, GOOD},
	{"denied", "acme", {"+*@owned", "-boss@acme.test"}, GOOD},
	{"one", "acme", {"+one@acme.test", "+*@owned"}, GOOD},
	{"off", "acme", {"+*@owned"}, DISABLED},
	{"old", "acme", {"+*@owned"}, EXPIRED},
	{"stolen", "acme", {"+*@owned"}, SUSPENDED},
	{"unpaid", "broke", {"+@partner.test"}, GOOD},
	{"wide", "beta", {"+@partner.test"}, GOOD},
	{"sub", "beta", {"+@.partner.test"}, GOOD},
	{"null", "beta", {"+<>"}, GOOD},
};

static const struct {
	const char *name, *logins;
} senders[] = {{"acme", "app denied gone off old one stolen"},
	       {"acme.test", "one"},
	       {"partner.test", "sub unpaid wide"},
	       {"beta", "app"}};

static void put_logins(struct directory_writer *writer, struct buffer *record)
{
	for (size_t i = 0; i < sizeof logins / sizeof *logins; i++) {
		struct buffer rights = {0};
		for (size_t r = 0; r < 4 && logins[i].rights[r]; r++)
			directory_right_add(&rights, (struct right){logins[i].rights[r][0] == '+',
								    text_of(logins[i].rights[r] + 1)});
		directory_login_encode(
			&(struct directory_login){.name = text_of(logins[i].name),
						  .customer = text_of(logins[i].customer),
						  .enabled = logins[i].state != DISABLED,
						  .expires_at = logins[i].state == EXPIRED ? NOW_S : 0,
						  .suspended_at = logins[i].state == SUSPENDED ? NOW_S : 0,
						  .rights = {buffer_view(&rights)}},
			record);
		put(writer, DIRECTORY_LOGINS, logins[i].name, record);
		buffer_free(&rights);
	}
}

static void put_senders(struct directory_writer *writer, struct buffer *record)
{
	for (size_t i = 0; i < sizeof senders / sizeof *senders; i++) {
		struct buffer names = {0};
		struct text rest = text_of(senders[i].logins), name;
		while (text_take(&rest, ' ', &name))
			directory_name_add(&names, name);
		directory_senders_encode(&(struct directory_senders){{buffer_view(&names)}}, record);
		put(writer, DIRECTORY_SENDERS, senders[i].name, record);
		buffer_free(&names);
	}
}

static void put_customer(struct directory_writer *writer, const char *name, const char *transport, const char *domain,
			 struct buffer *record)
{
	directory_customer_encode(&(struct directory_customer){.name = text_of(name), .transport = text_of(transport)},
				  record);
	put(writer, DIRECTORY_CUSTOMERS, name, record);
	directory_domain_encode(&(struct directory_domain){.name = text_of(domain), .customer = text_of(name)}, record);
	put(writer, DIRECTORY_DOMAINS, domain, record);
}

static void put_suspended_customer(struct directory_writer *writer, const char *name, struct buffer *record)
{
	directory_customer_encode(&(struct directory_customer){.name = text_of(name), .status = DIRECTORY_SUSPENDED},
				  record);
	put(writer, DIRECTORY_CUSTOMERS, name, record);
}

static int64_t now_s(void)
{
	return NOW_S;
}

static int set_up(void **state)
{
	(void)state;
	static const struct directory_writer_options options = {.mode = 0600, .group = (gid_t)-1};
	struct directory_writer *writer;
	struct buffer record = {0};
	*strrchr(path, '/') = '\0';
	if (!mkdtemp(path))
		return -1;
	path[strlen(path)] = '/';
	assert_null(directory_writer_open(path, &options, &writer));
	assert_null(directory_writer_build(writer));
	put_customer(writer, "acme", "smtp-acme:", "acme.test", &record);
	put_customer(writer, "beta", "", "xn--bcher-kva.test", &record);
	put_suspended_customer(writer, "broke", &record);
	directory_return_path_encode(&(struct directory_return_path){TEXT("acme")}, &record);
	put(writer, DIRECTORY_RETURN_PATHS, ACME_SHORT, &record);
	put_logins(writer, &record);
	put_senders(writer, &record);
	assert_null(directory_writer_commit(writer, &(struct directory_state){.source = TEXT("test")}));
	directory_writer_close(&writer);
	buffer_free(&record);
	directory = directory_new(path);
	sendermap = sendermap_new(&(struct sendermap_options){directory, now_s, NULL});
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	static const char *const names[] = {"", "-lock", ".writer"};
	sendermap_free(&sendermap);
	directory_free(&directory);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char file[sizeof path + 16];
		snprintf(file, sizeof file, "%s%s", path, names[i]);
		unlink(file);
	}
	*strrchr(path, '/') = '\0';
	return rmdir(path);
}

struct answer {
	int count;
	char text[1024];
};

static void take_answer(void *context, struct text text)
{
	struct answer *answer = context;
	answer->count++;
	text_put(text, answer->text, sizeof answer->text);
}

static void expect(struct sendermap *map, const char *question, const char *expected)
{
	struct answer answer = {0};
	struct buffer in = {0}, out = {0};
	size_t len;
	buffer_format(&in, "%zu:%s,", strlen(question), question);
	buffer_format(&out, "%zu:%s,", strlen(expected), expected);
	assert_null(sendermap_protocol.ask(map, NULL, buffer_view(&in), &len, take_answer, &answer));
	assert_int_equal(len, in.len);
	assert_int_equal(answer.count, 1);
	if (strcmp(answer.text, buffer_string(&out)) != 0)
		fail_msg("%s: %s, not %s", question, answer.text, expected);
	buffer_free(&in);
	buffer_free(&out);
}

static const struct {
	const char *question, *answer;
} answers[] = {
	{"sender-logins a@acme.test", "OK app,denied,one"},
	{"sender-logins A@ACME.TEST", "OK app,denied,one"},
	{"sender-logins boss@acme.test", "OK app,one"},
	{"sender-logins boss+x@acme.test", "OK app,one"},
	{"sender-logins a@partner.test", "OK sub,wide"},
	{"sender-logins a@eu.partner.test", "OK sub"},
	{"sender-logins a@stranger.test", "NOTFOUND "},
	{"sender-logins a@xn--bcher-kva.test", "NOTFOUND "},
	{"sender-logins @acme.test", "NOTFOUND "},
	{"sender-logins acme", "NOTFOUND "},
	{"sender-logins acme.test", "NOTFOUND "},
	{"sender-logins <>", "NOTFOUND "},
	{"sender-logins ", "NOTFOUND "},
	{"sender-logins", "NOTFOUND "},
	{"sender-transport a@acme.test", "OK smtp-acme:"},
	{"sender-transport \"a b\"@acme.test", "OK smtp-acme:"},
	{"sender-transport a@B\xc3\xbc"
	 "cher.test",
	 "NOTFOUND "},
	{"sender-transport a@eu.acme.test", "NOTFOUND "},
	{"sender-transport <>", "NOTFOUND "},
	{"virtual a@acme.test", "PERM there is no such map: sender-logins, sender-transport"},
	{"", "PERM there is no such map: sender-logins, sender-transport"},
};

static void answers_come_from_the_directory(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
		expect(sendermap, answers[i].question, answers[i].answer);
}

/* What the milter puts in the sender's place (common/return_path.h) names the customer. */
static void a_return_path_leaves_by_its_customers_transport(void **state)
{
	(void)state;
	static const struct {
		const char *customer, *answer;
	} rows[] = {{"acme", "OK smtp-acme:"}, {"beta", "NOTFOUND "}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char local[RETURN_PATH_LOCAL_SIZE], question[128];
		assert_null(return_path_make(TEXT("some key"), text_of(rows[i].customer), TEXT("mx1"),
					     TEXT("4jZVKj1Rr0z1cT6p"), local));
		snprintf(question, sizeof question, "sender-transport %s@bounces.relay.test", local);
		expect(sendermap, question, rows[i].answer);
	}
	expect(sendermap, "sender-transport b+aaaa@bounces.relay.test", "NOTFOUND ");
}

static void without_a_snapshot_mail_is_deferred(void **state)
{
	(void)state;
	struct directory *none = directory_new("/nonexistent/directory");
	struct sendermap *map = sendermap_new(&(struct sendermap_options){none, now_s, NULL});
	expect(map, "sender-logins a@acme.test",
	       "TEMP the snapshot does not exist yet: is waybill directory follow running?");
	expect(map, "sender-transport a@acme.test",
	       "TEMP the snapshot does not exist yet: is waybill directory follow running?");
	sendermap_free(&map);
	directory_free(&none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(netstrings_are_taken_apart),
		cmocka_unit_test(a_question_is_found_at_every_split),
		cmocka_unit_test(answers_come_from_the_directory),
		cmocka_unit_test(a_return_path_leaves_by_its_customers_transport),
		cmocka_unit_test(without_a_snapshot_mail_is_deferred),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
