/* milter/session, fields, reply and meter: what is gathered of a message and what is said and charged for it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "milter/meter.h"
#include "milter/reply.h"
#include "milter/session.h"

static void drop(void *context, struct text bytes)
{
	(void)context;
	(void)bytes;
}

static void begin(struct session *session)
{
	session_begin(session, TEXT("<a@example.com>"), drop, NULL);
}

static void destinations_are_domains(void **state)
{
	(void)state;
	struct session session = {0};
	begin(&session);
	session_recipient(&session, TEXT("<a@Example.NET>"));
	session_recipient(&session, TEXT("<b@example.net>"));
	session_recipient(&session, TEXT("\"x@y\"@example.org"));
	session_recipient(&session, TEXT("<postmaster>"));
	assert_int_equal(session.recipients, 4);
	assert_int_equal(session.destination_count, 3);
	assert_true(text_equal(session_destination(&session, 0), TEXT("example.net")));
	assert_int_equal(session.destinations[0].recipients, 2);
	assert_true(text_equal(session_destination(&session, 1), TEXT("example.org")));
	assert_int_equal(session_destination(&session, 2).len, 0);
	begin(&session);
	assert_int_equal(session.recipients + (int64_t)session.destination_count, 0);
	session_free(&session);
}

static void a_session_has_one_login(void **state)
{
	(void)state;
	struct session session = {0};
	begin(&session);
	assert_true(session_login(&session, TEXT("")));
	begin(&session);
	assert_true(session_login(&session, TEXT("app")));
	begin(&session);
	assert_true(session_login(&session, TEXT("app")));
	assert_false(session_login(&session, TEXT("")));
	assert_false(session_login(&session, TEXT("other")));
	assert_true(text_equal(buffer_view(&session.login), TEXT("app")));
	session_free(&session);
}

static void size_is_that_on_the_wire(void **state)
{
	(void)state;
	struct session session = {0};
	begin(&session);
	session_field(&session, TEXT("From"), TEXT("a@example.com"));
	session_body(&session, TEXT("Hello\r\n"));
	assert_int_equal(session_size(&session), (int)strlen("From: a@example.com\r\n\r\nHello\r\n"));
	session_free(&session);
}

static void authors_by_count(void **state)
{
	(void)state;
	struct session session = {0};
	struct session_authors authors;
	begin(&session);
	assert_int_equal(session_authors(&session, &authors), REPLY_FROM_MISSING);
	session_field(&session, TEXT("FROM "), TEXT("A <a@example.com>"));
	assert_int_equal(session_authors(&session, &authors), REPLY_NONE);
	assert_string_equal(authors.from, "a@example.com");
	assert_string_equal(authors.sender, "");
	session_field(&session, TEXT("Sender"), TEXT("b@example.com"));
	assert_int_equal(session_authors(&session, &authors), REPLY_NONE);
	assert_string_equal(authors.sender, "b@example.com");
	session_field(&session, TEXT("Sender"), TEXT("b@example.com"));
	assert_int_equal(session_authors(&session, &authors), REPLY_SENDER_SEVERAL);
	session_field(&session, TEXT("From"), TEXT("b@example.com"));
	assert_int_equal(session_authors(&session, &authors), REPLY_FROM_SEVERAL);
	session_free(&session);
}

static void too_many_fields_are_noticed(void **state)
{
	(void)state;
	struct session session = {0};
	begin(&session);
	for (int i = 0; i < FIELDS_MAX_COUNT; i++)
		session_field(&session, TEXT("X"), TEXT("y"));
	assert_false(session.fields_overflow);
	session_field(&session, TEXT("X"), TEXT("y"));
	assert_true(session.fields_overflow);
	begin(&session);
	assert_false(session.fields_overflow);
	session_free(&session);
}

static void fields_are_numbered_by_name(void **state)
{
	(void)state;
	struct fields fields = {0};
	fields_add(&fields, TEXT("X-Waybill-A"), TEXT("1"));
	fields_add(&fields, TEXT("B"), TEXT("2"));
	fields_add(&fields, TEXT("x-waybill-a"), TEXT("3"));
	assert_int_equal(fields_number(&fields, 0), 1);
	assert_int_equal(fields_number(&fields, 1), 1);
	assert_int_equal(fields_number(&fields, 2), 2);
	fields_free(&fields);
}

/* Every reply is one SMTP line of printable ASCII, names its reason, and its two codes agree. */
static void every_reply_is_well_formed(void **state)
{
	(void)state;
	char longest[400];
	memset(longest, 'x', sizeof longest);
	struct text text = text_at(longest, sizeof longest);
	const struct reply_words words = {text,      text,      text,     text, text, TEXT("abcdefgh"),
					  INT64_MAX, INT64_MAX, INT64_MAX};
	for (int reason = REPLY_NONE + 1; reason < REPLY_MAX; reason++) {
		struct reply reply;
		char id[64];
		reply_make((enum reply_reason)reason, &words, &reply);
		assert_int_equal(reply.code[0], reply.enhanced[0]);
		assert_int_equal(reply_is_permanent((enum reply_reason)reason), reply.code[0] == '5');
		snprintf(id, sizeof id, " [%s] id=abcdefgh", reply_id((enum reply_reason)reason));
		assert_true(text_ends(text_of(reply.text), text_of(id)));
		assert_null(strpbrk(reply.text, "{}\r\n"));
	}
}

static void replies_tell_no_control_bytes(void **state)
{
	(void)state;
	struct reply reply;
	const struct reply_words words = {.address = TEXT("a\r\n250 ok\xc3\xa9@b"), .login = TEXT("app")};
	reply_make(REPLY_FROM_NOT_OWNED, &words, &reply);
	assert_non_null(strstr(reply.text, "<a??250 ok??@b>"));
	assert_non_null(strstr(reply.text, "login <app>"));
}

static void add_limit(struct buffer *list, const char *id, enum limit_scope scope, enum limit_unit unit,
		      const char *spec)
{
	struct limit limit = {.id = text_of(id), .scope = scope, .unit = unit};
	size_t at;
	assert_null(limit_spec_parse(text_of(spec), &limit.spec, &at));
	directory_limit_add(list, &limit);
}

struct world {
	struct session session;
	struct buffer login, customer, domain, relay;
	struct directory_login login_record;
	struct directory_customer customer_record;
	struct directory_domain domain_record;
	struct directory_relay relay_record;
};

static struct meter world_meter(struct world *w)
{
	w->login_record = (struct directory_login){.name = TEXT("app"), .limits = {buffer_view(&w->login)}};
	w->customer_record = (struct directory_customer){.name = TEXT("acme"), .limits = {buffer_view(&w->customer)}};
	w->domain_record = (struct directory_domain){.name = TEXT("example.com"), .limits = {buffer_view(&w->domain)}};
	w->relay_record = (struct directory_relay){{buffer_view(&w->relay)}};
	return (struct meter){&w->session, &w->login_record, &w->customer_record, &w->domain_record, &w->relay_record,
			      1000000,     TEXT("")};
}

static void world_free(struct world *w)
{
	session_free(&w->session);
	buffer_free(&w->login);
	buffer_free(&w->customer);
	buffer_free(&w->domain);
	buffer_free(&w->relay);
}

static void expect(const struct counters_request *request, size_t i, const char *id, const char *subject, int64_t cost)
{
	assert_true(text_equal(request->items[i].limit.id, text_of(id)));
	assert_true(text_equal(request->items[i].subject, text_of(subject)));
	assert_int_equal(request->items[i].cost, cost);
}

static void every_scope_is_charged(void **state)
{
	(void)state;
	struct world w = {0};
	char instance[METER_INSTANCE_SIZE];
	struct counters_request request = {0};
	begin(&w.session);
	session_recipient(&w.session, TEXT("<a@one.test>"));
	session_recipient(&w.session, TEXT("<b@one.test>"));
	session_recipient(&w.session, TEXT("<c@two.test>"));
	session_body(&w.session, TEXT("Hello\r\n"));
	add_limit(&w.login, "login-hour", LIMIT_LOGIN, LIMIT_MESSAGES, "5/h");
	add_limit(&w.login, "login-bytes", LIMIT_LOGIN, LIMIT_BYTES, "1M/h");
	add_limit(&w.relay, "all", LIMIT_RELAY, LIMIT_MESSAGES, "100/s");
	add_limit(&w.customer, "quota", LIMIT_CUSTOMER, LIMIT_RECIPIENTS, "10/day");
	add_limit(&w.customer, "slow", LIMIT_DESTINATION, LIMIT_RECIPIENTS, "10/min");
	add_limit(&w.domain, "bytes", LIMIT_DOMAIN, LIMIT_BYTES, "1M/h");
	struct meter meter = world_meter(&w);
	assert_true(meter_request(&meter, instance, &request));
	assert_int_equal(request.count, 6);
	expect(&request, 0, "login-bytes", "app", 9);
	assert_true(request.items[0].settles);
	expect(&request, 1, "all", "*", 1);
	expect(&request, 2, "quota", "acme", 3);
	assert_int_equal(request.items[2].window_start, 1000000 / 86400 * 86400);
	assert_int_equal(request.items[2].window_end, 1000000 / 86400 * 86400 + 86400);
	expect(&request, 3, "slow", "one.test", 2);
	expect(&request, 4, "slow", "two.test", 1);
	expect(&request, 5, "bytes", "example.com", 9);
	world_free(&w);
}

static void bytes_of_a_network_are_settled(void **state)
{
	(void)state;
	struct world w = {0};
	char instance[METER_INSTANCE_SIZE], network[METER_NETWORK_SIZE];
	struct counters_request request = {0};
	begin(&w.session);
	add_limit(&w.login, "net-bytes", LIMIT_NETWORK, LIMIT_BYTES, "1M/h");
	add_limit(&w.login, "net-messages", LIMIT_NETWORK, LIMIT_MESSAGES, "1M/h");
	struct meter meter = world_meter(&w);
	assert_true(meter_request(&meter, instance, &request));
	assert_int_equal(request.count, 0);
	assert_true(meter_network(TEXT("app"), TEXT("192.0.2.7"), network));
	meter.network = text_of(network);
	assert_true(meter_request(&meter, instance, &request));
	assert_int_equal(request.count, 1);
	expect(&request, 0, "net-bytes", "app/192.0.2.0/24", 2);
	assert_true(request.items[0].settles);
	assert_true(meter_network(TEXT("app"), TEXT("2001:db8:1:2::3"), network));
	assert_string_equal(network, "app/2001:db8:1::/48");
	assert_false(meter_network(TEXT("app"), TEXT(""), network));
	world_free(&w);
}

static void a_limit_of_one_destination_counts_no_other(void **state)
{
	(void)state;
	struct world w = {0};
	char instance[METER_INSTANCE_SIZE];
	struct counters_request request = {0};
	struct limit limit = {.id = TEXT("slow"),
			      .scope = LIMIT_DESTINATION,
			      .unit = LIMIT_RECIPIENTS,
			      .spec = {10, 10, LIMIT_MINUTE},
			      .destination = TEXT("one.test")};
	begin(&w.session);
	directory_limit_add(&w.customer, &limit);
	session_recipient(&w.session, TEXT("<a@two.test>"));
	struct meter meter = world_meter(&w);
	assert_true(meter_request(&meter, instance, &request));
	assert_int_equal(request.count, 0);
	session_recipient(&w.session, TEXT("<a@One.test>"));
	session_recipient(&w.session, TEXT("<b@one.test>"));
	session_recipient(&w.session, TEXT("<c@sub.one.test>"));
	assert_true(meter_request(&meter, instance, &request));
	assert_int_equal(request.count, 1);
	expect(&request, 0, "slow", "one.test", 2);
	world_free(&w);
}

static void renamed_destinations_join(void **state)
{
	(void)state;
	struct session session = {0};
	begin(&session);
	session_recipient(&session, TEXT("<a@\xc3\xbc.test>"));
	session_recipient(&session, TEXT("<b@two.test>"));
	session_recipient(&session, TEXT("<c@xn--tda.test>"));
	session_rename_destination(&session, 0, TEXT("xn--tda.test"));
	assert_int_equal(session.destination_count, 2);
	assert_true(text_equal(session_destination(&session, 0), TEXT("xn--tda.test")));
	assert_int_equal(session.destinations[0].recipients, 2);
	session_rename_destination(&session, 1, TEXT("three.test"));
	assert_int_equal(session.destination_count, 2);
	assert_true(text_equal(session_destination(&session, 1), TEXT("three.test")));
	session_free(&session);
}

static void too_many_destinations_are_told(void **state)
{
	(void)state;
	struct world w = {0};
	char instance[METER_INSTANCE_SIZE];
	struct counters_request request = {0};
	begin(&w.session);
	add_limit(&w.customer, "slow", LIMIT_DESTINATION, LIMIT_RECIPIENTS, "10/min");
	for (int i = 0; i < COUNTERS_MAX_ITEMS; i++) {
		char recipient[64];
		snprintf(recipient, sizeof recipient, "<a@d%d.test>", i);
		session_recipient(&w.session, text_of(recipient));
	}
	struct meter meter = world_meter(&w);
	assert_true(meter_request(&meter, instance, &request));
	session_recipient(&w.session, TEXT("<a@one-more.test>"));
	assert_false(meter_request(&meter, instance, &request));
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(destinations_are_domains),
		cmocka_unit_test(a_session_has_one_login),
		cmocka_unit_test(size_is_that_on_the_wire),
		cmocka_unit_test(authors_by_count),
		cmocka_unit_test(too_many_fields_are_noticed),
		cmocka_unit_test(fields_are_numbered_by_name),
		cmocka_unit_test(every_reply_is_well_formed),
		cmocka_unit_test(replies_tell_no_control_bytes),
		cmocka_unit_test(every_scope_is_charged),
		cmocka_unit_test(bytes_of_a_network_are_settled),
		cmocka_unit_test(too_many_destinations_are_told),
		cmocka_unit_test(a_limit_of_one_destination_counts_no_other),
		cmocka_unit_test(renamed_destinations_join),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
