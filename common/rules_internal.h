#ifndef COMMON_RULES_INTERNAL_H
#define COMMON_RULES_INTERNAL_H

#include "common/literals.h"
#include "common/pattern.h"
#include "common/rules.h"

enum rule_role { ROLE_WORDS, ROLE_ALSO, ROLE_UNLESS, RULE_ROLE_MAX };

struct rule_pattern {
	enum rule_role role;
	struct text source;
	size_t line, column;
	struct buffer literal;    /* the longest run of plain bytes that every match has; empty: none of 3 or more */
	size_t literal_number;    /* when there is one */
	bool plain;               /* the literal is all of it */
	struct pattern *compiled; /* NULL when plain */
};

struct rule_example {
	bool match;
	struct text reply;
	size_t line, column;
};

/* Lists are the text behind the keyword, pieces between commas. */
struct rule {
	char *id;
	const char *file;
	size_t line;
	enum bounce_class class;
	enum bounce_category category, unplaced; /* CATEGORY_NONE: category holds there too */
	enum bounce_scope scope;
	struct text provider, code, enhanced, unless_enhanced, stage;
	struct rule_pattern *patterns;
	size_t pattern_count, role_count[RULE_ROLE_MAX];
	struct rule_example *examples;
	size_t example_count;
};

/* One file: its rules, which view into its text. */
struct rules_file {
	char *name;
	struct text text; /* owned */
};

struct rules {
	struct rules_file *files;
	size_t file_count;
	struct rule *rules;
	size_t count;
	struct literals *literals;
	char version[9];
};

struct rules_builtin_file {
	const char *name;
	struct text text;
};
extern const struct rules_builtin_file rules_builtin_files[];
extern const size_t rules_builtin_count;

/* Appends the rules of FILE to RULES, patterns not yet compiled. NULL or why not, with the place. */
const char *rules_file_parse(struct rules *rules, const struct rules_file *file, size_t *line, size_t *column);
/* The longest literal of a pattern into PATTERN->literal, and whether it is all of it. NULL or why not. */
const char *rules_literal(struct rule_pattern *pattern, size_t *at);
/* What an example says: "[RCPT TO] [from mx.example.net] 550 5.1.1 …". */
struct reply_facts;
void rules_example_facts(struct text example, struct reply_facts *facts);

#endif
