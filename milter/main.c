/* waybill-milter: signs, owns and meters every message that comes in through Postfix with a login. */

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "common/counters_conf.h"
#include "common/counters_sync.h"
#include "common/daemon.h"
#include "common/directory.h"
#include "common/metrics_http.h"
#include "common/seal.h"
#include "common/spool.h"

#include "milter/alarms.h"
#include "milter/callbacks.h"
#include "milter/keys.h"
#include "milter/sampler.h"
#include "milter/stats.h"
#include "milter/submitters.h"
#include "milter/verdict.h"
#include "milter/warnings.h"

/* DNS may take its time; nobody waits for it. */
#define CHECK_TIMEOUT_MS 15000

struct settings {
	struct daemon_settings common;
	struct counters_settings redis;
	char *listen, *socket_group, *seal_key, *relay_domain, *feedback_id, *cfbl_address, *metrics, *check_program,
		*check_keys, *unauthenticated_login, *return_path_host, *return_path_key;
	int socket_mode, unsafe;
	bool fix;
	int64_t timeout_ms, key_cache, signature_lifetime_ms, self_check;
};

static const char *const unsafe_names[] = {"ignore", "report", "refuse", NULL}; /* enum verdict_unsafe */

static const struct conf_row rows[] = {
	DAEMON_ROWS(struct settings),
	COUNTERS_ROWS(struct settings),
	{"milter", "listen", CONF_STRING, offsetof(struct settings, listen), "unix:/var/spool/postfix/waybill/milter",
	 0, 0, NULL, false, "Where Postfix finds the milter: unix:/PATH, inet:PORT@HOST or inet6:PORT@HOST."},
	{"milter", "socket_mode", CONF_MODE, offsetof(struct settings, socket_mode), "0660", 0, 0777, NULL, false,
	 "The mode of a unix socket."},
	{"milter", "socket_group", CONF_STRING, offsetof(struct settings, socket_group), "", 0, 0, NULL, false,
	 "The group of a unix socket, such as postfix; when empty, that of the process."},
	{"milter", "seal_key", CONF_PATH, offsetof(struct settings, seal_key), "/etc/waybill/seal.key", 0, 0, NULL,
	 false,
	 "The file with the key that opens the DKIM keys; readable by the milter's account alone. A reload reads it "
	 "again."},
	{"milter", "timeout", CONF_DURATION, offsetof(struct settings, timeout_ms), "2h", 10000, 86400000, NULL, false,
	 "How long Postfix may keep a session silent before it is closed."},
	{"milter", "key_cache", CONF_INT, offsetof(struct settings, key_cache), "10000", 1, 10000000, NULL, false,
	 "How many DKIM keys stay in memory, about 8 KiB each; others are unsealed when they are needed."},
	{"milter", "signature_lifetime", CONF_DURATION, offsetof(struct settings, signature_lifetime_ms), "7d", 0,
	 365LL * 86400 * 1000, NULL, true,
	 "How long signatures are valid (x=): Postfix's maximal_queue_lifetime and two days; 0 leaves it open."},
	{"milter", "unauthenticated_login", CONF_STRING, offsetof(struct settings, unauthenticated_login), "", 0, 0,
	 NULL, false,
	 "The login whose mail it is that comes without one, by sendmail(1) or from trusted networks: its rights, "
	 "limits and keys hold; or several, NETWORK=LOGIN, NETWORK=LOGIN, LOGIN, where the first network decides and "
	 "a login alone stands for the rest. Mail of sendmail(1) comes from 127.0.0.1. Nobody's mail is left as it is, "
	 "as is mail of the null sender always."},
	{"milter", "return_path_host", CONF_STRING, offsetof(struct settings, return_path_host), "", 0, 0, NULL, false,
	 "Mail of customers with return-path on leaves with the envelope sender b+TOKEN@ this host, so that bounces "
	 "come "
	 "here and are known to be real; empty: envelope senders stay."},
	{"milter", "return_path_key", CONF_PATH, offsetof(struct settings, return_path_key), "", 0, 0, NULL, false,
	 "The file with the keys of these tokens, a line of 64 hex digits each (openssl rand -hex 32): the first makes "
	 "them, the others may still verify. Tokens of List-Unsubscribe come from it as well."},
	{"milter", "unsafe", CONF_ENUM, offsetof(struct settings, unsafe), "report", 0, 0, unsafe_names, true,
	 "Messages that mail servers would change on the way, so that their signature breaks (lines over 998 bytes, "
	 "NUL, CR or "
	 "LF alone, 8-bit text that is not announced): ignore, report in the log, or refuse with the line's number."},
	{"milter", "fix", CONF_BOOL, offsetof(struct settings, fix), "yes", 0, 0, NULL, false,
	 "Mend before signing what would be changed after it: add Date, Message-ID and MIME-Version where they are "
	 "missing, "
	 "fold header lines over 998 bytes."},
	{"milter", "relay_domain", CONF_STRING, offsetof(struct settings, relay_domain), "", 0, 0, NULL, false,
	 "A domain of the directory that signs all mail besides the author's domain; empty: none does."},
	{"milter", "feedback_id", CONF_STRING, offsetof(struct settings, feedback_id), "", 0, 0, NULL, false,
	 "The name of this sender, last part of a Feedback-ID field LOGIN:CUSTOMER:NAME; empty: none is added."},
	{"milter", "cfbl_address", CONF_STRING, offsetof(struct settings, cfbl_address), "", 0, 0, NULL, false,
	 "Where complaints go, for a CFBL-Address field (RFC 9477), in relay_domain; empty: none is added."},
	{"milter", "self_check", CONF_INT, offsetof(struct settings, self_check), "0", 0, 1000000000, NULL, false,
	 "One in this many signed messages is verified against the key in DNS, by another process; 0: none."},
	{"milter", "self_check_program", CONF_PATH, offsetof(struct settings, check_program),
	 "/usr/sbin/waybill-dkim-check", 0, 0, NULL, false, "The program that verifies."},
	{"milter", "self_check_keys", CONF_PATH, offsetof(struct settings, check_keys), "", 0, 0, NULL, false,
	 "A file with lines NAME RECORD that stands in for DNS, for tests; empty: DNS is asked."},
	METRICS_ROW("milter", struct settings, metrics),
};

static struct settings settings;
static struct engine engine;
static struct seal *seal, *return_path_keys;
static struct metrics_http *metrics_http;

static void take_settings(void)
{
	atomic_store(&engine.signature_lifetime_s, settings.signature_lifetime_ms / 1000);
	atomic_store(&engine.unsafe, settings.unsafe);
}

/* After "waybill seal rotate --new-key", so that it opens what will be sealed under the new key. */
static void renew_seal(void)
{
	char *error = NULL;
	struct seal *renewed = seal_open(settings.seal_key, &error);
	if (!renewed) {
		log_error("%s; the keys read before stay; next: mend the file, then reload or restart waybill-milter",
			  error);
		free(error);
		return;
	}
	keys_renew_seal(engine.keys, renewed);
	seal_close(&seal);
	seal = renewed;
}

static void reloaded(void)
{
	take_settings();
	renew_seal();
}

static int complain(char *line, int status)
{
	log_error("%s", line);
	free(line);
	return status;
}

/* RFC 9477 section 3.1: who may be told of complaints is shown by a signature of that domain. */
static int check_cfbl(void)
{
	struct text address = text_of(settings.cfbl_address);
	struct text domain = text_from(address, text_rfind(address, '@') + 1);
	if (!address.len || text_equal_fold(domain, text_of(settings.relay_domain)))
		return EX_OK;
	log_error("[milter] cfbl_address is of another domain than relay_domain, whose signature must vouch for it "
		  "(RFC 9477); "
		  "next: relay_domain = %.*s",
		  TEXT_ARG(domain));
	return EX_CONFIG;
}

static int check_submitters(void)
{
	const char *why = submitters_check(text_of(settings.unauthenticated_login));
	if (why)
		log_error("[milter] unauthenticated_login: %s; next: write it as NETWORK=LOGIN, NETWORK=LOGIN, LOGIN",
			  why);
	return why ? EX_CONFIG : EX_OK;
}

static int open_return_path(void)
{
	char *error = NULL;
	if (settings.return_path_host && !settings.return_path_key) {
		log_error("[milter] return_path_host needs return_path_key, a file with a line of 64 hex digits; next: "
			  "openssl rand -hex 32");
		return EX_CONFIG;
	}
	if (!settings.return_path_key)
		return EX_OK;
	return_path_keys = seal_open(settings.return_path_key, &error);
	return return_path_keys ? EX_OK : complain(error, EX_CONFIG);
}

/* The seal key may be readable by root alone, and the socket's folder belong to it. */
static int prepare(void)
{
	char *error = NULL;
	const struct callbacks_options options = {.listen = settings.listen,
						  .timeout_s = settings.timeout_ms / 1000,
						  .socket_mode = settings.socket_mode,
						  .changes_sender = settings.return_path_host != NULL,
						  .group = settings.socket_group};
	seal = seal_open(settings.seal_key, &error);
	if (!seal)
		return complain(error, EX_CONFIG);
	int status = check_cfbl();
	if (status == EX_OK)
		status = check_submitters();
	if (status == EX_OK)
		status = open_return_path();
	if (status != EX_OK)
		return status;
	engine.metrics = stats_new();
	error = callbacks_listen(&options);
	return error ? complain(error, EX_UNAVAILABLE) : 0;
}

/* libmilter takes HUP as TERM, so USR1 reloads. */
static void *reload_on_signal(void *signals)
{
	int number;
	while (sigwait(signals, &number) == 0)
		daemon_reload();
	return NULL;
}

static int serve(void)
{
	static sigset_t reload;
	pthread_t thread;
	sigemptyset(&reload);
	sigaddset(&reload, SIGUSR1);
	if (pthread_create(&thread, NULL, reload_on_signal, &reload) != 0)
		return EX_OSERR;
	daemon_ready();
	int status = callbacks_serve(&engine) == 0 ? EX_OK : EX_UNAVAILABLE;
	pthread_cancel(thread);
	pthread_join(thread, NULL);
	return status;
}

/* WHY begins with the name of the key in DNS, "SELECTOR._domainkey.DOMAIN: ", if a signature is to blame. */
static void raise_alarm(struct text queue_id, struct text why)
{
	static const struct text infix = {"._domainkey.", sizeof "._domainkey." - 1};
	struct directory_view view;
	struct directory_domain domain;
	struct text name = text_head(why, text_find(why, ':'));
	size_t at = text_search(name, infix);
	if (at == SIZE_MAX || directory_begin(engine.directory, &view) != DIRECTORY_FOUND)
		return;
	if (directory_find_domain(&view, text_from(name, at + infix.len), &domain) == DIRECTORY_FOUND) {
		const struct alarm alarm = {.type = ALARM_SIGNATURE_FAILING,
					    .now_s = time(NULL),
					    .customer = domain.customer,
					    .domain = domain.name,
					    .selector = text_head(name, at),
					    .queue_id = queue_id,
					    .why = text_trim(text_from(why, name.len + 1)),
					    .mail = TEXT("signed")};
		alarms_raise(engine.alarms, &alarm);
	}
	directory_end(&view);
}

static void self_checked(void *context, enum sampler_result result, struct text queue_id, struct text why)
{
	stats_note_check(context, result);
	if (result == SAMPLER_FAILED)
		raise_alarm(queue_id, why);
	if (result == SAMPLER_FAILED)
		log_warning("%.*s: self-check=failed, the message just signed does not verify: %.*s; receivers will "
			    "see the same: "
			    "waybill domain check tells more",
			    TEXT_ARG(queue_id), TEXT_ARG(why));
	else if (result == SAMPLER_UNKNOWN)
		log_info("%.*s: self-check=unknown, %.*s", TEXT_ARG(queue_id), TEXT_ARG(why));
}

static void start_sampler(void)
{
	static const char *command[4];
	command[0] = settings.check_program;
	command[1] = settings.check_keys ? "--keys" : NULL;
	command[2] = settings.check_keys;
	if (settings.self_check && settings.check_program)
		engine.sampler =
			sampler_new(command, settings.self_check, CHECK_TIMEOUT_MS, self_checked, engine.metrics);
}

static int start_metrics(void)
{
	char *error = NULL;
	if (!settings.metrics)
		return EX_OK;
	metrics_http = metrics_http_start(settings.metrics, engine.metrics, &error);
	return metrics_http ? EX_OK : complain(error, EX_UNAVAILABLE);
}

/* Before the first thread: none but the one that waits for a signal may get it; libmilter has one that waits for TERM. */
static void block_signals(void)
{
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
}

static int run(void)
{
	struct text return_path_texts[SEAL_MAX_KEYS];
	const struct counters_options redis = counters_options_of(&settings.redis);
	block_signals();
	engine.directory = directory_new(settings.common.directory);
	engine.counters = counters_new(&redis);
	engine.keys = keys_new(seal, (size_t)settings.key_cache);
	engine.node = settings.common.node; /* no reload touches settings that need a restart */
	engine.relay_domain = text_of(settings.relay_domain);
	engine.submitters = text_of(settings.unauthenticated_login);
	engine.return_path_host = text_of(settings.return_path_host);
	if (return_path_keys && seal_keys(return_path_keys, return_path_texts))
		engine.return_path_key = return_path_texts[0];
	engine.complete = (struct complete_options){.fix = settings.fix,
						    .feedback = text_of(settings.feedback_id),
						    .cfbl = text_of(settings.cfbl_address),
						    .unsubscribe_host = engine.return_path_host};
	take_settings();
	engine.spool = settings.common.spool ? spool_open(settings.common.spool, "milter") : NULL;
	engine.alarms = alarms_new(engine.spool, engine.node);
	if (engine.spool)
		engine.warnings = warnings_new(engine.spool);
	start_sampler();
	int status = start_metrics();
	if (status == EX_OK)
		status = serve();
	sampler_free(&engine.sampler);
	metrics_http_stop(&metrics_http);
	metrics_free(&engine.metrics);
	alarms_free(&engine.alarms);
	warnings_free(&engine.warnings);
	spool_close(&engine.spool);
	keys_free(&engine.keys);
	counters_free(&engine.counters);
	directory_free(&engine.directory);
	seal_close(&return_path_keys);
	seal_close(&seal);
	return status;
}

int main(int argc, char **argv)
{
	static const struct daemon_program program = {
		.name = "milter",
		.summary = "signs, owns and meters the mail that Postfix takes in",
		.rows = rows,
		.row_count = sizeof rows / sizeof *rows,
		.conf = &settings,
		.conf_size = sizeof settings,
		.prepare = prepare,
		.run = run,
		.reloaded = reloaded,
		.own_signals = true,
	};
	return daemon_main(argc, argv, &program);
}
