#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "common/daemon.h"
#include "common/memory.h"

#define DAEMON_CONFIGURATION "/etc/waybill/waybill.conf"

static struct {
	const struct daemon_program *program;
	const char *file;
	bool verbose;
	int signal_fd;
} life = {.file = DAEMON_CONFIGURATION, .signal_fd = -1};

enum mode { MODE_RUN, MODE_TEST, MODE_CHANGED, MODE_DONE };

static struct daemon_settings *settings(void)
{
	return life.program->conf;
}

static void print_help(FILE *out)
{
	const struct daemon_program *p = life.program;
	fprintf(out, "Usage: waybill-%s [-c FILE] [-t | -n | --sample] [-v]%s\n%s\n\n", p->name, p->usage ? " …" : "",
		p->summary);
	fprintf(out, "  -c FILE     configuration, by default " DAEMON_CONFIGURATION "\n"
		     "  -t          test the configuration and exit: 0 or 78\n"
		     "  -n          print the settings that differ from the defaults\n"
		     "  --sample    print every setting with its default and a sentence about it\n"
		     "  --manual SECTION\n"
		     "              print the section as waybill.conf(5) has it\n"
		     "  -v          log at debug level\n"
		     "  --help, --version\n");
	if (p->usage)
		fprintf(out, "%s", p->usage);
	if (!p->once)
		fprintf(out, "\nSignals: %s\n",
			p->own_signals ? "TERM drains and stops; USR1 reads the configuration again."
				       : "TERM drains and stops; HUP reads the configuration again.");
	fprintf(out, "%sManual: waybill-%s(8), waybill.conf(5)\n", p->once ? "\n" : "", p->name);
}

/* ---- flags ---- */

static int usage_error(const char *what)
{
	const char *why = strcmp(what, "-c") == 0 ? "a file is missing behind" : "unknown option or operand";
	fprintf(stderr, "waybill-%s: %s \"%s\"; see waybill-%s --help\n", life.program->name, why, what,
		life.program->name);
	return -1;
}

static int print_and_finish(enum mode *mode, void (*print)(FILE *))
{
	print(stdout);
	*mode = MODE_DONE;
	return 1;
}

static void print_version(FILE *out)
{
	fprintf(out, "waybill-%s " WAYBILL_VERSION "\n", life.program->name);
}

static void print_sample(FILE *out)
{
	conf_sample(out, life.program->rows, life.program->row_count);
}

/* Words used, 0 when the option is not a common one. */
static int common_option(int argc, char **argv, enum mode *mode)
{
	const char *word = argv[0];
	if (strcmp(word, "-c") == 0 && argc > 1 && *argv[1]) {
		life.file = argv[1];
		return 2;
	}
	if (strcmp(word, "--manual") == 0 && argc > 1) {
		conf_manual(stdout, life.program->rows, life.program->row_count, argv[1]);
		*mode = MODE_DONE;
		return 2;
	}
	if (strcmp(word, "-t") == 0)
		*mode = MODE_TEST;
	else if (strcmp(word, "-n") == 0)
		*mode = MODE_CHANGED;
	else if (strcmp(word, "-v") == 0)
		life.verbose = true;
	else if (strcmp(word, "--help") == 0)
		return print_and_finish(mode, print_help);
	else if (strcmp(word, "--version") == 0)
		return print_and_finish(mode, print_version);
	else if (strcmp(word, "--sample") == 0)
		return print_and_finish(mode, print_sample);
	else
		return 0;
	return 1;
}

static int read_flags(int argc, char **argv, enum mode *mode)
{
	for (int i = 1, used; i < argc && *mode != MODE_DONE; i += used) {
		used = common_option(argc - i, argv + i, mode);
		if (!used && life.program->option)
			used = life.program->option(argc - i, argv + i);
		if (!used)
			return usage_error(argv[i]);
	}
	return 0;
}

/* ---- configuration ---- */

static void default_node(struct daemon_settings *common)
{
	char name[HOST_NAME_MAX + 1];
	if (common->node || gethostname(name, sizeof name) != 0)
		return;
	name[sizeof name - 1] = '\0';
	common->node = text_copy(text_of(name));
}

static int load(void *conf, char **error)
{
	int status = conf_load(life.file, life.program->rows, life.program->row_count, conf, error);
	if (status == 0)
		default_node(conf);
	return status;
}

static int load_first(void)
{
	char *error;
	if (load(life.program->conf, &error) == 0)
		return 0;
	fprintf(stderr, "waybill-%s: %s\n", life.program->name, error);
	free(error);
	return -1;
}

static enum log_level wanted_level(void)
{
	return life.verbose ? LOG_LEVEL_DEBUG : (enum log_level)settings()->log_level;
}

/* systemd wants the time with it (sd_notify(3)). */
static void notify_reloading(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

int daemon_reload(void)
{
	const struct daemon_program *p = life.program;
	void *next = memory_zero(1, p->conf_size);
	char *error, *restart;

	notify_reloading();
	int status = load(next, &error);
	if (status != 0) {
		log_error("reload: %s; the old configuration stays in force", error);
		free(error);
	} else {
		restart = conf_needs_restart(p->rows, p->row_count, p->conf, next);
		if (restart)
			log_warning("reload: %s: changed, but a restart is needed to take it", restart);
		free(restart);
		conf_take(p->rows, p->row_count, p->conf, next);
		log_set_level(wanted_level());
		if (p->reloaded)
			p->reloaded();
		log_info("reload: the configuration was read again");
	}
	conf_free(p->rows, p->row_count, next);
	free(next);
	sd_notify(0, "READY=1");
	return status;
}

/* ---- account, signals ---- */

/* LeakSanitizer looks into the process at its end, which a process that may not be dumped forbids. */
#ifdef __SANITIZE_ADDRESS__
#define DAEMON_DUMPABLE 1
#else
#define DAEMON_DUMPABLE 0
#endif

/* No secret of this process may end in a core file. */
static void forbid_core_dumps(void)
{
	const struct rlimit none = {0, 0};
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, DAEMON_DUMPABLE);
}

static int no_account(const char *kind, const char *name)
{
	log_error("[common] %s = %s: there is no such %s; create it or change the setting", kind, name, kind);
	return EX_CONFIG;
}

static int change_account(void)
{
	const struct daemon_settings *common = settings();
	if (geteuid() != 0)
		return 0;
	if (!common->user) {
		log_warning("runs as root; name an account in [common] user");
		return 0;
	}
	const struct passwd *user = getpwnam(common->user);
	if (!user)
		return no_account("user", common->user);
	const uid_t uid = user->pw_uid;
	gid_t gid = user->pw_gid;
	const struct group *group = common->group ? getgrnam(common->group) : NULL;
	if (common->group && !group)
		return no_account("group", common->group);
	if (group)
		gid = group->gr_gid;
	if (initgroups(common->user, gid) != 0 || setgid(gid) != 0 || setuid(uid) != 0) {
		log_error("cannot change to the account %s: %s", common->user, strerror(errno));
		return EX_NOPERM;
	}
	return 0;
}

static void watch_signals(void)
{
	sigset_t set;
	signal(SIGPIPE, SIG_IGN);
	if (life.program->own_signals || life.program->once)
		return;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	life.signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

int daemon_signal_fd(void)
{
	return life.signal_fd;
}

int daemon_take_signal(void)
{
	struct signalfd_siginfo info;
	if (read(life.signal_fd, &info, sizeof info) != sizeof info)
		return 0;
	if (info.ssi_signo != SIGHUP)
		sd_notify(0, "STOPPING=1");
	return (int)info.ssi_signo;
}

int daemon_inherited_socket(const char *name, bool called)
{
	char **names = NULL;
	int count = sd_listen_fds_with_names(0, &names), found = -1;
	for (int i = 0; i < count; i++) {
		bool wanted = found < 0 && (strcmp(names[i], name) == 0) == called;
		if (wanted && sd_is_socket(SD_LISTEN_FDS_START + i, AF_UNSPEC, SOCK_STREAM, 1) > 0)
			found = SD_LISTEN_FDS_START + i;
		free(names[i]);
	}
	free(names);
	return found;
}

void daemon_ready(void)
{
	sd_notify(0, "READY=1");
	log_info("ready: version=" WAYBILL_VERSION ", node=%s", settings()->node);
}

static int serve(void)
{
	const struct daemon_program *p = life.program;
	int status;

	log_open(p->name, (enum log_target)settings()->log_target, wanted_level());
	umask(027);
	forbid_core_dumps();
	watch_signals();
	status = p->prepare ? p->prepare() : 0;
	if (status == 0)
		status = change_account();
	forbid_core_dumps(); /* setuid() sets the flag anew */
	if (status == 0)
		status = p->run();
	if (p->once)
		return status;
	if (p->own_signals)
		sd_notify(0, "STOPPING=1");
	log_info("stopped: status=%d", status);
	return status;
}

int daemon_main(int argc, char **argv, const struct daemon_program *program)
{
	enum mode mode = MODE_RUN;
	int status = EX_OK;

	life.program = program;
	if (read_flags(argc, argv, &mode) != 0)
		return EX_USAGE;
	if (mode == MODE_DONE)
		return EX_OK;
	if (load_first() != 0)
		status = EX_CONFIG;
	else if (mode == MODE_CHANGED)
		conf_print(stdout, program->rows, program->row_count, program->conf, true);
	else if (mode == MODE_RUN)
		status = serve();
	conf_free(program->rows, program->row_count, program->conf);
	return status;
}
