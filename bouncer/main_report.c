/* waybill-report: reads one mail that came back, from Postfix's pipe(8), and makes events of it. */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/daemon.h"
#include "common/rules.h"
#include "common/seal.h"

#include "bouncer/report_handle.h"

#define MAX_MAIL      (1 << 20) /* bytes that are read; what lies behind is returned mail, and dropped */
#define MAX_ADDRESSES 8

/* What one mail may use, whatever it does to the parsers. */
#define MAX_CPU_S  20
#define MAX_MEMORY (512L << 20)
#define MAX_FILES  64

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

/* AddressSanitizer reserves more address space than any limit. */
#ifdef __SANITIZE_ADDRESS__
#define LIMIT_MEMORY false
#else
#define LIMIT_MEMORY true
#endif

static void limit_resources(void)
{
	const struct rlimit cpu = {MAX_CPU_S, MAX_CPU_S}, memory = {MAX_MEMORY, MAX_MEMORY},
			    files = {MAX_FILES, MAX_FILES};
	const struct rlimit nothing = {0, 0};
	setrlimit(RLIMIT_CPU, &cpu);
	setrlimit(RLIMIT_NOFILE, &files);
	if (LIMIT_MEMORY)
		setrlimit(RLIMIT_AS, &memory);
	/* Nothing is written to a file. */
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &nothing);
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

static int handle(struct seal *seal)
{
	struct report_settings report = {.keys.host = text_of(settings.return_path_host), .rules = take_rules};
	struct buffer mail = {0};
	report.keys.count = seal_keys(seal, report.keys.key);
	report.pg = pg_new(settings.postgres, "waybill-report");
	int status = read_mail(&mail);
	if (status == 0)
		status = report_handle(&report, buffer_view(&mail), addresses, address_count);
	buffer_free(&mail);
	pg_free(&report.pg);
	return status == 0 ? EX_OK : EX_TEMPFAIL;
}

static int run(void)
{
	char *error = NULL;
	limit_resources();
	if (!settings.return_path_host || !settings.return_path_key) {
		log_error("[milter] return_path_host and return_path_key are needed: without them no mail has a return "
			  "path");
		return EX_CONFIG;
	}
	struct seal *seal = seal_open(settings.return_path_key, &error);
	if (!seal) {
		log_error("%s", error);
		free(error);
		return EX_CONFIG;
	}
	int status = handle(seal);
	seal_close(&seal);
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
