/* A directory snapshot for the benchmark of policyd: PATH LOGINS [LIMIT [guard]]. Ten logins a customer, one domain each
 * customer, named as the load client names them: user17@c1.test. With LIMIT each login has that many messages, as "1M/s"; with
 * "guard" the takeover guard looks at each, as it does by default. */

#include <stdio.h>
#include <stdlib.h>

#include "common/directory_writer.h"

#define LOGINS_EACH 10

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	exit(1);
}

static void put(struct directory_writer *writer, enum directory_kind kind, const char *name, struct buffer *record)
{
	const char *why = directory_writer_put(writer, kind, text_of(name), buffer_view(record));
	if (why)
		fail(name, why);
	record->len = 0;
}

static void put_customer(struct directory_writer *writer, long number, bool guarded, struct buffer *record)
{
	char name[32], domain[32];
	snprintf(name, sizeof name, "c%ld", number);
	snprintf(domain, sizeof domain, "c%ld.test", number);
	struct directory_customer customer = {.name = text_of(name),
					      .takeover = guarded ? TAKEOVER_ALERT : TAKEOVER_OFF};
	directory_customer_encode(&customer, record);
	put(writer, DIRECTORY_CUSTOMERS, name, record);
	directory_domain_encode(&(struct directory_domain){.name = text_of(domain), .customer = text_of(name)}, record);
	put(writer, DIRECTORY_DOMAINS, domain, record);
}

static void put_login(struct directory_writer *writer, long number, struct text rights, struct text limits,
		      struct buffer *record)
{
	char name[64], customer[32];
	snprintf(name, sizeof name, "user%ld@c%ld.test", number, number / LOGINS_EACH);
	snprintf(customer, sizeof customer, "c%ld", number / LOGINS_EACH);
	struct directory_login login = {.name = text_of(name),
					.customer = text_of(customer),
					.enabled = true,
					.rights = {rights},
					.limits = {limits}};
	directory_login_encode(&login, record);
	put(writer, DIRECTORY_LOGINS, name, record);
}

static void fill(struct directory_writer *writer, long logins, const char *spec, bool guarded)
{
	struct buffer record = {0}, rights = {0}, limits = {0};
	struct limit limit = {.id = TEXT("bench")};
	size_t at;
	directory_right_add(&rights, (struct right){true, TEXT("*@owned")});
	if (spec) {
		const char *why = limit_spec_parse(text_of(spec), &limit.spec, &at);
		if (why)
			fail(spec, why);
		directory_limit_add(&limits, &limit);
	}
	for (long i = 0; i < logins; i++) {
		if (i % LOGINS_EACH == 0)
			put_customer(writer, i / LOGINS_EACH, guarded, &record);
		put_login(writer, i, buffer_view(&rights), buffer_view(&limits), &record);
	}
	buffer_free(&record);
	buffer_free(&rights);
	buffer_free(&limits);
}

int main(int argc, char **argv)
{
	static const struct directory_writer_options options = {.mode = 0644, .group = (gid_t)-1};
	struct directory_writer *writer;
	if (argc < 3)
		fail("usage", "policy_directory PATH LOGINS [LIMIT [guard]]");
	const char *why = directory_writer_open(argv[1], &options, &writer);
	if (!why)
		why = directory_writer_build(writer);
	if (why)
		fail(argv[1], why);
	fill(writer, strtol(argv[2], NULL, 10), argc > 3 ? argv[3] : NULL, argc > 4);
	why = directory_writer_commit(writer, &(struct directory_state){.source = TEXT("bench")});
	if (why)
		fail(argv[1], why);
	directory_writer_close(&writer);
	return 0;
}
