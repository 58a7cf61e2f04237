/* "waybill directory": the follower's life as a service, and looking at the snapshot. */

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>

#include "common/daemon.h"
#include "common/directory.h"
#include "ctl/cmd.h"
#include "ctl/database.h"
#include "ctl/follow.h"

#define SIGN_OF_LIFE_S 10
#define AWAY_POLL_MS   1000 /* between attempts while Postgres is away */

/* The service has no arguments but these: daemon_main()'s callbacks take none. */
static struct {
	struct settings settings;
	bool once;
	struct pg *pg;
	struct directory_writer *writer;
	struct follow *follow;
	bool away, broken; /* said so once */
	bool listening;
} service;

static int find_group(gid_t *group)
{
	*group = (gid_t)-1;
	if (!service.settings.follow_group)
		return 0;
	const struct group *row = getgrnam(service.settings.follow_group);
	if (!row) {
		log_error("[directory] group: there is no group %s", service.settings.follow_group);
		return EX_CONFIG;
	}
	*group = row->gr_gid;
	return 0;
}

static int service_open(void)
{
	struct directory_writer_options options = {.mode = (mode_t)service.settings.follow_mode};
	int status = find_group(&options.group);
	if (status)
		return status;
	const char *why = directory_writer_open(service.settings.common.directory, &options, &service.writer);
	if (why) {
		log_error("%s", why);
		return EX_UNAVAILABLE;
	}
	service.pg = pg_new(service.settings.follow_postgres, "waybill directory follow");
	service.follow =
		follow_new(service.pg, service.writer, service.settings.common.directory, service.settings.common.node);
	return 0;
}

static void service_close(void)
{
	follow_free(&service.follow);
	pg_free(&service.pg);
	directory_writer_close(&service.writer);
}

static void log_applied(void)
{
	struct follow_report report = follow_report(service.follow);
	if (report.built)
		log_info("snapshot built anew (%s): entries=%zu, seq=%lld", report.reason, report.entries,
			 (long long)report.seq);
	else
		log_info("changes applied: entries=%zu, seq=%lld", report.entries, (long long)report.seq);
}

/* Says a trouble when it begins and when it ends. */
static void log_trouble(enum follow_outcome outcome, const char *why)
{
	bool away = outcome == FOLLOW_AWAY, broken = outcome == FOLLOW_BROKEN;
	if (away && !service.away)
		log_warning("Postgres does not answer: %s; the snapshot stands, mail flows on, changes wait", why);
	else if (!away && service.away)
		log_info("Postgres answers again");
	if (broken && !service.broken)
		log_error("%s; the old snapshot stands, mail flows on, changes wait", why);
	service.away = away;
	service.broken = broken;
}

static enum follow_outcome step(void)
{
	const char *why = "";
	enum follow_outcome outcome = follow_step(service.follow, &why);
	log_trouble(outcome, why);
	if (outcome == FOLLOW_APPLIED)
		log_applied();
	if (outcome == FOLLOW_AWAY)
		service.listening = false;
	else if (!service.listening)
		service.listening = pg_script(service.pg, "LISTEN " FOLLOW_CHANNEL) == PG_OK;
	return outcome;
}

/* Waits for a signal, a notification or the time to ask again. True when the service must end. */
static bool wait_and_see(void)
{
	int timeout_ms = service.away ? AWAY_POLL_MS : (int)service.settings.follow_poll_ms;
	struct pollfd fds[] = {{.fd = daemon_signal_fd(), .events = POLLIN},
			       {.fd = pg_socket(service.pg), .events = POLLIN}};
	if (poll(fds, 2, timeout_ms) > 0 && fds[1].revents)
		pg_notified(service.pg);
	for (int number; (number = daemon_take_signal());) {
		if (number != SIGHUP)
			return true;
		daemon_reload();
	}
	return false;
}

static int64_t monotonic_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static void follow_until_stopped(void)
{
	bool ready = false;
	int64_t alive_s = 0;
	do {
		enum follow_outcome outcome = step();
		/* With a snapshot from before the service serves also while Postgres is away. */
		if (!ready && (outcome <= FOLLOW_APPLIED || directory_writer_has_snapshot(service.writer))) {
			daemon_ready();
			ready = true;
		}
		if (outcome <= FOLLOW_APPLIED &&
		    (outcome == FOLLOW_APPLIED || monotonic_s() - alive_s >= SIGN_OF_LIFE_S)) {
			follow_sign_of_life(service.follow);
			alive_s = monotonic_s();
		}
	} while (!wait_and_see());
}

static int service_run(void)
{
	int status = service_open();
	if (!status && service.once) {
		enum follow_outcome outcome = step();
		status = outcome == FOLLOW_AWAY ? EX_TEMPFAIL : outcome == FOLLOW_BROKEN ? EX_CANTCREAT : 0;
	} else if (!status) {
		follow_until_stopped();
	}
	service_close();
	return status;
}

int cmd_directory_follow(struct ctl *ctl)
{
	const struct daemon_program program = {
		.name = "directory",
		.summary = "keeps this node's snapshot of the directory",
		.rows = settings_rows,
		.row_count = settings_count,
		.conf = &service.settings,
		.conf_size = sizeof(service.settings),
		.run = service_run,
	};
	char name[] = "waybill", flag[] = "-c";
	char *file = text_copy(text_of(ctl->file ? ctl->file : SETTINGS_FILE));
	char *argv[] = {name, flag, file, NULL};
	service.once = option_given(ctl, "once");
	int status = daemon_main(3, argv, &program);
	free(file);
	return status;
}

/* Begins a view of this node's snapshot, or says why there is none. */
static int open_view(struct ctl *ctl, struct directory **directory, struct directory_view *view)
{
	*directory = directory_new(ctl->settings.common.directory);
	if (directory_begin(*directory, view) == DIRECTORY_FOUND)
		return 0;
	int status = complain(EX_UNAVAILABLE, "waybill directory follow --once, as the account of the service",
			      "%s: %s (policyd and the milter answer 4xx meanwhile)", ctl->settings.common.directory,
			      directory_trouble(*directory));
	directory_free(directory);
	return status;
}

static json_t *time_text(int64_t when)
{
	char text[32];
	time_t seconds = (time_t)when;
	struct tm utc;
	gmtime_r(&seconds, &utc);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
	return json_string(text);
}

static int print_own(struct ctl *ctl)
{
	struct directory *directory;
	struct directory_view view;
	struct directory_state state;
	struct stat file = {0};
	int status = open_view(ctl, &directory, &view);
	if (status)
		return status;
	if (directory_find_state(&view, &state) != DIRECTORY_FOUND)
		status = complain(EX_DATAERR, "waybill directory verify", "%s: no state",
				  ctl->settings.common.directory);
	stat(ctl->settings.common.directory, &file);
	if (!status) {
		struct output *output = output_new(OUTPUT_RECORD, ctl->json);
		output_row(output, json_pack("{s:s, s:I, s:o, s:o, s:I, s:i}", "snapshot",
					     ctl->settings.common.directory, "seq", (json_int_t)state.seq, "changed_at",
					     time_text(state.changed_at), "built_at", time_text(state.built_at),
					     "bytes", (json_int_t)file.st_size, "format", DIRECTORY_FORMAT));
		output_end(&output, NULL);
	}
	directory_end(&view);
	directory_free(&directory);
	return status;
}

int cmd_directory_status(struct ctl *ctl)
{
	int status = print_own(ctl);
	int listed = database_print(
		ctl, OUTPUT_LIST, "no follower has reported yet",
		"SELECT node, seq, (SELECT count(*) FROM waybill.changes AS c WHERE c.seq > f.seq) AS behind, "
		"changed_at, built_at, seen_at, path FROM waybill.followers AS f ORDER BY node",
		NO_PARAMS);
	return status ? status : listed;
}

int cmd_directory_verify(struct ctl *ctl)
{
	struct directory *directory;
	struct directory_view view;
	size_t entries = 0;
	int status = open_view(ctl, &directory, &view);
	if (status)
		return status;
	const char *why = directory_verify(&view, &entries);
	directory_end(&view);
	directory_free(&directory);
	if (why)
		return complain(EX_DATAERR, "stop the service, remove the file, start the service: it is built anew",
				"%s: entry %zu: %s", ctl->settings.common.directory, entries, why);
	struct output *output = output_new(OUTPUT_RECORD, ctl->json);
	output_row(output, json_pack("{s:s, s:I, s:b}", "snapshot", ctl->settings.common.directory, "entries",
				     (json_int_t)entries, "sound", 1));
	output_end(&output, NULL);
	return 0;
}
