#ifndef COMMON_RULES_H
#define COMMON_RULES_H

/* The rules by which a bounce is judged: ordered text files, the first rule that matches speaks (common/classify.h).
 *
 * A file is UTF-8 text. "#" begins a comment line. A rule is a block of lines "KEYWORD VALUE", its first line "rule ID":
 *
 *	rule google/no-such-user
 *	category bad-mailbox
 *	provider google
 *	words the email account that you tried to reach does not exist
 *	match 550-5.1.1 The email account that you tried to reach does not exist.
 *	miss 550 5.2.1 The email account that you tried to reach is disabled.
 *
 *	category WORD        the verdict; required
 *	unplaced WORD        the category instead where a server's reply has no enhanced code and nobody says at which stage
 *			     it came: a word about the recipient may then be about what was seen of the message
 *	scope WORD           whom it is about, when not what the category says
 *	class WORD           hard or soft, when the codes say something else
 *	provider NAME,…      only replies of these providers (classify_provider())
 *	code N,…             only these reply codes: "550", "4xx"; "none" for Postfix's own words
 *	enhanced CODE,…      only these enhanced codes: "5.1.1", "5.7.*", "*.1.1"; "none" where there is no code or x.0.*
 *	unless-enhanced CODE,…
 *	stage STAGE,…        only at these: "RCPT TO", "end of DATA", …; "none" where nobody says
 *	words PATTERN        a regular expression over the normalised text; several lines: one of them suffices
 *	also PATTERN         must be there too; several lines: one of them suffices
 *	unless PATTERN       must not be there, none of them
 *	match REPLY          an example that this rule must speak for, with the other rules in place
 *	miss REPLY           a near one for which it must not
 *
 * A rule without words judges by codes alone. REPLY may begin with "[STAGE]" and "[from HOST]".
 * Patterns are matched against what classify_normalise() makes: lower case, white space as one blank, addresses as "<@>",
 * IP addresses as "<ip>", web addresses as "<host>". "." and brackets that are meant as such need a backslash. */

#include "common/bounce.h"

struct rules;

/* The rules of a file, or of all *.rules of a folder in the order of their names; PATH NULL: the built-in ones. NULL when
 * they have a fault, and *ERROR (free() it) has a line for it: "FILE:LINE:COLUMN: what is wrong". */
struct rules *rules_load(const char *path, char **error);
/* The built-in rules, which have no fault. */
struct rules *rules_builtin(void);
/* One file's TEXT under NAME. */
struct rules *rules_parse(const char *name, struct text text, char **error);
void rules_free(struct rules **rules);

size_t rules_count(const struct rules *rules);
/* Eight hexadecimal digits that change with the rules. */
const char *rules_version(const struct rules *rules);

/* What a careful reader would ask: rules that can never speak, patterns that cover others, unescaped dots and brackets,
 * examples that are missing or not met. VISIT is called with "FILE:LINE:COLUMN: …" for each; returns how many. */
typedef void rules_visit(void *context, bool fault, const char *remark);
size_t rules_lint(struct rules *rules, rules_visit *visit, void *context);

#endif
