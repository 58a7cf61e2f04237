#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include <opendkim/dkim.h>

#include "ctl/dkim_test.h"

/* The library's own resolver knows no port and no timeouts of ours, so it reads the record from a file. */
static bool write_record(int file, const char *domain, const char *selector, struct text record)
{
	FILE *out = fdopen(file, "w");
	if (!out)
		return false;
	fprintf(out, "%s._domainkey.%s %.*s\n", selector, domain, TEXT_ARG(record));
	return fclose(out) == 0;
}

static bool test(DKIM_LIB *lib, char *path, const char *domain, const char *selector, struct text pem, char *error,
		 size_t size)
{
	dkim_query_t method = DKIM_QUERY_FILE;
	int dnssec;
	char *domain_copy = text_copy(text_of(domain)), *selector_copy = text_copy(text_of(selector)),
	     *key = text_copy(pem);
	dkim_options(lib, DKIM_OP_SETOPT, DKIM_OPTS_QUERYMETHOD, &method, sizeof(method));
	dkim_options(lib, DKIM_OP_SETOPT, DKIM_OPTS_QUERYINFO, path, strlen(path));
	int status = dkim_test_key(lib, selector_copy, domain_copy, key, pem.len, &dnssec, error, size);
	explicit_bzero(key, pem.len);
	free(key);
	free(domain_copy);
	free(selector_copy);
	return status == 0;
}

const char *dkim_test(const char *domain, const char *selector, struct text pem, struct text record, struct buffer *why)
{
	char path[] = "/tmp/waybill-record-XXXXXX", error[256] = "the key does not match";
	int file = mkstemp(path);
	DKIM_LIB *lib = dkim_init(NULL, NULL);
	bool good = file >= 0 && lib && write_record(file, domain, selector, record) &&
		    test(lib, path, domain, selector, pem, error, sizeof(error));
	if (lib)
		dkim_close(lib);
	if (file >= 0)
		unlink(path);
	if (good)
		return NULL;
	buffer_format(why, "libopendkim: %s", error);
	return buffer_string(why);
}
