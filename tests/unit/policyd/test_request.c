/* The policy protocol's parser. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "policyd/request.h"

static const char whole[] = "request=smtpd_access_policy\nprotocol_state=RCPT\nhelo_name=h\nsender=a@x.test\n"
			    "recipient=b=c@y.test\nsender=second@x.test\nqueue_id=\nunknown=1\nsize=4096\n\n";

/* All of BYTES is one request. */
static const char *take(struct text bytes, struct request *request)
{
	struct request_scan scan = {0};
	size_t len;
	const char *why = request_take(&scan, bytes, &len, request);
	if (!why)
		assert_int_equal(len, bytes.len);
	return why;
}

static void takes_a_request_apart(void **state)
{
	(void)state;
	struct request request;
	assert_null(take(text_of(whole), &request));
	assert_int_equal(request.state, REQUEST_AT_RCPT);
	assert_true(text_equal(request.values[REQUEST_SENDER], TEXT("a@x.test")));
	assert_true(text_equal(request.values[REQUEST_RECIPIENT], TEXT("b=c@y.test")));
	assert_int_equal(request.values[REQUEST_QUEUE_ID].len, 0);
	assert_int_equal(request.values[REQUEST_LOGIN].len, 0);
	assert_int_equal(request_number(&request, REQUEST_SIZE), 4096);
	assert_int_equal(request_number(&request, REQUEST_RECIPIENT_COUNT), 0);
}

static const struct {
	const char *state;
	enum request_state expected;
} states[] = {
	{"MAIL", REQUEST_AT_MAIL},          {"RCPT", REQUEST_AT_RCPT},  {"DATA", REQUEST_AT_DATA},
	{"END-OF-MESSAGE", REQUEST_AT_END}, {"EHLO", REQUEST_AT_OTHER}, {"CONNECT", REQUEST_AT_OTHER},
	{"rcpt", REQUEST_AT_OTHER},         {"", REQUEST_AT_OTHER},
};

static void knows_the_states(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
		struct buffer b = {0};
		struct request request;
		buffer_format(&b, "protocol_state=%s\nrequest=smtpd_access_policy\n\n", states[i].state);
		assert_null(take(buffer_view(&b), &request));
		assert_int_equal(request.state, states[i].expected);
		buffer_free(&b);
	}
}

/* Whatever the split: nothing before the last byte, then the whole length. */
static void is_found_at_every_split(void **state)
{
	(void)state;
	size_t all = strlen(whole);
	for (size_t step = 1; step <= all; step++) {
		struct request_scan scan = {0};
		struct request request;
		size_t len = 0;
		for (size_t have = step < all ? step : all; !len; have = have + step < all ? have + step : all) {
			assert_null(request_take(&scan, text_head(text_of(whole), have), &len, &request));
			assert_int_equal(len, have == all ? all : 0);
		}
	}
}

static void pipelined_requests_are_found_one_by_one(void **state)
{
	(void)state;
	struct buffer many = {0};
	int found = 0;
	for (int i = 0; i < 1000; i++)
		buffer_text(&many, text_of(whole));
	for (struct text rest = buffer_view(&many); rest.len; found++) {
		struct request_scan scan = {0};
		struct request request;
		size_t len;
		assert_null(request_take(&scan, rest, &len, &request));
		assert_int_equal(len, strlen(whole));
		rest = text_from(rest, len);
	}
	assert_int_equal(found, 1000);
	buffer_free(&many);
}

static const struct {
	const char *bytes;
	size_t len;
	const char *why;
} malformed[] = {
	{"protocol_state=RCPT\n\n", 21, "no request= attribute"},
	{"request=junk\n\n", 14, "a request other than smtpd_access_policy"},
	{"request=smtpd_access_policy\nsender\n\n", 36, "a line without name=value"},
	{"request=smtpd_access_policy\n=x\n\n", 32, "a line without name=value"},
	{"request=smtpd_access_policy\nsender=a\0b\n\n", 41, "a NUL byte"},
};

static void malformed_requests_have_a_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
		struct request request;
		const char *why = take(text_at(malformed[i].bytes, malformed[i].len), &request);
		assert_non_null(why);
		assert_string_equal(why, malformed[i].why);
	}
	struct request request;
	assert_non_null(take(TEXT("\n"), &request));
}

static const char *scan_value_of(size_t value_len, size_t *len)
{
	struct request_scan scan = {0};
	struct request request;
	struct buffer b = {0};
	char *value = memset(test_malloc(value_len + 1), 'x', value_len);
	value[value_len] = '\0';
	buffer_format(&b, "request=smtpd_access_policy\nhelo_name=%s\n\n", value);
	const char *why = request_take(&scan, buffer_view(&b), len, &request);
	test_free(value);
	buffer_free(&b);
	return why;
}

static void sizes_are_bounded(void **state)
{
	(void)state;
	size_t len, room = REQUEST_MAX_BYTES - strlen("request=smtpd_access_policy\nhelo_name=\n\n");
	assert_null(scan_value_of(room, &len));
	assert_int_equal(len, REQUEST_MAX_BYTES);
	assert_non_null(scan_value_of(room + 1, &len));
	struct request_scan scan = {0};
	struct request request;
	char *endless = memset(test_malloc(REQUEST_MAX_BYTES), 'x', REQUEST_MAX_BYTES);
	assert_null(request_take(&scan, text_at(endless, REQUEST_MAX_BYTES - 1), &len, &request));
	assert_non_null(request_take(&scan, text_at(endless, REQUEST_MAX_BYTES), &len, &request));
	test_free(endless);
}

static const char *parse_attributes(int count)
{
	struct buffer b = {0};
	struct request request;
	buffer_format(&b, "request=smtpd_access_policy\n");
	for (int i = 1; i < count; i++)
		buffer_format(&b, "a%d=b\n", i);
	buffer_char(&b, '\n');
	const char *why = take(buffer_view(&b), &request);
	buffer_free(&b);
	return why;
}

static void attributes_are_bounded(void **state)
{
	(void)state;
	assert_null(parse_attributes(REQUEST_MAX_ATTRIBUTES));
	assert_non_null(parse_attributes(REQUEST_MAX_ATTRIBUTES + 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_a_request_apart),
		cmocka_unit_test(knows_the_states),
		cmocka_unit_test(is_found_at_every_split),
		cmocka_unit_test(pipelined_requests_are_found_one_by_one),
		cmocka_unit_test(malformed_requests_have_a_reason),
		cmocka_unit_test(sizes_are_bounded),
		cmocka_unit_test(attributes_are_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
