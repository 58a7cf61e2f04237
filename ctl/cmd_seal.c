/* The keys that seal secrets at rest (common/seal.h). Rotation has steps, because every node needs the new key before
 * anything is sealed under it: --new-key puts a key in front of the file; the sysadmin copies the file to each node,
 * reloads waybill-milter and restarts waybill-webhookd; then everything is sealed anew; then the old lines may go. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/seal.h"
#include "ctl/cmd.h"
#include "ctl/database.h"

/* An existing key is never overwritten: what was sealed under it would be lost. */
static int make(const char *path, const char *what, struct output *output)
{
	const char *state = "made";
	if (seal_create(path)) {
		if (errno != EEXIST)
			return complain(errno == EACCES ? EX_NOPERM : EX_CANTCREAT,
					"run this as root, or set the path in [ctl]",
					"%s: the key for %s cannot be made: %s", path, what, strerror(errno));
		state = "kept";
	}
	output_row(output, json_pack("{s:s, s:s, s:s}", "file", path, "for", what, "state", state));
	return 0;
}

int cmd_seal_init(struct ctl *ctl)
{
	struct output *output = output_new(OUTPUT_LIST, ctl->json);
	int status = make(ctl->settings.seal_key, "DKIM keys", output);
	if (!status)
		status = make(ctl->settings.webhook_key, "webhook secrets", output);
	output_end(&output, NULL);
	if (!status)
		remark("back the files up apart from the database; the milter's account must be able to read %s, "
		       "webhookd's %s",
		       ctl->settings.seal_key, ctl->settings.webhook_key);
	return status;
}

/* Appends the bytes of the file at FROM to the one at TO, which then has the other's owner and mode. */
static int append_file(const char *from, const char *to)
{
	char bytes[4096];
	struct stat attributes;
	ssize_t len = -1;
	int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_APPEND | O_CLOEXEC);
	bool good = in >= 0 && out >= 0 && !fstat(in, &attributes) &&
		    !fchown(out, attributes.st_uid, attributes.st_gid) && !fchmod(out, attributes.st_mode & 07777);
	while (good && (len = read(in, bytes, sizeof(bytes))) > 0)
		good = write(out, bytes, (size_t)len) == len;
	good = good && len == 0 && !fsync(out);
	explicit_bzero(bytes, sizeof(bytes));
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return good ? 0 : -1;
}

/* A new key in front of those that the file has. */
static int put_in_front(const char *path)
{
	struct buffer next = {0};
	buffer_format(&next, "%s.new", path);
	unlink(buffer_string(&next));
	int failed = seal_create(buffer_string(&next)) || append_file(path, buffer_string(&next)) ||
		     rename(buffer_string(&next), path);
	int status = failed ? complain(EX_CANTCREAT, "run this as root", "%s: no key can be added: %s", path,
				       strerror(errno))
			    : 0;
	if (failed)
		unlink(buffer_string(&next));
	buffer_free(&next);
	return status;
}

static int add_keys(struct ctl *ctl)
{
	int status = put_in_front(ctl->settings.seal_key);
	if (!status)
		status = put_in_front(ctl->settings.webhook_key);
	if (!status)
		remark("copy %s and %s to every node, reload waybill-milter and restart waybill-webhookd there; then: "
		       "waybill seal "
		       "rotate",
		       ctl->settings.seal_key, ctl->settings.webhook_key);
	return status;
}

/* What is sealed: the query gives the associated data and the sealed bytes; the update takes the new bytes,
 * the old ones (so that a change in between is not lost) and that key. */
struct sealed_kind {
	const char *what, *query, *update;
	bool webhook;
};

static const struct sealed_kind kinds[] = {
	{"DKIM key", "SELECT domain || ' ' || selector, sealed FROM waybill.dkim_keys ORDER BY 1",
	 "UPDATE waybill.dkim_keys SET sealed = $1::bytea WHERE sealed = $2::bytea AND domain || ' ' || selector = $3",
	 false},
	{"webhook secret", "SELECT customer || ' ' || endpoint, sealed_secret FROM waybill.endpoints ORDER BY 1",
	 "UPDATE waybill.endpoints SET sealed_secret = $1::bytea WHERE sealed_secret = $2::bytea "
	 "AND customer || ' ' || endpoint = $3",
	 true},
	{"former webhook secret",
	 "SELECT customer || ' ' || endpoint, sealed_previous FROM waybill.endpoints WHERE sealed_previous IS NOT NULL "
	 "ORDER BY 1",
	 "UPDATE waybill.endpoints SET sealed_previous = $1::bytea WHERE sealed_previous = $2::bytea "
	 "AND customer || ' ' || endpoint = $3",
	 true},
	{"webhook header",
	 "SELECT customer || ' ' || endpoint || ' header', sealed_header FROM waybill.endpoints "
	 "WHERE sealed_header IS NOT NULL ORDER BY 1",
	 "UPDATE waybill.endpoints SET sealed_header = $1::bytea WHERE sealed_header = $2::bytea "
	 "AND customer || ' ' || endpoint || ' header' = $3",
	 true},
	{"client certificate",
	 "SELECT customer || ' ' || endpoint || ' certificate', sealed_certificate FROM waybill.endpoints "
	 "WHERE sealed_certificate IS NOT NULL ORDER BY 1",
	 "UPDATE waybill.endpoints SET sealed_certificate = $1::bytea WHERE sealed_certificate = $2::bytea "
	 "AND customer || ' ' || endpoint || ' certificate' = $3",
	 true},
};

struct tally {
	long sealed_anew, current, failed;
};

static int reseal(struct ctl *ctl, const struct sealed_kind *kind, const struct seal *seal, struct text name,
		  struct text old_hex, struct tally *tally)
{
	struct buffer sealed = {0}, secret = {0}, again = {0}, param = {0};
	const char *why = pg_bytea(old_hex, &sealed);
	int status = 0;
	if (!why && seal_is_current(seal, buffer_view(&sealed))) {
		tally->current++;
		goto out;
	}
	if (!why)
		why = seal_unseal(seal, buffer_view(&sealed), name, &secret);
	if (why) {
		tally->failed++;
		complain(EX_DATAERR, NULL, "%s %.*s: %s; it stays as it is", kind->what, TEXT_ARG(name), why);
		goto out;
	}
	if (seal_secret(seal, buffer_view(&secret), name, &again))
		abort();
	pg_bytea_param(buffer_view(&again), &param);
	status = database_query(ctl, kind->update, PARAMS(buffer_string(&param), old_hex.ptr, name.ptr), NULL);
	tally->sealed_anew += !status;
out:
	seal_wipe(&secret);
	buffer_free(&sealed);
	buffer_free(&again);
	buffer_free(&param);
	return status;
}

static int reseal_kind(struct ctl *ctl, const struct sealed_kind *kind, struct output *output, bool *failed)
{
	struct pg_result *rows = NULL;
	struct tally tally = {0};
	char *error = NULL;
	struct seal *seal = seal_open(kind->webhook ? ctl->settings.webhook_key : ctl->settings.seal_key, &error);
	if (!seal) {
		int status = complain(EX_CONFIG, "waybill seal init, or run this as root", "%s", error);
		free(error);
		return status;
	}
	int status = database_query(ctl, kind->query, NO_PARAMS, &rows);
	for (size_t i = 0; !status && i < pg_rows(rows); i++)
		status = reseal(ctl, kind, seal, pg_field(rows, i, 0), pg_field(rows, i, 1), &tally);
	if (!status)
		output_row(output, json_pack("{s:s, s:I, s:I, s:I}", "kind", kind->what, "sealed_anew",
					     (json_int_t)tally.sealed_anew, "current", (json_int_t)tally.current,
					     "failed", (json_int_t)tally.failed));
	*failed = *failed || tally.failed;
	pg_result_free(&rows);
	seal_close(&seal);
	return status;
}

int cmd_seal_rotate(struct ctl *ctl)
{
	bool failed = false;
	int status = 0;
	if (option_given(ctl, "new-key"))
		return add_keys(ctl);
	struct output *output = output_new(OUTPUT_LIST, ctl->json);
	for (size_t i = 0; !status && i < sizeof(kinds) / sizeof(*kinds); i++)
		status = reseal_kind(ctl, &kinds[i], output, &failed);
	output_end(&output, NULL);
	if (!status && failed)
		return complain(EX_DATAERR,
				"put the key that they were sealed under back into the file, as a further line",
				"some secrets could not be opened; the others are sealed anew");
	if (!status)
		remark("everything is sealed under the first key: the other lines of the key files may be removed on "
		       "every node");
	return status;
}
