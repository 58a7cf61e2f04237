/* The mail about endpoints in trouble, byte for byte, and what may not get into its header. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/notice.h"

static const struct notice_mail mail = {
	.from = {"relay@relay.example", 19},
	.to = {"ops@acme.example", 16},
	.date = {"Sat, 21 Nov 2026 01:15:09 +0000", 31},
	.message_id = {"notice.7.customer@mx1", 21},
};

static struct notice make(const char *type)
{
	return (struct notice){.customer = TEXT("acme"),
			       .endpoint = TEXT("ep_aaaaaaaaaaaaaaaa"),
			       .url = TEXT("https://acme.example/hook?key=secret"),
			       .type = text_of(type),
			       .reason = text_of(strstr(type, "disabled") ? "it answered 410 Gone" : ""),
			       .since = TEXT("2026-11-20 23:10 UTC"),
			       .failures = 12};
}

static void test_failing(void **state)
{
	struct buffer out = {0};
	struct notice notice = make("webhook.endpoint.failing");
	(void)state;
	notice_compose(&mail, &notice, 1, &out);
	assert_string_equal(
		buffer_string(&out),
		"Subject: Webhook endpoint ep_aaaaaaaaaaaaaaaa of acme is failing\n"
		"From: relay@relay.example\n"
		"To: ops@acme.example\n"
		"Date: Sat, 21 Nov 2026 01:15:09 +0000\n"
		"Message-ID: <notice.7.customer@mx1>\n"
		"Auto-Submitted: auto-generated\n"
		"MIME-Version: 1.0\n"
		"Content-Type: text/plain; charset=utf-8\n"
		"Content-Transfer-Encoding: 8bit\n"
		"\n"
		"Events about your mail could not be posted to a webhook endpoint.\n"
		"An endpoint that answers nothing but errors for five days is disabled; you are told after\n"
		"1, 24 and 72 hours of it, and then.\n"
		"\n"
		"Endpoint:      ep_aaaaaaaaaaaaaaaa\n"
		"Customer:      acme\n"
		"URL:           https://acme.example/hook\n"
		"State:         failing: still tried\n"
		"Failing since: 2026-11-20 23:10 UTC\n"
		"Failures:      12 in a row\n"
		"\n"
		"What it answered: waybill endpoint log ENDPOINT --failed\n");
	buffer_free(&out);
}

static void test_several_and_disabled(void **state)
{
	struct buffer out = {0};
	struct notice notices[] = {make("webhook.endpoint.failing"), make("webhook.endpoint.disabled")};
	(void)state;
	notice_compose(&mail, notices, 2, &out);
	const char *text = buffer_string(&out);
	assert_non_null(strstr(text, "Subject: 2 webhook endpoints are failing or disabled\n"));
	assert_non_null(strstr(
		text, "State:         disabled: nothing is posted any more\nReason:        it answered 410 Gone\n"));
	assert_non_null(strstr(text, "waybill endpoint resume ep_aaaaaaaaaaaaaaaa\n"));
	buffer_free(&out);
}

/* The command refuses such addresses; whatever a database holds, no field comes of it. */
static void test_a_line_stays_a_line(void **state)
{
	struct buffer out = {0};
	struct notice notice = make("webhook.endpoint.failing");
	struct notice_mail bad = mail;
	(void)state;
	bad.to = TEXT("ops@acme.example\r\nBcc: all@acme.example");
	notice.url = TEXT("https://acme.example/\n.\nX");
	notice_compose(&bad, &notice, 1, &out);
	assert_null(strstr(buffer_string(&out), "\nBcc:"));
	assert_null(strstr(buffer_string(&out), "\n.\n"));
	buffer_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_failing), cmocka_unit_test(test_several_and_disabled),
					   cmocka_unit_test(test_a_line_stays_a_line)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
