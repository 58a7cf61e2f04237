/* Rules and verdicts: what others get wrong, texts that are broken, rules files that are. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/classify.h"
#include "common/literals.h"
#include "common/pattern.h"

static struct rules *builtin;

static int load(void **state)
{
	(void)state;
	builtin = rules_builtin();
	return 0;
}

static int unload(void **state)
{
	(void)state;
	rules_free(&builtin);
	return 0;
}

static struct verdict judge(const char *words, const char *stage)
{
	struct verdict verdict;
	classify(builtin,
		 &(struct reply_facts){.words = text_of(words),
				       .stage = text_of(stage),
				       .final = text_starts(text_of(words), TEXT("5"))},
		 &verdict);
	return verdict;
}

/* Mistakes that classifiers in use make on real replies. */
static void known_mistakes(void **state)
{
	(void)state;
	static const struct {
		const char *words, *stage;
		enum bounce_category category;
		enum bounce_consequence consequence;
	} rows[] = {
		{"550 5.2.1 Mailbox unavailable. Your IP address 192.0.2.1 is blacklisted using bl.example.org",
		 "RCPT TO", CATEGORY_IP_BLOCKED, CONSEQUENCE_NONE},
		{"550 5.7.1 relaying denied", "RCPT TO", CATEGORY_RELAYING_ISSUES, CONSEQUENCE_NONE},
		{"550 5.7.13 closed", "RCPT TO", CATEGORY_INACTIVE_MAILBOX, CONSEQUENCE_TEMPORARY},
		{"550 5.7.17 owner changed", "RCPT TO", CATEGORY_MAILBOX_MOVED, CONSEQUENCE_PERMANENT},
		{"550 5.7.10 no", "RCPT TO", CATEGORY_TLS_REQUIRED, CONSEQUENCE_NONE},
		{"550 5.7.1 Message rejected due to content", "end of DATA", CATEGORY_SPAM_CONTENT, CONSEQUENCE_NONE},
		{"452 4.2.2 no", "RCPT TO", CATEGORY_QUOTA_ISSUES, CONSEQUENCE_COUNT},
		{"550 5.1.1 USER UNKNOWN", "RCPT TO", CATEGORY_BAD_MAILBOX, CONSEQUENCE_PERMANENT},
		{"550 5.1.1 user unknown", "RCPT TO", CATEGORY_BAD_MAILBOX, CONSEQUENCE_PERMANENT},
		{"550 5.7.1 <a@b.example>: Recipient address rejected: User unknown", "RCPT TO",
		 CATEGORY_RECIPIENT_FILTERED, CONSEQUENCE_COUNT},
		{"550 No such user", "end of DATA", CATEGORY_RECIPIENT_FILTERED, CONSEQUENCE_COUNT},
		{"552 5.2.2 Mailbox full", "RCPT TO", CATEGORY_QUOTA_ISSUES, CONSEQUENCE_COUNT},
		{"552 4.2.2 over quota", "RCPT TO", CATEGORY_QUOTA_ISSUES, CONSEQUENCE_COUNT},
		{"550-5.7.1 [192.0.2.1] Our system has detected that this message is 550-5.7.1 likely unsolicited "
		 "mail. 550 5.7.1 blocked.",
		 "end of DATA", CATEGORY_SPAM_CONTENT, CONSEQUENCE_NONE},
		{"550 <spam.policy.blacklist@b.example>: unknown user", "RCPT TO", CATEGORY_BAD_MAILBOX,
		 CONSEQUENCE_PERMANENT},
		{"550 5.1.1 No such user, see https://b.example/policy/spam?blocked", "RCPT TO", CATEGORY_BAD_MAILBOX,
		 CONSEQUENCE_PERMANENT},
		{"550 nobody knows", "RCPT TO", CATEGORY_UNDETERMINED, CONSEQUENCE_NONE},
		{"550", "RCPT TO", CATEGORY_UNDETERMINED, CONSEQUENCE_NONE},
		{"", "", CATEGORY_UNDETERMINED, CONSEQUENCE_NONE},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct verdict v = judge(rows[i].words, rows[i].stage);
		if (v.category != rows[i].category || bounce_consequence(&v) != rows[i].consequence)
			fail_msg("%s: %s, %s by %s", rows[i].words, bounce_category_words[v.category],
				 bounce_consequence_words[bounce_consequence(&v)], v.rule);
	}
}

static void other_languages(void **state)
{
	(void)state;
	static const char *const rows[] = {
		"550 Empfaenger unbekannt",
		"550 Unbekannter Empf\xc3\xa4nger",
		"550 Unbekannter Empf\xe4nger", /* Latin-1 */
		"550 Adresse d au moins un destinataire invalide",
		"550 utilisateur inconnu",
		"550 El usuario no existe",
		"550 Utente sconosciuto",
		"550 \xd0\xbd\xd0\xb5\xd1\x82 \xd1\x82\xd0\xb0\xd0\xba\xd0\xbe\xd0\xb3\xd0\xbe "
		"\xd0\xbf\xd0\xbe\xd0\xbb\xd1\x8c\xd0\xb7"
		"\xd0\xbe\xd0\xb2\xd0\xb0\xd1\x82\xd0\xb5\xd0\xbb\xd1\x8f",
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal(judge(rows[i], "RCPT TO").category, CATEGORY_BAD_MAILBOX);
}

/* Every cut of a reply of 2,000 bytes with everything in it; and every byte value. */
static void broken_texts(void **state)
{
	(void)state;
	struct buffer long_one = {0};
	for (size_t i = 0; long_one.len < 2000; i++) {
		buffer_text(&long_one,
			    TEXT("550-5.1.1 <a@b.example> 192.0.2.1 http://x.example/y 2001:db8::1 \xc3\xa4 \xff "));
		buffer_char(&long_one, (char)i);
	}
	for (size_t cut = 0; cut <= long_one.len; cut++) {
		/* A copy of exact size, so that a read behind the end is seen. */
		char *copy = text_copy(text_head(buffer_view(&long_one), cut));
		struct verdict v;
		classify(builtin, &(struct reply_facts){.words = text_at(copy, cut), .final = true}, &v);
		assert_non_null(v.rule);
		free(copy);
	}
	buffer_free(&long_one);
}

static void normal_form(void **state)
{
	(void)state;
	static const struct {
		const char *words, *normal;
	} rows[] = {
		{"550-5.7.1 One\n550 5.7.1 Two", "one two"},
		{"550 #5.1.0 Address rejected.", "address rejected."},
		{"550 5.1.1 <Jane.Doe+x@Example.NET>: unknown", "<@>: unknown"},
		{"554 Your IP (192.0.2.17) and [2001:db8::25] at 10:45:01", "your ip (<ip>) and [<ip>] at 10:45:01"},
		{"see HTTPS://Example.org/a?b=c now", "see <example.org> now"},
		{"version 1.2.3 of 5.10", "version 1.2.3 of 5.10"},
		{"  many\t\tblanks \r\n here  ", "many blanks here"},
		{"@@ a@ @b", "@ @ @"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buffer out = {0};
		classify_normalise(text_of(rows[i].words), &out);
		assert_string_equal(buffer_string(&out), rows[i].normal);
		buffer_free(&out);
	}
}

/* The command that was answered, as other servers' bounces name it. */
static void stages(void **state)
{
	(void)state;
	static const struct {
		const char *words, *stage;
	} rows[] = {
		{"host mx.example[192.0.2.1] said: 550 no (in reply to RCPT TO command)", "RCPT TO"},
		{"host mx.example[192.0.2.1] said: 550 no (in reply to end of DATA command)", "end of DATA"},
		{"SMTP error from remote mail server after RCPT TO:<a@b.example>: host mx: 550 no", "RCPT TO"},
		{"SMTP error from remote mail server after end of data: host mx: 550 no", "end of DATA"},
		{"192.0.2.1 does not like recipient. Remote host said: 550 no", "RCPT TO"},
		{"192.0.2.1 failed after I sent the message. Remote host said: 550 no", "end of DATA"},
		{">>> RCPT To:<a@b.example> <<< 550 no >>> DATA <<< 503 need RCPT", "RCPT TO"},
		{">>> DATA <<< 550 no", "DATA"},
		{"550 no", ""},
		{"", ""},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (!text_equal(classify_stage(text_of(rows[i].words)), text_of(rows[i].stage)))
			fail_msg("%s", rows[i].words);
}

/* "Unknown user" where neither a code nor a stage says that the recipient was the question. */
static void unplaced(void **state)
{
	(void)state;
	static const struct {
		const char *words, *stage;
		enum bounce_consequence consequence;
	} rows[] = {
		{"550 Unknown user", "RCPT TO", CONSEQUENCE_PERMANENT},
		{"550 5.1.1 Unknown user", "", CONSEQUENCE_PERMANENT},
		{"550 Unknown user", "", CONSEQUENCE_COUNT},
		{"550 5.0.0 Unknown user", "", CONSEQUENCE_COUNT},
		{"550 5.0.911 Unknown user", "", CONSEQUENCE_COUNT}, /* no code of RFC 3463 */
		{"host mx.example failed with: 550 Unknown user", "", CONSEQUENCE_COUNT},
		{"host mx.example said: 550 Unknown user (in reply to RCPT TO command)", "", CONSEQUENCE_PERMANENT},
		{"User jane not listed in Domino Directory", "", CONSEQUENCE_PERMANENT}, /* no reply of a server */
		{"jane, extension 550, is an unknown user", "", CONSEQUENCE_PERMANENT},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct verdict v;
		classify(builtin,
			 &(struct reply_facts){
				 .words = text_of(rows[i].words), .stage = text_of(rows[i].stage), .final = true},
			 &v);
		if (bounce_consequence(&v) != rows[i].consequence)
			fail_msg("%s: %s by %s", rows[i].words, bounce_consequence_words[bounce_consequence(&v)],
				 v.rule);
	}
}

static void own_words(void **state)
{
	(void)state;
	static const struct {
		const char *words, *dsn;
		bool expired;
		enum bounce_class class;
		enum bounce_category category;
		enum bounce_scope scope;
	} rows[] = {
		{"Domain x.example does not accept mail (nullMX)", "5.1.0", false, CLASS_HARD, CATEGORY_BAD_DOMAIN,
		 SCOPE_RECIPIENT_DOMAIN},
		{"connect to x.example[192.0.2.1]:25: Connection timed out", "4.4.1", true, CLASS_SOFT,
		 CATEGORY_EXPIRED, SCOPE_NETWORK},
		{"unknown user: \"jane\"", "5.1.1", false, CLASS_HARD, CATEGORY_BAD_MAILBOX, SCOPE_RECIPIENT},
		{"mail for x.example loops back to myself", "5.4.6", false, CLASS_HARD, CATEGORY_ROUTING_LOOP,
		 SCOPE_REMOTE_SYSTEM},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct verdict v;
		classify(builtin,
			 &(struct reply_facts){.words = text_of(rows[i].words),
					       .enhanced = text_of(rows[i].dsn),
					       .own = true,
					       .final = true,
					       .expired = rows[i].expired},
			 &v);
		assert_int_equal(v.class, rows[i].class);
		assert_int_equal(v.category, rows[i].category);
		assert_int_equal(v.scope, rows[i].scope);
	}
}

static void count_faults(void *context, bool fault, const char *remark)
{
	if (fault) {
		print_message("%s\n", remark);
		++*(size_t *)context;
	}
}

/* Every built-in rule speaks for its examples, misses its near ones, and is reachable. */
static void builtin_rules(void **state)
{
	(void)state;
	size_t faults = 0;
	assert_true(rules_count(builtin) > 80);
	rules_lint(builtin, count_faults, &faults);
	assert_int_equal(faults, 0);
}

#define GOOD "rule a\ncategory virus\nwords xyz\nmatch 550 xyz\nmiss 550 xy\n"

static void broken_files(void **state)
{
	(void)state;
	static const struct {
		const char *text, *error;
	} rows[] = {
		{"category virus\n", "f:1:10: a line \"rule ID\" comes first"},
		{"rule a\n\nrule b\n", "f:1:1: this rule has no category"},
		{"rule a\ncategory vires\n", "f:2:10: there is no such category"},
		{"rule a\ncategory virus\n", "f:1:1: this rule has neither words nor codes: it would match everything"},
		{"# c\nrule a\n category   virus\nwords a(b\n", "f:4:10: missing closing parenthesis"},
		{"rule a\ncategory virus\nwords abc|def\n",
		 "f:3:10: an alternative outside of brackets: write another line"},
		{"rule a\ncategory virus\nwords abC\n",
		 "f:3:9: a capital letter never matches: the text is in lower case"},
		{"rule a\ncategory virus\nword abc\n", "f:3:6: there is no such keyword"},
		{"rule a\ncategory\n", "f:2:1: a value is missing"},
		{GOOD GOOD, "f:6:6: another rule has this id"},
		{"rule a\ncategory virus\nscope me\n", "f:3:7: there is no such scope"},
		{"rule a\ncategory virus\nunplaced perhaps\n", "f:3:10: there is no such category"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char *error = NULL;
		assert_null(rules_parse("f", text_of(rows[i].text), &error));
		if (!strstr(error, rows[i].error) || strstr(error, rows[i].error) != error)
			fail_msg("%s instead of %s", error, rows[i].error);
		free(error);
	}
}

struct remarks {
	struct buffer all;
};

static void keep(void *context, bool fault, const char *remark)
{
	struct remarks *remarks = context;
	(void)fault;
	buffer_format(&remarks->all, "%s\n", remark);
}

static void lint_finds(void **state)
{
	(void)state;
	static const struct {
		const char *text, *remark;
	} rows[] = {
		{GOOD "rule b\ncategory no-ptr\nwords wxyz\nmatch 550 wxyz\nmiss 550 w\n",
		 "f:8:7: b: is never reached"},
		{GOOD "rule b\ncategory no-ptr\nwords abcd\nmatch 550 xyz abcd\nmiss 550 w\n",
		 "f:9:7: b: does not speak for its example, a does"},
		{"rule a\ncategory virus\nwords abc\nmatch 550 abc\nmiss 550 abcd\n",
		 "f:5:6: a: speaks for what it must miss"},
		{"rule a\ncategory virus\nwords abc.\nmatch 550 abc.\nmiss 550 x\n",
		 "f:3:10: a: a dot without backslash"},
		{"rule a\ncategory virus\nwords (abc)\nmatch 550 abc\nmiss 550 x\n",
		 "f:3:7: a: a bracket without backslash"},
		{"rule a\ncategory virus\nwords abc\nmiss 550 x\n", "f:1:1: a: has no example that it must match"},
		{"rule a\ncategory virus\nwords abc\nmatch 550 abc\n", "f:1:1: a: has no near example"},
		{"rule a\ncategory virus\nwords abc\nwords abcd\nmatch 550 abc\nmiss 550 x\n",
		 "f:4:7: a: overlaps with line 3"},
		{"rule a\ncategory virus\nenhanced 5.7.*\nmatch 550 5.7.1\nmiss 550 x\n"
		 "rule b\ncategory virus\nenhanced 5.7.*\nwords abc\nmatch 550 5.7.1 abc\nmiss 550 x\n",
		 "f:6:1: b: is never reached: a speaks for its codes before"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char *error = NULL;
		struct remarks remarks = {0};
		struct rules *rules = rules_parse("f", text_of(rows[i].text), &error);
		assert_non_null(rules);
		rules_lint(rules, keep, &remarks);
		if (!strstr(buffer_string(&remarks.all), rows[i].remark))
			fail_msg("%s is not in %s", rows[i].remark, buffer_string(&remarks.all));
		buffer_free(&remarks.all);
		rules_free(&rules);
	}
}

/* A pattern that would need years: nobody knows, whatever rules come behind, and the work is bounded (a step limit, no
 * clock: without it this test would not end). */
static void match_limit(void **state)
{
	(void)state;
	char *error = NULL;
	struct rules *rules = rules_parse("f",
					  TEXT("rule slow\ncategory bad-mailbox\nwords (?:a+)+[bc]\n"
					       "rule later\ncategory bad-mailbox\nwords aaaa\n"),
					  &error);
	struct buffer words = {0};
	struct verdict v;
	assert_non_null(rules);
	buffer_text(&words, TEXT("550 5.1.1 "));
	for (size_t i = 0; i < 3000; i++)
		buffer_char(&words, 'a');
	classify(rules, &(struct reply_facts){.words = buffer_view(&words), .final = true}, &v);
	assert_string_equal(v.rule, "slow");
	assert_int_equal(v.category, CATEGORY_UNDETERMINED);
	assert_int_equal(bounce_consequence(&v), CONSEQUENCE_NONE);
	buffer_free(&words);
	rules_free(&rules);
}

/* A pattern that is cheap from any one place, and tried from each: the bound is for all of them together. */
static void match_limit_of_a_search(void **state)
{
	(void)state;
	static const char slow[] = "rule slow\ncategory bad-mailbox\nwords (?:fail|reject|block|violat).*\\bspf\\b\n"
				   "rule later\ncategory spam-content\nwords block\n";
	char *error = NULL;
	struct rules *rules = rules_parse("f", text_of(slow), &error);
	struct buffer words = {0};
	struct verdict v;
	assert_non_null(rules);
	buffer_text(&words, TEXT("550 5.7.1 "));
	for (size_t i = 0; i < 20; i++)
		buffer_text(&words, TEXT("block "));
	classify(rules, &(struct reply_facts){.words = buffer_view(&words), .final = true}, &v);
	assert_string_equal(v.rule, "later");
	for (size_t i = 0; i < 600; i++)
		buffer_text(&words, TEXT("block "));
	buffer_text(&words, TEXT("spfx"));
	classify(rules, &(struct reply_facts){.words = buffer_view(&words), .final = true}, &v);
	assert_string_equal(v.rule, "slow");
	assert_int_equal(v.category, CATEGORY_UNDETERMINED);
	buffer_free(&words);
	rules_free(&rules);
}

static void count_visit(void *context, const char *rule, const char *place, const char *why)
{
	(void)rule;
	(void)place;
	(void)why;
	++*(size_t *)context;
}

/* Asked for its reasons, classify looks for the words of rules whose codes do not fit: what that costs decides nothing. */
static void reasons_change_nothing(void **state)
{
	(void)state;
	char *error = NULL;
	struct rules *rules = rules_parse("f",
					  TEXT("rule slow\ncategory bad-mailbox\ncode 450\nwords (?:a+)+[bc]\n"
					       "rule later\ncategory spam-content\nwords aaaa\n"),
					  &error);
	struct buffer words = {0};
	struct verdict v;
	size_t visits = 0;
	assert_non_null(rules);
	buffer_text(&words, TEXT("550 5.7.1 "));
	for (size_t i = 0; i < 3000; i++)
		buffer_char(&words, 'a');
	classify_explain(rules, &(struct reply_facts){.words = buffer_view(&words), .final = true}, &v, count_visit,
			 &visits);
	assert_string_equal(v.rule, "later");
	assert_int_equal(v.category, CATEGORY_SPAM_CONTENT);
	assert_int_equal(visits, 2);
	buffer_free(&words);
	rules_free(&rules);
}

/* Patterns stand within others (common/pattern.c): they are whole by themselves, and mean what they did. */
static void patterns_by_themselves(void **state)
{
	(void)state;
	static const struct {
		const char *pattern, *text;
		bool good, found;
	} rows[] = {
		{"b+", "abbc", true, true},        {"^b", "ab", true, false},      {"^a", "ab", true, true},
		{"b$", "ab", true, true},          {"x|b", "ab", true, true},      {"(a)\\1", "baa", true, true},
		{"(?i)B", "ab", true, true},       {"\\Qa.b", "xa.b", true, true}, {"\\Qa.b", "xacb", true, false},
		{"a\\nb", "xa\nb", true, true},    {"x)(?:y", "xy", false, false}, {"a\\", "a", false, false},
		{"(?x) a # b", "a", false, false}, {"", "", true, true},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct pattern *p = NULL;
		size_t at;
		const char *why = pattern_new(text_of(rows[i].pattern), &p, &at);
		if ((why == NULL) != rows[i].good)
			fail_msg("%s: %s", rows[i].pattern, why ? why : "taken");
		if (p && (pattern_find(p, text_of(rows[i].text)) == PATTERN_YES) != rows[i].found)
			fail_msg("%s in %s", rows[i].pattern, rows[i].text);
		pattern_free(&p);
	}
}

static void finds_literals(void **state)
{
	(void)state;
	static const char *const words[] = {"he", "she", "his", "hers", "sheher"};
	bool found[5];
	struct literals *l = literals_new();
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(literals_add(l, text_of(words[i])), i);
	assert_int_equal(literals_add(l, TEXT("his")), 2);
	literals_finish(l);
	literals_find(l, TEXT("ushers"), found);
	assert_true(found[0] && found[1] && !found[2] && found[3] && !found[4]);
	literals_find(l, TEXT("shehe"), found);
	assert_true(found[0] && found[1] && !found[2] && !found[3] && !found[4]);
	literals_find(l, TEXT(""), found);
	assert_false(found[0] || found[1] || found[2] || found[3] || found[4]);
	literals_free(&l);
}

/* A literal that the table has no room for is taken as found: its pattern is tried, and nothing is overlooked. */
static void what_has_no_room_is_found(void **state)
{
	(void)state;
	enum { COUNT = 70, LENGTH = 1000 };
	char words[COUNT][LENGTH];
	bool found[COUNT];
	struct literals *l = literals_new();
	for (size_t i = 0; i < COUNT; i++) {
		memset(words[i], 'a', LENGTH);
		words[i][0] = (char)('0' + i);
		literals_add(l, text_at(words[i], LENGTH));
	}
	literals_finish(l);
	literals_find(l, text_at(words[64], LENGTH), found);
	for (size_t i = 0; i < COUNT; i++)
		assert_int_equal(found[i], i >= 64);
	literals_free(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_mistakes),
		cmocka_unit_test(other_languages),
		cmocka_unit_test(broken_texts),
		cmocka_unit_test(normal_form),
		cmocka_unit_test(own_words),
		cmocka_unit_test(builtin_rules),
		cmocka_unit_test(broken_files),
		cmocka_unit_test(lint_finds),
		cmocka_unit_test(match_limit),
		cmocka_unit_test(match_limit_of_a_search),
		cmocka_unit_test(reasons_change_nothing),
		cmocka_unit_test(patterns_by_themselves),
		cmocka_unit_test(finds_literals),
		cmocka_unit_test(what_has_no_room_is_found),
		cmocka_unit_test(stages),
		cmocka_unit_test(unplaced),
	};
	return cmocka_run_group_tests(tests, load, unload);
}
