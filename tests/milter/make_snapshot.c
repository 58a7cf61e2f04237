/* make-snapshot PATH SEAL-KEY-FILE <description: a directory snapshot without Postgres, for tests and benchmarks of the
 * mail path. The key file is made when it is missing. A line is a word and its operands:
 *
 *	customer NAME [off|log|enforce]        relay
 *	login NAME CUSTOMER                    domain NAME CUSTOMER [strict|list-friendly]
 * begin a record; what follows belongs to it:
 *	suspended REASON      allow PATTERN    key SELECTOR ALGORITHM STATE BASE64-DER [BASE64-PUBLIC [spoilt]]
 *	return-path           unsubscribe URL  signatures 0|1|2
 *	disabled, stolen      deny PATTERN         (any seventh word: its seal is damaged)
 *	expires SECONDS       limit ID SCOPE UNIT SPEC ACTION [DESTINATION] (blanks of SPEC written as "_") */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/directory_writer.h"
#include "common/encode.h"
#include "common/seal.h"

#define MAX_WORDS 8

static const char *const profiles[] = {"strict", "list-friendly", NULL};
static const char *const modes[] = {"off", "log", "enforce", NULL};
static const char *const algorithms[] = {"rsa-sha256", "ed25519-sha256", NULL};
static const char *const states[] = {"pending", "active", "retiring", NULL};

struct build {
	struct directory_writer *writer;
	struct seal *seal;
	enum directory_kind kind; /* of the record under way; DIRECTORY_KIND_MAX: none */
	char *name;
	struct directory_customer customer;
	struct directory_login login;
	struct directory_domain domain;
	char *owner, *reason, *unsubscribe;
	struct buffer rights, limits, keys;
};

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "make-snapshot: %s: %s\n", what, why);
	exit(1);
}

static size_t index_of(const char *const *names, const char *name)
{
	for (size_t i = 0; names[i]; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	fail(name, "an unknown word");
	return 0;
}

static void encode(struct build *b, struct buffer *record)
{
	struct directory_list limits = {buffer_view(&b->limits)};
	struct directory_relay relay = {limits};
	b->customer.limits = b->login.limits = b->domain.limits = limits;
	b->login.rights.bytes = buffer_view(&b->rights);
	b->domain.keys.bytes = buffer_view(&b->keys);
	if (b->kind == DIRECTORY_CUSTOMERS)
		directory_customer_encode(&b->customer, record);
	else if (b->kind == DIRECTORY_LOGINS)
		directory_login_encode(&b->login, record);
	else if (b->kind == DIRECTORY_DOMAINS)
		directory_domain_encode(&b->domain, record);
	else
		directory_relay_encode(&relay, record);
}

static void flush(struct build *b)
{
	struct buffer record = {0};
	if (b->kind == DIRECTORY_KIND_MAX)
		return;
	encode(b, &record);
	const char *why = directory_writer_put(b->writer, b->kind, text_of(b->name), buffer_view(&record));
	if (why)
		fail(b->name, why);
	buffer_free(&record);
	b->rights.len = b->limits.len = b->keys.len = 0;
	free(b->name);
	free(b->owner);
	free(b->reason);
	free(b->unsubscribe);
	b->name = b->owner = b->reason = b->unsubscribe = NULL;
	b->kind = DIRECTORY_KIND_MAX;
}

static void begin(struct build *b, enum directory_kind kind, char **words, int count)
{
	flush(b);
	b->kind = kind;
	b->name = text_copy(text_of(count > 1 ? words[1] : ""));
	b->owner = text_copy(text_of(count > 2 ? words[2] : ""));
	b->customer = (struct directory_customer){.name = text_of(b->name), .header_from = DIRECTORY_FROM_ENFORCE};
	b->login = (struct directory_login){.name = text_of(b->name), .customer = text_of(b->owner), .enabled = true};
	b->domain = (struct directory_domain){.name = text_of(b->name), .customer = text_of(b->owner)};
}

static void customer(struct build *b, char **words, int count)
{
	begin(b, DIRECTORY_CUSTOMERS, words, count);
	if (count > 2)
		b->customer.header_from = (enum directory_header_from)index_of(modes, words[2]);
}

static void login(struct build *b, char **words, int count)
{
	begin(b, DIRECTORY_LOGINS, words, count);
}

static void domain(struct build *b, char **words, int count)
{
	begin(b, DIRECTORY_DOMAINS, words, count);
	if (count > 3)
		b->domain.profile = (enum directory_header_profile)index_of(profiles, words[3]);
}

static void relay(struct build *b, char **words, int count)
{
	(void)words;
	begin(b, DIRECTORY_RELAY, NULL, count ? 0 : 0);
}

static void suspended(struct build *b, char **words, int count)
{
	b->customer.status = DIRECTORY_SUSPENDED;
	b->reason = text_copy(text_of(count > 1 ? words[1] : ""));
	b->customer.status_reason = text_of(b->reason);
}

static void return_path(struct build *b, char **words, int count)
{
	(void)words;
	(void)count;
	b->customer.return_path = true;
}

static void unsubscribe(struct build *b, char **words, int count)
{
	b->unsubscribe = text_copy(text_of(count > 1 ? words[1] : ""));
	b->customer.list_unsubscribe = text_of(b->unsubscribe);
}

static void signatures(struct build *b, char **words, int count)
{
	static const char *const counts[] = {"2", "1", "0", NULL}; /* enum directory_signatures */
	if (count > 1)
		b->domain.signatures = (enum directory_signatures)index_of(counts, words[1]);
}

static void stolen(struct build *b, char **words, int count)
{
	(void)words;
	(void)count;
	b->login.suspended_at = 1;
}

static void disabled(struct build *b, char **words, int count)
{
	(void)words;
	(void)count;
	b->login.enabled = false;
}

static void expires(struct build *b, char **words, int count)
{
	b->login.expires_at = count > 1 ? strtoll(words[1], NULL, 10) : 0;
}

static void add_right(struct build *b, char **words, bool allow)
{
	directory_right_add(&b->rights, (struct right){allow, text_of(words[1])});
}

static void allow(struct build *b, char **words, int count)
{
	if (count > 1)
		add_right(b, words, true);
}

static void deny(struct build *b, char **words, int count)
{
	if (count > 1)
		add_right(b, words, false);
}

static void limit(struct build *b, char **words, int count)
{
	struct limit new = {0};
	size_t at;
	if (count < 6)
		fail("limit", "five operands are needed");
	for (char *c = words[4]; *c; c++)
		if (*c == '_')
			*c = ' ';
	const char *why = limit_spec_parse(text_of(words[4]), &new.spec, &at);
	if (why)
		fail(words[4], why);
	new.id = text_of(words[1]);
	new.scope = (enum limit_scope)index_of(limit_scope_names, words[2]);
	new.unit = (enum limit_unit)index_of(limit_unit_names, words[3]);
	new.action = (enum limit_action)index_of(limit_action_names, words[5]);
	new.destination = text_of(count > 6 ? words[6] : NULL);
	directory_limit_add(&b->limits, &new);
}

static void key(struct build *b, char **words, int count)
{
	struct buffer der = {0}, public = {0}, sealed = {0}, name = {0};
	if (count < 5)
		fail("key", "four operands are needed");
	if (encode_base64_decode(text_of(words[4]), &der) ||
	    (count > 5 && encode_base64_decode(text_of(words[5]), &public)))
		fail("key", "no base64");
	buffer_format(&name, "%s %s", b->name, words[1]);
	if (seal_secret(b->seal, buffer_view(&der), buffer_view(&name), &sealed) != 0)
		fail("key", "cannot be sealed");
	struct directory_key new = {.selector = text_of(words[1]),
				    .algorithm = (enum directory_key_algorithm)index_of(algorithms, words[2]),
				    .state = (enum directory_key_state)index_of(states, words[3]),
				    .sealed = buffer_view(&sealed),
				    .public_key = buffer_view(&public)};
	if (count > 6)
		sealed.ptr[sealed.len - 1] ^= 1;
	directory_key_add(&b->keys, &new);
	buffer_free(&der);
	buffer_free(&public);
	buffer_free(&sealed);
	buffer_free(&name);
}

static const struct {
	const char *word;
	void (*take)(struct build *b, char **words, int count);
} lines[] = {
	{"customer", customer},
	{"login", login},
	{"domain", domain},
	{"relay", relay},
	{"suspended", suspended},
	{"disabled", disabled},
	{"stolen", stolen},
	{"expires", expires},
	{"allow", allow},
	{"return-path", return_path},
	{"unsubscribe", unsubscribe},
	{"signatures", signatures},
	{"deny", deny},
	{"limit", limit},
	{"key", key},
};

static void take_line(struct build *b, char *line)
{
	char *words[MAX_WORDS], *rest = line;
	int count = 0;
	for (char *word; count < MAX_WORDS && (word = strsep(&rest, " \n"));)
		if (*word)
			words[count++] = word;
	if (!count || words[0][0] == '#')
		return;
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		if (strcmp(words[0], lines[i].word) == 0) {
			lines[i].take(b, words, count);
			return;
		}
	}
	fail(words[0], "an unknown word");
}

static void read_all(struct build *b)
{
	char *line = NULL;
	size_t size = 0;
	while (getline(&line, &size, stdin) > 0)
		take_line(b, line);
	free(line);
	flush(b);
}

int main(int argc, char **argv)
{
	static const struct directory_writer_options options = {.mode = 0644, .group = (gid_t)-1};
	struct build b = {.kind = DIRECTORY_KIND_MAX};
	char *error = NULL;
	if (argc != 3)
		fail("usage", "make-snapshot PATH SEAL-KEY-FILE <description");
	if (access(argv[2], F_OK) != 0 && seal_create(argv[2]) != 0)
		fail(argv[2], "cannot be made");
	b.seal = seal_open(argv[2], &error);
	if (!b.seal)
		fail(argv[2], error);
	const char *why = directory_writer_open(argv[1], &options, &b.writer);
	if (!why)
		why = directory_writer_build(b.writer);
	if (why)
		fail(argv[1], why);
	read_all(&b);
	struct directory_state state = {
		.source = TEXT("test"), .seq = 1, .built_at = time(NULL), .changed_at = time(NULL)};
	why = directory_writer_commit(b.writer, &state);
	if (why)
		fail(argv[1], why);
	directory_writer_close(&b.writer);
	seal_close(&b.seal);
	buffer_free(&b.rights);
	buffer_free(&b.limits);
	buffer_free(&b.keys);
	return 0;
}
