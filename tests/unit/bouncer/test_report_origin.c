/* Which mails are about a message of ours: by the address, or by a token within what a feedback report returns. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bouncer/report_origin.h"

static const struct report_keys keys = {
	.key = {{"the key of today", 16}, {"the key before", 14}}, .count = 2, .host = {"return.example.com", 18}};

static void make(struct text key, char token[RETURN_PATH_LOCAL_SIZE])
{
	char local[RETURN_PATH_LOCAL_SIZE];
	assert_null(return_path_make(key, TEXT("acme"), TEXT("mx1"), TEXT("4bXyZ12mN2VXxznjll"), local));
	memmove(token, local + 2, strlen(local) - 1);
}

static void by_address(void **state)
{
	(void)state;
	char good[RETURN_PATH_LOCAL_SIZE], former[RETURN_PATH_LOCAL_SIZE], other[RETURN_PATH_LOCAL_SIZE],
		upper[RETURN_PATH_LOCAL_SIZE];
	make(keys.key[0], good);
	make(keys.key[1], former);
	make(TEXT("another key"), other);
	for (size_t i = 0; i <= strlen(good); i++)
		upper[i] = good[i] >= 'a' && good[i] <= 'z' ? (char)(good[i] - 32) : good[i];
	const struct {
		const char *prefix, *token, *host;
		bool ours, unsubscribes;
	} rows[] = {
		{"b+", good, "@return.example.com", true, false},
		{"b+", former, "@Return.Example.COM", true, false},
		{"B+", upper, "@return.example.com", true, false},
		{"u+", good, "@return.example.com", true, true},
		{"b+", other, "@return.example.com", false, false},
		{"b+", good, "@return.example.org", false, false},
		{"c+", good, "@return.example.com", false, false},
		{"b+", "", "@return.example.com", false, false},
		{"b+", good + 1, "@return.example.com", false, false},
		{"", good, "@return.example.com", false, false},
		{"b+", good, "", false, false},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char address[256];
		struct report_origin origin;
		snprintf(address, sizeof address, "%s%s%s", rows[i].prefix, rows[i].token, rows[i].host);
		const char *why = report_origin_of_address(&keys, text_of(address), &origin);
		if (rows[i].ours != !why)
			fail_msg("%s: %s", address, why ? why : "accepted");
		if (rows[i].ours) {
			assert_string_equal(origin.path.queue_id, "4bXyZ12mN2VXxznjll");
			assert_int_equal(origin.unsubscribes, rows[i].unsubscribes);
		}
	}
}

static void within(void **state)
{
	(void)state;
	char good[RETURN_PATH_LOCAL_SIZE], other[RETURN_PATH_LOCAL_SIZE];
	make(keys.key[0], good);
	make(TEXT("another key"), other);
	const struct {
		enum report_piece_kind kind;
		const char *before, *token, *after;
		bool ours;
	} rows[] = {
		{PIECE_RETURNED, "Return-Path: <b+", good, "@return.example.com>\n", true},
		{PIECE_RETURNED, "List-Unsubscribe: <https://u.example/", good, ">\n", true},
		{PIECE_FEEDBACK, "Original-Mail-From: b+", good, "@return.example.com\n", true},
		{PIECE_RETURNED, "X: ", good, "", true},
		{PIECE_RETURNED, "Return-Path: <b+", other, "@return.example.com>\n", false},
		{PIECE_RETURNED, "Return-Path: <b+", good, "a@return.example.com>\n", false},
		{PIECE_NOTICE, "<b+", good, "@return.example.com>\n", false},
		{PIECE_HEADER, "To: <b+", good, "@return.example.com>\n", false},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char text[512];
		struct report_origin origin;
		snprintf(text, sizeof text, "%s%s%s", rows[i].before, rows[i].token, rows[i].after);
		const struct report_mail mail = {.piece = {{rows[i].kind, text_of(text)}}, .count = 1};
		const char *why = report_origin_within(&keys, &mail, &origin);
		if (rows[i].ours != !why)
			fail_msg("%s: %s", text, why ? why : "accepted");
	}
}

/* Behind too many others it is not looked for: a mail costs what it may. */
static void tries_are_bounded(void **state)
{
	(void)state;
	char good[RETURN_PATH_LOCAL_SIZE];
	struct buffer text = {0};
	struct report_origin origin;
	make(keys.key[0], good);
	for (int i = 0; i < 600; i++)
		buffer_format(&text, "%s ", "abcdefghijklmnopqrstuvwxyz234567abcdefghij");
	buffer_format(&text, "%s\n", good);
	const struct report_mail mail = {.piece = {{PIECE_RETURNED, buffer_view(&text)}}, .count = 1};
	assert_non_null(report_origin_within(&keys, &mail, &origin));
	buffer_free(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_address),
		cmocka_unit_test(within),
		cmocka_unit_test(tries_are_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
