/* The store on a real PostgreSQL of its own (tests/unit/with-postgres): what a batch leaves behind, and what a batch that
 * comes twice, a row that Postgres refuses, or a lost connection do not. Run in the project's root: it applies schema/. */

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bouncer/pipeline.h"
#include "bouncer/store.h"

#define SOURCE "mx1 /var/log/mail.log"
#define NOW_US (INT64_C(1795244400) * 1000000) /* 2026-11-21T07:00:00Z */

static struct pg *pg;

static void apply(const char *path)
{
	struct buffer sql = {0};
	char chunk[4096];
	FILE *file = fopen(path, "rb");
	assert_non_null(file);
	for (size_t got; (got = fread(chunk, 1, sizeof chunk, file)) > 0;)
		buffer_add(&sql, chunk, got);
	fclose(file);
	if (pg_script(pg, buffer_string(&sql)) != PG_OK)
		fail_msg("%s: %s", path, pg_error(pg));
	buffer_free(&sql);
}

/* A fresh database for each test. */
static int set_up(void **state)
{
	(void)state;
	struct pg *first = pg_new("", "test");
	assert_int_equal(pg_script(first, "DROP DATABASE IF EXISTS waybill WITH (FORCE)"), PG_OK);
	assert_int_equal(pg_script(first, "CREATE DATABASE waybill"), PG_OK);
	pg_free(&first);
	pg = pg_new("dbname=waybill", "test");
	glob_t files;
	assert_int_equal(glob("schema/*.sql", 0, NULL, &files), 0);
	for (size_t i = 0; i < files.gl_pathc; i++)
		apply(files.gl_pathv[i]);
	globfree(&files);
	assert_int_equal(
		pg_script(
			pg,
			"INSERT INTO waybill.customers (customer) VALUES ('acme');"
			"INSERT INTO waybill.logins (login, customer, password_hash) VALUES ('acme-app', 'acme', 'x');"
			"INSERT INTO waybill.endpoints (customer, endpoint, url, sealed_secret, events) VALUES "
			"('acme', 'ep_aaaaaaaaaaaaaaaa', 'https://x.example/', 'x', '{}'),"
			"('acme', 'ep_bbbbbbbbbbbbbbbb', 'https://x.example/', 'x', '{message.bounced}')"),
		PG_OK);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	pg_free(&pg);
	return 0;
}

static void check(const char *sql, const char *expected)
{
	struct pg_result *result;
	if (pg_query(pg, sql, NULL, 0, &result) != PG_OK)
		fail_msg("%s: %s", sql, pg_error(pg));
	struct buffer got = {0};
	for (size_t row = 0; row < pg_rows(result); row++)
		for (size_t column = 0; column < pg_columns(result); column++) {
			const char *value = pg_string(result, row, column);
			buffer_format(&got, "%s%s", column ? " " : row ? "; " : "", value ? value : "NULL");
		}
	if (strcmp(buffer_string(&got), expected) != 0)
		fail_msg("%s\n      got: %s\n expected: %s", sql, buffer_string(&got), expected);
	buffer_free(&got);
	pg_result_free(&result);
}

/* A bouncer without its tail. */
struct bench {
	struct store *store;
	struct pipeline *pipeline;
	struct place position;
	bool found;
};

static void on_event(void *context, const struct event *event)
{
	store_event(((struct bench *)context)->store, event);
}

static void on_unparsed(void *context, struct text line, const char *why)
{
	store_unparsed(((struct bench *)context)->store, line, why);
}

static void begin(struct bench *b, const char *source)
{
	*b = (struct bench){.store = store_new("dbname=waybill user=waybill_bouncer", source)};
	b->pipeline = pipeline_new(&(struct pipeline_sink){on_event, on_unparsed, b}, NULL);
	assert_int_equal(store_load(b->store, pipeline_track(b->pipeline), &b->found, &b->position), PG_OK);
}

static void end(struct bench *b)
{
	store_free(&b->store);
	pipeline_free(&b->pipeline);
}

static void read_line(struct bench *b, const char *line)
{
	pipeline_line(b->pipeline, text_of(line), NOW_US);
	b->position.file.offset += strlen(line) + 1;
}

static enum pg_status commit(struct bench *b)
{
	store_seal(b->store, pipeline_track(b->pipeline), &b->position, NOW_US, 7);
	return store_commit(b->store);
}

static const char *const life[] = {
	"Nov 20 10:00:00 mx1 postfix/smtpd[16]: A00000000001: client=h[192.0.2.7], sasl_method=PLAIN, "
	"sasl_username=Acme-App",
	"Nov 20 10:00:00 mx1 postfix/cleanup[17]: A00000000001: message-id=<1@acme.example>",
	"Nov 20 10:00:01 mx1 postfix/qmgr[2]: A00000000001: from=<a@acme.example>, size=100, nrcpt=2 (queue active)",
	"Nov 20 10:00:02 mx1 postfix/smtp[9]: A00000000001: to=<good@ex.net>, relay=mx[203.0.113.4]:25, delay=1, "
	"delays=0/0/0/1, dsn=2.0.0, status=sent (250 ok)",
	"Nov 20 10:00:03 mx1 postfix/smtp[9]: A00000000001: to=<Gone@Ex.NET>, relay=mx[203.0.113.4]:25, delay=1, "
	"delays=0/0/0/1, "
	"dsn=5.1.1, status=bounced (host mx[203.0.113.4] said: 550 5.1.1 User unknown (in reply to RCPT TO command))",
	"Nov 20 10:00:04 mx1 postfix/qmgr[2]: A00000000001: removed",
};
#define LIFE (sizeof life / sizeof *life)

static void a_batch(void **state)
{
	(void)state;
	struct bench b;
	begin(&b, SOURCE);
	assert_false(b.found);
	assert_int_equal(store_partitions(b.store), PG_OK);
	for (size_t i = 0; i < LIFE; i++)
		read_line(&b, life[i]);
	read_line(&b, "Nov 20 10:00:05 mx1 postfix/smtp[9]: never 7 seen");
	read_line(&b, "Nov 20 10:00:06 mx1 postfix/smtp[9]: never 8 seen");
	assert_int_equal(store_events(b.store), 3);
	assert_int_equal(commit(&b), PG_OK);
	assert_int_equal(store_events(b.store), 0);
	check("SELECT seq, customer, type, recipient, suppression FROM waybill.events ORDER BY seq",
	      "1 acme message.accepted NULL NULL; 2 acme message.delivered good@ex.net NULL; 3 acme message.bounced "
	      "Gone@ex.net added; 4 acme suppression.created Gone@ex.net NULL");
	check("SELECT recipient, reason FROM waybill.suppressions", "Gone@ex.net hard-bounce");
	check("SELECT endpoint, count(*) FROM waybill.deliveries GROUP BY 1 ORDER BY 1",
	      "ep_aaaaaaaaaaaaaaaa 4; ep_bbbbbbbbbbbbbbbb 1");
	check("SELECT count(*) FROM waybill.open_messages", "0");
	check("SELECT template, lines FROM support.unparsed", "postfix/smtp never * seen 2");
	check("SELECT source, batch, behind FROM waybill.log_positions", SOURCE " 1 7");
	end(&b);
}

static void a_restart(void **state)
{
	(void)state;
	struct bench b;
	begin(&b, SOURCE);
	b.position.file = (struct tail_position){
		.inode = 1, .generation = 4, .changed_ns = 5, .head_len = 6, .guard_len = 3, .guard = "a\n"};
	for (size_t i = 0; i < 4; i++)
		read_line(&b, life[i]);
	struct place last = b.position;
	assert_int_equal(commit(&b), PG_OK);
	check("SELECT host, instance, queue_id FROM waybill.open_messages", "mx1 postfix A00000000001");
	end(&b);
	begin(&b, SOURCE);
	assert_true(b.found);
	assert_memory_equal(&b.position, &last, sizeof last);
	assert_int_equal(track_open(pipeline_track(b.pipeline)), 1);
	for (size_t i = 4; i < LIFE; i++)
		read_line(&b, life[i]);
	assert_int_equal(commit(&b), PG_OK);
	check("SELECT count(*), count(DISTINCT event_id), max(seq) FROM waybill.events", "4 4 4");
	check("SELECT sasl_username FROM waybill.events WHERE type = 'message.bounced'", "Acme-App");
	check("SELECT count(*) FROM waybill.open_messages", "0");
	end(&b);
}

/* The answer to a commit got lost, so the same batch is sent again; and another node reads the same log. */
static void the_same_again(void **state)
{
	(void)state;
	struct bench b;
	for (int again = 0; again < 2; again++) {
		begin(&b, again ? "mx1 /a/copy" : SOURCE);
		for (size_t i = 0; i < LIFE; i++)
			read_line(&b, life[i]);
		assert_int_equal(commit(&b), PG_OK);
		end(&b);
	}
	assert_int_equal(pg_script(pg, "UPDATE waybill.log_positions SET batch = 0 WHERE source = '" SOURCE "'"),
			 PG_OK);
	begin(&b, SOURCE);
	struct place same = b.position;
	assert_int_equal(pg_script(pg, "UPDATE waybill.log_positions SET batch = 1 WHERE source = '" SOURCE "'"),
			 PG_OK);
	read_line(&b, "Nov 20 10:00:09 mx1 postfix/smtpd[16]: NOQUEUE: reject: RCPT from h[192.0.2.7]: 550 5.7.1 no; "
		      "from=<a@b>");
	b.position = same;
	assert_int_equal(commit(&b), PG_OK);
	end(&b);
	check("SELECT count(*), max(seq) FROM waybill.events WHERE customer = 'acme'", "4 4");
	check("SELECT count(*) FROM waybill.events WHERE customer = '-'", "0");
	check("SELECT count(*) FROM waybill.deliveries", "5");
}

/* A batch of which some events are stored already and one comes twice: numbers stay dense, nothing is doubled. */
static void partly_known(void **state)
{
	(void)state;
	struct bench b;
	begin(&b, SOURCE);
	for (size_t i = 0; i < LIFE; i++)
		read_line(&b, life[i]);
	assert_int_equal(commit(&b), PG_OK);
	end(&b);
	begin(&b, "mx1 /another");
	read_line(&b,
		  "Nov 20 10:00:00 mx1 postfix/smtpd[16]: A00000000009: client=h[192.0.2.7], sasl_username=acme-app");
	read_line(&b, "Nov 20 10:00:00 mx1 postfix/cleanup[17]: A00000000009: message-id=<new@acme.example>");
	read_line(&b, "Nov 20 10:00:01 mx1 postfix/qmgr[2]: A00000000009: from=<a@b>, size=1, nrcpt=1 (queue active)");
	for (size_t i = 0; i < LIFE; i++)
		read_line(&b, life[i]);
	/* The same message read twice in one batch. */
	for (size_t i = 0; i < LIFE; i++)
		read_line(&b, life[i]);
	assert_int_equal(commit(&b), PG_OK);
	assert_int_equal(store_dead(b.store), 0);
	end(&b);
	check("SELECT count(*), count(DISTINCT event_id), max(seq) FROM waybill.events WHERE customer = 'acme'",
	      "5 5 5");
	check("SELECT count(*) FROM waybill.deliveries", "6");
}

static void another_bouncer(void **state)
{
	(void)state;
	struct bench one, two;
	begin(&one, SOURCE);
	begin(&two, SOURCE);
	read_line(&one, life[0]);
	assert_int_equal(commit(&one), PG_OK);
	read_line(&one, life[1]);
	assert_int_equal(commit(&one), PG_OK);
	read_line(&two, life[0]);
	assert_int_equal(commit(&two), PG_FAILED);
	assert_non_null(strstr(store_error(two.store), "another waybill-bouncer"));
	end(&one);
	end(&two);
}

/* A row that Postgres does not take, among those that it takes. */
static void a_refused_row(void **state)
{
	(void)state;
	struct bench b;
	begin(&b, SOURCE);
	assert_int_equal(pg_script(pg, "ALTER TABLE waybill.events ADD CHECK (type <> 'message.rejected')"), PG_OK);
	for (size_t i = 0; i < 4; i++)
		read_line(&b, life[i]);
	read_line(&b, "Nov 20 10:00:02 mx1 postfix/smtpd[16]: NOQUEUE: reject: RCPT from h[192.0.2.7]: 550 5.7.1 "
		      "no; from=<a@b>");
	for (size_t i = 4; i < LIFE; i++)
		read_line(&b, life[i]);
	assert_int_equal(store_events(b.store), 4);
	assert_int_equal(commit(&b), PG_OK);
	assert_int_equal(store_dead(b.store), 1);
	check("SELECT count(*), max(seq) FROM waybill.events", "4 4");
	check("SELECT source, event::json->>'type' FROM support.dead_letters", SOURCE " message.rejected");
	check("SELECT batch FROM waybill.log_positions", "1");
	end(&b);
}

/* Nothing but events is refused: none of them is buried, the log is read on, and the rest is left out. */
static void a_refused_rest(void **state)
{
	(void)state;
	struct bench b;
	begin(&b, SOURCE);
	assert_int_equal(pg_script(pg, "ALTER TABLE waybill.open_messages ADD CHECK (queue_id <> 'A00000000001');"
				       "ALTER TABLE waybill.unparsed ADD CHECK (lines < 2)"),
			 PG_OK);
	for (size_t i = 0; i < 4; i++)
		read_line(&b, life[i]);
	for (size_t i = 0; i < 2; i++)
		read_line(&b, "Nov 20 10:00:05 mx1 postfix/smtp[9]: never 7 seen");
	/* 0000-01-01, which the database does not know: the last line's time. */
	store_seal(b.store, pipeline_track(b.pipeline), &b.position, INT64_C(-62167219200000000), 7);
	assert_int_equal(store_commit(b.store), PG_OK);
	assert_int_equal(store_dead(b.store), 0);
	check("SELECT batch, log_time FROM waybill.log_positions", "1 NULL");
	check("SELECT count(*), (SELECT count(*) FROM waybill.dead_letters), (SELECT count(*) FROM waybill.unparsed), "
	      "(SELECT count(*) FROM waybill.open_messages) FROM waybill.events",
	      "2 0 0 0");
	/* A batch without events. */
	read_line(&b, "Nov 20 10:00:05 mx1 postfix/smtp[9]: never 7 seen");
	read_line(&b, "Nov 20 10:00:05 mx1 postfix/smtp[9]: never 7 seen");
	assert_int_equal(commit(&b), PG_OK);
	check("SELECT batch, log_time IS NULL FROM waybill.log_positions", "2 t");
	for (size_t i = 4; i < LIFE; i++)
		read_line(&b, life[i]);
	assert_int_equal(commit(&b), PG_OK);
	check("SELECT count(*) FROM waybill.events WHERE sasl_username = 'Acme-App'", "3");
	end(&b);
}

/* Two bad bytes are one and the same character to the database; anybody can write them with logger(1). */
static void equal_keys(void **state)
{
	(void)state;
	struct bench b;
	begin(&b, SOURCE);
	read_line(&b, "Nov 20 10:00:00 mx1 a\xff/smtpd[1]: A00000000001: client=h[192.0.2.7]");
	read_line(&b, "Nov 20 10:00:00 mx1 a\xfe/smtpd[1]: A00000000001: client=h[192.0.2.7]");
	store_unparsed(b.store, TEXT("Nov 20 10:00:00 mx1 a\xff/smtpd[1]: never seen"), "unknown message");
	store_unparsed(b.store, TEXT("Nov 20 10:00:00 mx1 a\xfe/smtpd[1]: never seen"), "unknown message");
	assert_int_equal(commit(&b), PG_OK);
	check("SELECT template, lines FROM waybill.unparsed", "a?/smtpd never seen 2");
	check("SELECT count(*) FROM waybill.open_messages", "0");
	end(&b);
	/* And should another reader of lines write such keys. */
	check("SELECT waybill.record_batch('s', 1, '{}', NULL, 0, '{}', '{}', '{}', '{h,h}', '{i,i}', '{q,q}', "
	      "'{x,y}', '{t,t}', '{w,w}', '{s,s}', '{1,2}', '{}')",
	      "0");
	check("SELECT lines FROM waybill.unparsed WHERE source = 's'", "3");
}

static void odd_bytes(void **state)
{
	(void)state;
	static const char line[] =
		"Nov 20 10:00:03 mx1 postfix/smtp[9]: A00000000009: to=<x\xff\0\"\\{},y@ex.net>, relay=none, delay=1, "
		"delays=0/0/0/1, dsn=5.0.0, status=bounced (\xc3\xa4 \xc3 \xed\xa0\x80 NULL)";
	struct bench b;
	begin(&b, SOURCE);
	pipeline_line(b.pipeline, text_at(line, sizeof line - 1), NOW_US);
	assert_int_equal(commit(&b), PG_OK);
	check("SELECT recipient, reason FROM waybill.events", "x\xef\xbf\xbd\xef\xbf\xbd\"\\{},y@ex.net \xc3\xa4 "
							      "\xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd NULL");
	end(&b);
}

/* An SMTPUTF8 message's recipient is suppressed under the form that policyd looks up; what is no domain stays as it is. */
static void unicode_domains(void **state)
{
	(void)state;
	static const char *const lines[] = {
		"Nov 20 10:00:03 mx1 postfix/smtp[9]: A00000000009: to=<J\xc3\xb6@B\xc3\x9c"
		"cher.example>, relay=none, "
		"delay=1, delays=0/0/0/1, dsn=5.1.1, status=bounced (host mx.ex.net said: 550 5.1.1 User unknown (in "
		"reply to RCPT TO command))",
		"Nov 20 10:00:03 mx1 postfix/smtp[9]: A00000000009: to=<x@b\xc3\xbc\xff.example>, relay=none, "
		"delay=1, delays=0/0/0/1, dsn=5.1.1, status=bounced (no)",
	};
	struct bench b;
	begin(&b, SOURCE);
	for (size_t i = 0; i < 2; i++)
		read_line(&b, lines[i]);
	assert_int_equal(commit(&b), PG_OK);
	check("SELECT recipient, recipient_domain FROM waybill.events ORDER BY seq",
	      "J\xc3\xb6@xn--bcher-kva.example xn--bcher-kva.example; x@b\xc3\xbc\xef\xbf\xbd.example "
	      "b\xc3\xbc\xef\xbf\xbd.example");
	end(&b);
}

/* The disk is full behind a row that is refused: what was done before stays done, once. */
static void a_refused_row_and_a_full_disk(void **state)
{
	(void)state;
	struct bench b;
	begin(&b, SOURCE);
	assert_int_equal(pg_script(pg, "ALTER TABLE waybill.events ADD CHECK (type <> 'message.rejected');"
				       "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS "
				       "$$ BEGIN RAISE 'No space left on device' USING ERRCODE = '53100'; END $$;"
				       "CREATE TRIGGER no_room BEFORE INSERT ON waybill.events FOR EACH ROW "
				       "WHEN (NEW.type = 'message.bounced') EXECUTE FUNCTION no_room()"),
			 PG_OK);
	read_line(&b, "Nov 20 10:00:00 mx1 postfix/smtpd[16]: NOQUEUE: reject: RCPT from h[192.0.2.7]: 550 5.7.1 "
		      "no; from=<a@b>");
	for (size_t i = 0; i < LIFE; i++)
		read_line(&b, life[i]);
	assert_int_equal(commit(&b), PG_RETRY);
	assert_int_equal(store_commit(b.store), PG_RETRY);
	check("SELECT count(*), (SELECT count(*) FROM waybill.dead_letters) FROM waybill.events", "1 1");
	assert_int_equal(pg_script(pg, "DROP TRIGGER no_room ON waybill.events"), PG_OK);
	assert_int_equal(store_commit(b.store), PG_OK);
	assert_int_equal(store_dead(b.store), 1);
	check("SELECT count(*), (SELECT count(*) FROM waybill.dead_letters) FROM waybill.events WHERE type LIKE "
	      "'message.%'",
	      "3 1");
	check("SELECT batch FROM waybill.log_positions", "1");
	end(&b);
}

/* A database that was restored under the bouncer has its types anew. */
static void another_type(void **state)
{
	(void)state;
	struct bench b;
	begin(&b, SOURCE);
	for (size_t i = 0; i < 2; i++)
		read_line(&b, life[i]);
	assert_int_equal(commit(&b), PG_OK);
	assert_int_equal(pg_script(pg, "DROP SCHEMA waybill, support, auth CASCADE"), PG_OK);
	glob_t files;
	assert_int_equal(glob("schema/*.sql", 0, NULL, &files), 0);
	for (size_t i = 0; i < files.gl_pathc; i++)
		apply(files.gl_pathv[i]);
	globfree(&files);
	assert_int_equal(pg_script(pg, "INSERT INTO waybill.log_positions (source, batch) VALUES ('" SOURCE "', 1)"),
			 PG_OK);
	for (size_t i = 2; i < LIFE; i++)
		read_line(&b, life[i]);
	assert_int_equal(commit(&b), PG_RETRY);
	assert_int_equal(store_commit(b.store), PG_OK);
	check("SELECT count(*) FROM waybill.events", "3");
	end(&b);
}

/* While one batch is on its way the next one fills; the one that is lost on its way is sent again, and no other. */
static void the_next_fills(void **state)
{
	(void)state;
	struct bench b;
	begin(&b, SOURCE);
	for (size_t i = 0; i < LIFE; i++) {
		read_line(&b, life[i]);
		store_seal(b.store, pipeline_track(b.pipeline), &b.position, NOW_US, 7);
		assert_int_equal(store_events(b.store), 0);
		store_send(b.store);
		if (i + 1 < LIFE)
			read_line(&b, life[++i]);
		if (i == 3)
			assert_int_equal(pg_script(pg, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
						       "WHERE usename = 'waybill_bouncer'"),
					 PG_OK);
		enum pg_status status;
		while ((status = store_commit(b.store)) == PG_RETRY)
			;
		assert_int_equal(status, PG_OK);
	}
	assert_int_equal(commit(&b), PG_OK);
	end(&b);
	check("SELECT count(*), count(DISTINCT event_id), max(seq) FROM waybill.events WHERE type LIKE 'message.%'",
	      "3 3 3");
	check("SELECT batch FROM waybill.log_positions", "4");
	check("SELECT count(*) FROM waybill.open_messages WHERE queue_id <> 'NOQUEUE'", "0");
}

static void a_lost_connection(void **state)
{
	(void)state;
	struct bench b;
	begin(&b, SOURCE);
	for (size_t i = 0; i < LIFE; i++)
		read_line(&b, life[i]);
	assert_int_equal(
		pg_script(pg,
			  "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'waybill_bouncer'"),
		PG_OK);
	assert_int_equal(commit(&b), PG_RETRY);
	check("SELECT count(*) FROM waybill.events", "0");
	assert_int_equal(store_commit(b.store), PG_OK);
	check("SELECT count(*) FROM waybill.events", "4");
	/* What the sysadmin must mend is waited for, too. */
	assert_int_equal(pg_script(pg, "REVOKE EXECUTE ON FUNCTION waybill.record_batch FROM waybill_bouncer"), PG_OK);
	read_line(&b, life[0]);
	assert_int_equal(commit(&b), PG_RETRY);
	assert_int_equal(pg_script(pg, "GRANT EXECUTE ON FUNCTION waybill.record_batch TO waybill_bouncer"), PG_OK);
	assert_int_equal(store_commit(b.store), PG_OK);
	end(&b);
}

/* Requeued before its second attempt: what the first queue id names is still about the message. */
static void another_id(void **state)
{
	(void)state;
	static const char *const lines[] = {
		"Nov 20 10:00:00 mx1 postfix/smtpd[16]: A00000000001: client=h[192.0.2.7], sasl_username=acme-app",
		"Nov 20 10:00:00 mx1 postfix/cleanup[17]: A00000000001: message-id=<1@acme.example>",
		"Nov 20 10:00:01 mx1 postfix/qmgr[2]: A00000000001: from=<a@b>, size=1, nrcpt=2 (queue active)",
		"Nov 20 10:00:02 mx1 postfix/smtp[9]: A00000000001: to=<gone@ex.net>, relay=none, delay=1, "
		"delays=0/0/0/1, dsn=4.4.1, status=deferred (connect to ex.net[203.0.113.4]:25: Connection timed out)",
		"Nov 20 10:00:03 mx1 postfix/postsuper[52]: A00000000001: requeued",
		"Nov 20 10:00:04 mx1 postfix/pickup[53]: A00000000002: uid=89 from=<a@b> orig_id=A00000000001",
		"Nov 20 10:00:04 mx1 postfix/cleanup[17]: A00000000002: message-id=<1@acme.example>",
		"Nov 20 10:00:04 mx1 postfix/qmgr[2]: A00000000002: from=<a@b>, size=1, nrcpt=2 (queue active)",
		"Nov 20 10:00:05 mx1 postfix/smtp[9]: A00000000002: to=<gone@ex.net>, relay=mx[203.0.113.4]:25, "
		"delay=1, delays=0/0/0/1, dsn=5.1.1, status=bounced (host mx[203.0.113.4] said: 550 5.1.1 no such "
		"user (in reply to RCPT TO command))",
		"Nov 20 10:00:05 mx1 postfix/smtp[9]: A00000000002: to=<good@ex.net>, relay=mx[203.0.113.4]:25, "
		"delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 ok)",
	};
	struct bench b;
	assert_int_equal(pg_script(pg, "INSERT INTO waybill.annotations VALUES "
				       "('acme', 'A00000000001', '2026-11-20T10:00:00Z', 'welcome', '{\"n\": 7}')"),
			 PG_OK);
	begin(&b, SOURCE);
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
		read_line(&b, lines[i]);
	assert_int_equal(commit(&b), PG_OK);
	check("SELECT type, queue_id, orig_queue_id, tag, metadata->>'n' FROM waybill.events WHERE recipient IS NOT "
	      "NULL "
	      "AND type LIKE 'message.%' ORDER BY seq",
	      "message.deferred A00000000001 NULL welcome 7; message.bounced A00000000002 A00000000001 welcome 7; "
	      "message.delivered A00000000002 A00000000001 welcome 7");
	/* A report with the token of the first id, when the message is in the queue under the second. */
	check("SELECT host, matches, later FROM waybill.reported_message(substr(sha256('acme'), 1, 6), "
	      "substr(sha256('mx1'), 1, 3), 'A00000000001', now(), '{GOOD@ex.net,other@ex.net}')",
	      "mx1 {good@ex.net,NULL} t");
	/* Postfix's notice about the bounce that the log told is no second one; one of the other recipient is. */
#define REPORT(RECIPIENT, ID)                                                                                        \
	"SELECT waybill.record_report('{\"customer\": \"acme\", \"queue_id\": \"A00000000001\", \"host\": \"mx1\", " \
	"\"type\": \"message.bounced\", \"event_id\": \"" ID "\", \"recipient\": \"" RECIPIENT                       \
	"\", \"bounce_class\": "                                                                                     \
	"\"hard\", \"bounce_category\": \"unknown-recipient\", \"bounce_scope\": \"recipient\", \"source_kind\": "   \
	"\"dsn\"}')"
	check(REPORT("gone@ex.net", "evt_1"), "f");
	check(REPORT("good@ex.net", "evt_2"), "t");
	check(REPORT("good@ex.net", "evt_2"), "f");
	check("SELECT queue_id, orig_queue_id, tag FROM waybill.events WHERE source_kind = 'dsn'",
	      "A00000000002 A00000000001 welcome");
	end(&b);
}

/* The bouncer adds events by its door alone, and what support sees it may only read. */
static void rights(void **state)
{
	(void)state;
	struct pg *bouncer = pg_new("dbname=waybill user=waybill_bouncer", "test");
	assert_int_equal(pg_script(bouncer, "UPDATE waybill.events SET recipient = 'x'"), PG_FAILED);
	assert_int_equal(pg_script(bouncer, "DELETE FROM waybill.events"), PG_FAILED);
	assert_int_equal(pg_script(bouncer, "SELECT * FROM waybill.endpoints"), PG_FAILED);
	pg_free(&bouncer);
	struct pg *support = pg_new("dbname=waybill user=waybill_support", "test");
	assert_int_equal(
		pg_script(support,
			  "SELECT * FROM support.events; SELECT * FROM support.lag; SELECT * FROM support.unparsed;"
			  "SELECT * FROM support.dead_letters; SELECT * FROM support.timeline('x')"),
		PG_OK);
	assert_int_equal(pg_script(support, "SELECT * FROM waybill.events"), PG_FAILED);
	pg_free(&support);
}

int main(void)
{
#define FRESH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		FRESH(a_batch),
		FRESH(a_restart),
		FRESH(the_same_again),
		FRESH(partly_known),
		FRESH(another_bouncer),
		FRESH(a_refused_row),
		FRESH(a_refused_rest),
		FRESH(equal_keys),
		FRESH(odd_bytes),
		FRESH(unicode_domains),
		FRESH(a_refused_row_and_a_full_disk),
		FRESH(another_type),
		FRESH(the_next_fills),
		FRESH(a_lost_connection),
		FRESH(another_id),
		FRESH(rights),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
