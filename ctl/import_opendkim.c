/* "waybill domain import-opendkim": the keys that an OpenDKIM signs with today go on signing, under their selectors, so that
 * no DNS record changes. A row that cannot be taken is reported, and the others are. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/seal.h"
#include "ctl/check.h"
#include "ctl/cmd.h"
#include "ctl/cmd_internal.h"
#include "ctl/database.h"
#include "ctl/dkim_key.h"
#include "ctl/dkim_record.h"
#include "ctl/domain_key.h"
#include "ctl/opendkim_table.h"

#define KEY_FILE_MAX (64 * 1024)
/* Sizes of a DER SubjectPublicKeyInfo of an RSA key: 162 bytes for 1024 bits, 294 for 2048. */
#define SPKI_1024 160
#define SPKI_2048 290

struct import {
	struct ctl *ctl;
	struct seal *seal;
	struct output *output;
	struct buffer keys; /* the key table */
	size_t refused;
};

static int read_file(const char *path, size_t most, struct buffer *out)
{
	char bytes[4096];
	size_t len;
	FILE *file = fopen(path, "re");
	if (!file)
		return -1;
	while (out->len <= most && (len = fread(bytes, 1, sizeof(bytes), file)) > 0)
		buffer_add(out, bytes, len);
	int failed = ferror(file);
	fclose(file);
	explicit_bzero(bytes, sizeof(bytes));
	return failed || out->len > most ? -1 : 0;
}

static bool find_key(const struct import *import, struct text name, struct opendkim_key *out)
{
	struct text rest = buffer_view(&import->keys), line;
	while (rest.ptr && text_take(&rest, '\n', &line)) {
		line = opendkim_line(line);
		if (line.len && !opendkim_key_parse(line, out) && text_equal(out->name, name))
			return true;
	}
	*out = (struct opendkim_key){0};
	return false;
}

static void say(struct import *import, const char *domain, struct text selector, const char *result, const char *detail)
{
	import->refused += !strcmp(result, "refused");
	output_row(import->output,
		   json_pack("{s:s, s:s%, s:s, s:s}", "domain", domain, "selector", selector.ptr ? selector.ptr : "",
			     selector.len, "result", result, "detail", detail));
}

/* A key as it stands in a file, ready to be inserted. */
struct found {
	enum directory_key_algorithm algorithm;
	struct buffer secret, public_key;
};

static const char *read_key(struct text path, struct found *found)
{
	struct buffer pem = {0};
	char *name = text_copy(path);
	const char *why = path.len && path.ptr[0] == '/' ? NULL : "its key is no absolute path of a file";
	if (!why && read_file(name, KEY_FILE_MAX, &pem))
		why = "its key file cannot be read";
	if (!why)
		why = dkim_key_import(buffer_view(&pem), &found->algorithm, &found->secret, &found->public_key);
	if (!why && found->algorithm == DIRECTORY_RSA_SHA256 && found->public_key.len < SPKI_1024)
		why = "the key is shorter than 1024 bits, which no receiver accepts (RFC 8301)";
	free(name);
	seal_wipe(&pem);
	return why;
}

/* 0 when the domain is the customer's, now or already; 1 when it is somebody else's; else an exit status. */
static int take_domain(struct import *import, const char *domain)
{
	const char *customer = option(import->ctl, "customer");
	int status = database_query(
		import->ctl, "INSERT INTO waybill.domains (domain, customer) VALUES ($1, $2) ON CONFLICT DO NOTHING",
		PARAMS(domain, customer), NULL);
	return status ? status
		      : database_exists(import->ctl, "SELECT FROM waybill.domains WHERE domain = $1 AND customer = $2",
					PARAMS(domain, customer));
}

static int has_key(struct import *import, const char *domain, const struct found *found, const char *selector)
{
	return database_exists(import->ctl,
			       "SELECT FROM waybill.dkim_keys WHERE domain = $1 AND (selector = $2 OR algorithm = $3 "
			       "AND state = 'active')",
			       PARAMS(domain, selector, dkim_algorithm_names[found->algorithm]));
}

static int insert(struct import *import, const char *domain, const struct opendkim_key *row, struct found *found)
{
	char *selector = text_copy(row->selector);
	int status = take_domain(import, domain), exists = 0;
	if (status == 1) {
		say(import, domain, row->selector, "refused", "the domain belongs to another customer");
		status = 0;
	} else if (!status && (exists = has_key(import, domain, found, selector)) == 0) {
		say(import, domain, row->selector, "exists", "the domain has such a key already: nothing was changed");
	} else if (!status && exists == 1) {
		status = domain_key_insert(import->ctl, import->seal, domain, selector, found->algorithm, "active",
					   buffer_view(&found->secret), buffer_view(&found->public_key));
		bool weak = found->algorithm == DIRECTORY_RSA_SHA256 && found->public_key.len < SPKI_2048;
		if (!status)
			say(import, domain, row->selector, "imported",
			    weak ? "shorter than 2048 bits: waybill domain rotate" : "");
	}
	free(selector);
	return exists > 1 ? exists : status;
}

static int take_row(struct import *import, struct text line)
{
	struct opendkim_signing signing;
	struct opendkim_key row = {0};
	struct found found = {0};
	char domain[ADDR_MAX_DOMAIN + 1] = "";
	const char *why = opendkim_signing_parse(line, &signing);
	if (!why && !find_key(import, signing.name, &row))
		why = "its key is not in the key table";
	if (!why)
		why = domain_canonical(text_equal(row.domain, TEXT("%")) ? signing.domain : row.domain, domain);
	if (!why)
		why = read_key(row.key, &found);
	int status = 0;
	if (why)
		say(import, *domain ? domain : "-", row.selector, "refused", why);
	else
		status = insert(import, domain, &row, &found);
	seal_wipe(&found.secret);
	buffer_free(&found.public_key);
	return status;
}

static int take_table(struct import *import, struct text rest)
{
	struct text line;
	int status = 0;
	while (!status && rest.ptr && text_take(&rest, '\n', &line)) {
		line = opendkim_line(line);
		if (line.len)
			status = take_row(import, line);
	}
	return status;
}

static int read_tables(struct import *import, struct buffer *signing)
{
	const char *paths[] = {operand(import->ctl, 0), operand(import->ctl, 1)};
	struct buffer *into[] = {&import->keys, signing};
	for (int i = 0; i < 2; i++)
		if (read_file(paths[i], SIZE_MAX / 2, into[i]))
			return complain(EX_NOINPUT, NULL, "%s: %s", paths[i], strerror(errno));
	return 0;
}

int cmd_domain_import_opendkim(struct ctl *ctl)
{
	struct import import = {.ctl = ctl};
	struct buffer signing = {0};
	int status = 0;
	if (!option(ctl, "customer"))
		return complain(EX_USAGE, "repeat it with --customer CUSTOMER", "whose are the domains?");
	status = customer_require(ctl, option(ctl, "customer"));
	if (!status)
		status = read_tables(&import, &signing);
	if (!status)
		import.seal = domain_seal_open(ctl, &status);
	if (!status) {
		import.output = output_new(OUTPUT_LIST, ctl->json);
		status = take_table(&import, buffer_view(&signing));
		output_end(&import.output, "the signing table has no rows");
	}
	seal_close(&import.seal);
	buffer_free(&import.keys);
	buffer_free(&signing);
	return !status && import.refused ? EX_DATAERR : status;
}
