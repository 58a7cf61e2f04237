/* waybill-bouncer: turns Postfix's log into events. */

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "common/counters_conf.h"
#include "common/daemon.h"
#include "common/log.h"
#include "common/metrics_http.h"
#include "common/rules.h"
#include "common/rules_conf.h"

#include "bouncer/follow.h"
#include "bouncer/follow_stats.h"
#include "bouncer/replay.h"
#include "bouncer/source.h"

struct settings {
	struct daemon_settings common;
	struct counters_settings redis;
	char *postgres, *log, *journal_unit, *rules, *metrics;
};

static const struct conf_row rows[] = {
	DAEMON_ROWS(struct settings),
	{"bouncer", "postgres", CONF_STRING, offsetof(struct settings, postgres), "dbname=waybill user=waybill_bouncer",
	 0, 0, NULL, false, "The connection string of the database (libpq's form; several hosts are tried in order)."},
	{"bouncer", "log", CONF_STRING, offsetof(struct settings, log), "/var/log/postfix.log", 0, 0, NULL, false,
	 "Postfix's logs, comma-separated: its maillog_file, the file that syslog writes, journal for the systemd "
	 "journal, "
	 "or journal:/FOLDER for that of a folder."},
	{"bouncer", "journal_unit", CONF_STRING, offsetof(struct settings, journal_unit), "postfix", 0, 0, NULL, false,
	 "Entries of the journal are Postfix's when root wrote them, or a unit whose name begins with this; empty: all "
	 "are."},
	RULES_ROW(struct settings),
	METRICS_ROW("bouncer", struct settings, metrics),
	COUNTERS_REACH_ROWS(struct settings, CONF_OTHERS),
};

static struct settings settings;
static bool rules_due = true;

/* The rules files may have changed even where the setting has not. */
static void on_reload(void)
{
	rules_due = true;
}

/* A fault in the files costs nothing: bounces are judged by the rules before, at first by the built-in ones. */
static struct rules *take_rules(void)
{
	static bool taken;
	char *error = NULL;
	if (!rules_due)
		return NULL;
	rules_due = false;
	if (!settings.rules)
		return taken ? rules_builtin() : NULL;
	struct rules *rules = rules_load(settings.rules, &error);
	taken = taken || rules;
	if (rules)
		log_info("%s: %zu bounce rules, version %s", settings.rules, rules_count(rules), rules_version(rules));
	else
		log_error("%s; bounces are judged by the rules before; next: waybill rules check %s", error,
			  settings.rules);
	free(error);
	return rules;
}

/* Waits up to TIMEOUT_MS for a signal or for one of FDS. True when the daemon must stop. */
static bool pause_until(const int *fds, size_t count, int timeout_ms)
{
	struct pollfd wait[FOLLOW_SOURCES_MAX + 1];
	bool stop = false;
	for (size_t i = 0; i < count; i++)
		wait[i] = (struct pollfd){fds[i], POLLIN, 0};
	wait[count] = (struct pollfd){daemon_signal_fd(), POLLIN, 0};
	poll(wait, count + 1, timeout_ms);
	for (int number; (number = daemon_take_signal());) {
		if (number == SIGHUP)
			daemon_reload();
		else
			stop = true;
	}
	return stop;
}

/* Cuts NAMES apart, in place. False, and logged: they are not in order. */
static bool take_logs(char *names, const char **logs, size_t *count)
{
	struct text rest = text_of(names), name;
	*count = 0;
	while (text_take(&rest, ',', &name)) {
		name = text_trim(name);
		names[(size_t)(name.ptr - names) + name.len] = '\0';
		const char *why = *count == FOLLOW_SOURCES_MAX ? "too many logs" : source_check(name.ptr);
		if (why) {
			log_error("[bouncer] log: %s: %s", name.ptr, why);
			return false;
		}
		logs[(*count)++] = name.ptr;
	}
	return true;
}

static int follow(struct metrics *metrics)
{
	struct counters_options redis = counters_options_of(&settings.redis);
	const char *logs[FOLLOW_SOURCES_MAX];
	struct follow_settings what = {.node = settings.common.node,
				       .logs = logs,
				       .journal_unit = settings.journal_unit ? settings.journal_unit : "",
				       .postgres = settings.postgres,
				       .spool = settings.common.spool,
				       .redis = &redis,
				       .pause = pause_until,
				       .ready = daemon_ready,
				       .metrics = metrics,
				       .take_rules = take_rules};
	char *names = text_copy(text_of(settings.log));
	int status = take_logs(names, logs, &what.log_count) ? follow_run(&what) : EX_CONFIG;
	free(names);
	return status;
}

static int run(void)
{
	char *why = NULL;
	struct metrics_http *http = NULL;
	struct metrics *metrics = follow_stats_new();
	if (settings.metrics)
		http = metrics_http_start(settings.metrics, metrics, &why);
	if (why)
		log_error("[bouncer] metrics: %s", why);
	int status = why ? EX_UNAVAILABLE : follow(metrics);
	metrics_http_stop(&http);
	metrics_free(&metrics);
	free(why);
	return status;
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--replay") == 0)
		return replay_main(argc - 2, argv + 2);
	return daemon_main(argc, argv,
			   &(struct daemon_program){
				   .name = "bouncer",
				   .summary = "turns Postfix's log into events",
				   .usage = "  --replay FILE… [--json] [--unparsed]\n"
					    "              as the first option: read logs without a database\n",
				   .rows = rows,
				   .row_count = sizeof rows / sizeof *rows,
				   .conf = &settings,
				   .conf_size = sizeof settings,
				   .run = run,
				   .reloaded = on_reload,
			   });
}
