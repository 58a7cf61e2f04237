/* waybill-report: reads one mail that came back, from Postfix's pipe(8), and makes events of it. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/daemon.h"
#include "common/rules.h"
#include "common/seal.h"

#include "bouncer/report_handle.h"
#include "bouncer/report_mime.h"

#define MAX_MAIL      (1 << 20) /* bytes that are read; what lies behind is returned mail, and dropped */
#define MAX_ADDRESSES 8

struct settings {
	struct daemon_settings common;
	char *postgres, *return_path_host, *return_path_key, *rules;
};

static const struct conf_row rows[] = {
	DAEMON_ROWS(struct settings),
	{"report", "postgres", CONF_STRING, offsetof(struct settings, postgres), "dbname=waybill user=waybill_report",
	 0, 0, NULL, false, "The connection string of the database (libpq's form; several hosts are tried in order)."},
	{"milter", "return_path_host", CONF_STRING, offsetof(struct settings, return_path_host), "", 0, 0, NULL, false,
	 NULL},
	{"milter", "return_path_key", CONF_PATH, offsetof(struct settings, return_path_key), "", 0, 0, NULL, false,
	 NULL},
	{"bouncer", "rules", CONF_PATH, offsetof(struct settings, rules), "", 0, 0, NULL, false, NULL},
};

static struct settings settings;
static const char *addresses[MAX_ADDRESSES];
static size_t address_count;

/* A fault in the files must not hold up the mail. */
static struct rules *take_rules(void)
{
	char *error = NULL;
	struct rules *rules = settings.rules ? rules_load(settings.rules, &error) : NULL;
	if (error)
		log_error("%s; the built-in rules judge; next: waybill rules check %s", error, settings.rules);
	free(error);
	return rules ? rules : rules_builtin();
}

/* Reads standard input to its end, so that Postfix need not break off; what is beyond MAX_MAIL is dropped. 0 or -1. */
static int read_mail(struct buffer *mail)
{
	char chunk[65536];
	for (;;) {
		ssize_t got = read(STDIN_FILENO, chunk, sizeof chunk);
		if (got == 0)
			return 0;
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			log_error("the mail cannot be read from standard input: %s", strerror(errno));
			return -1;
		}
		size_t room = MAX_MAIL - mail->len;
		buffer_add(mail, chunk, (size_t)got < room ? (size_t)got : room);
	}
}

static int handle(const struct seal *seal, const struct report_mail *mail)
{
	struct report_settings report = {.keys.host = text_of(settings.return_path_host), .rules = take_rules};
	report.keys.count = seal_keys(seal, report.keys.key);
	report.pg = pg_new(settings.postgres, "waybill-report");
	int status = report_handle(&report, mail, addresses, address_count);
	pg_free(&report.pg);
	return status == 0 ? EX_OK : EX_TEMPFAIL;
}

/* The keys are read when the library that meets the stranger's bytes has done its work, in a process without them. */
static int handle_with_keys(const struct report_mail *mail)
{
	char *error = NULL;
	struct seal *seal = seal_open(settings.return_path_key, &error);
	if (!seal) {
		log_error("[milter] return_path_key: %s", error);
		free(error);
		return EX_CONFIG;
	}
	int status = handle(seal, mail);
	seal_close(&seal);
	return status;
}

static int run(void)
{
	struct buffer raw = {0};
	struct report_mail mail = {0};
	if (!settings.return_path_host || !settings.return_path_key) {
		log_error("[milter] return_path_host and return_path_key are needed: without them no mail has a return "
			  "path");
		return EX_CONFIG;
	}
	int status = read_mail(&raw) == 0 ? EX_OK : EX_TEMPFAIL;
	if (status == EX_OK && report_mime_read_apart(buffer_view(&raw), &mail) < 0) {
		log_error("no process can be begun to read the mail in: %s", strerror(errno));
		status = EX_TEMPFAIL;
	}
	if (status == EX_OK)
		status = handle_with_keys(&mail);
	report_mail_free(&mail);
	buffer_free(&raw);
	return status;
}

static bool is_address(const char *word)
{
	return word[0] != '-' && strchr(word, '@') != NULL;
}

static int take_address(int argc, char **argv)
{
	if (argc < 1 || !is_address(argv[0]))
		return 0;
	if (address_count < MAX_ADDRESSES)
		addresses[address_count++] = argv[0];
	return 1;
}

/* Postfix returns a mail to its sender for any status but 75: no fault of ours may do that. */
static int for_postfix(int status)
{
	return status == EX_OK ? EX_OK : EX_TEMPFAIL;
}

int main(int argc, char **argv)
{
	int status =
		daemon_main(argc, argv,
			    &(struct daemon_program){
				    .name = "report",
				    .summary = "makes events of bounces, complaints and other mail that comes back",
				    .usage = "  ADDRESS…    the envelope recipients of the mail on standard input "
					     "(pipe(8): ${recipient})\n",
				    .rows = rows,
				    .row_count = sizeof rows / sizeof *rows,
				    .conf = &settings,
				    .conf_size = sizeof settings,
				    .option = take_address,
				    .run = run,
				    .once = true,
			    });
	return argc > 1 && is_address(argv[argc - 1]) ? for_postfix(status) : status;
}
