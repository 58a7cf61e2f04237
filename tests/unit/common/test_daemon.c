/* A daemon's life, seen from outside: this program starts itself as one, when it is given arguments. */

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/daemon.h"

#define PATIENCE_MS 60000 /* before a test that waits in vain fails */

/* ---- the daemon ---- */

static struct settings {
	struct daemon_settings common;
	char *listen;
	int64_t limit;
} settings;

static const struct conf_row rows[] = {
	DAEMON_ROWS(struct settings),
	{"policyd", "listen", CONF_STRING, offsetof(struct settings, listen), "nowhere", 0, 0, NULL, false, "Where."},
	{"policyd", "limit", CONF_INT, offsetof(struct settings, limit), "1", 0, 100, NULL, true, "How many."},
};

static int prepared;

static int own_option(int argc, char **argv)
{
	if (strcmp(argv[0], "--prepare") != 0 || argc < 2)
		return 0;
	prepared = (int)strtol(argv[1], NULL, 10);
	return 2;
}

static int prepare(void)
{
	return prepared;
}

static void tell(void)
{
	printf("limit=%d listen=%s node=%s uid=%d\n", (int)settings.limit, settings.listen, settings.common.node,
	       (int)geteuid());
	fflush(stdout);
}

static int run(void)
{
	struct pollfd signals = {.fd = daemon_signal_fd(), .events = POLLIN};
	tell();
	printf("socket=%d other=%d\n", daemon_inherited_socket("other", false), daemon_inherited_socket("other", true));
	fflush(stdout);
	daemon_ready();
	for (int number = 0; number != SIGTERM && number != SIGINT;) {
		poll(&signals, 1, -1);
		number = daemon_take_signal();
		if (number == SIGHUP)
			daemon_reload();
	}
	return EX_OK;
}

static int daemon_itself(int argc, char **argv)
{
	static const struct daemon_program program = {
		.name = "policyd",
		.summary = "answers",
		.usage = "  --prepare STATUS\n",
		.rows = rows,
		.row_count = sizeof rows / sizeof *rows,
		.conf = &settings,
		.conf_size = sizeof settings,
		.option = own_option,
		.prepare = prepare,
		.run = run,
		.reloaded = tell,
	};
	return daemon_main(argc, argv, &program);
}

/* ---- the tests ---- */

static char folder[] = "/tmp/waybill-daemon-XXXXXX", conf[64], out_path[64], err_path[64];
static int notify = -1;
static struct sockaddr_un notify_address = {.sun_family = AF_UNIX};

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(folder) || chmod(folder, 0755) != 0)
		return -1;
	snprintf(conf, sizeof conf, "%s/waybill.conf", folder);
	snprintf(out_path, sizeof out_path, "%s/out", folder);
	snprintf(err_path, sizeof err_path, "%s/err", folder);
	snprintf(notify_address.sun_path, sizeof notify_address.sun_path, "%s/notify", folder);
	notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (bind(notify, (const struct sockaddr *)&notify_address, sizeof notify_address) != 0)
		return -1;
	unsetenv("JOURNAL_STREAM");
	return chmod(notify_address.sun_path, 0666);
}

static int tear_down(void **state)
{
	(void)state;
	close(notify);
	unlink(notify_address.sun_path);
	unlink(conf);
	unlink(out_path);
	unlink(err_path);
	return rmdir(folder);
}

static void write_conf(const char *text)
{
	FILE *file = fopen(conf, "we");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	assert_int_equal(chmod(conf, 0644), 0);
}

/* What the last daemon wrote, to be freed. */
static char *contents(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = calloc(1, 1 << 16);
	assert_true(file && text);
	assert_true(fread(text, 1, (1 << 16) - 1, file) < (1 << 16) - 1);
	fclose(file);
	return text;
}

static void assert_contains(const char *path, const char *want)
{
	char *text = contents(path);
	if (!strstr(text, want))
		print_error("no \"%s\" in:\n%s\n", want, text);
	assert_non_null(strstr(text, want));
	free(text);
}

static void become_daemon(const char *const *args, int listening)
{
	char pid[16], *argv[16] = {strdup("waybill-policyd")};
	for (size_t i = 0; args[i] && i < 14; i++)
		argv[i + 1] = strdup(args[i]);
	dup2(open(out_path, O_WRONLY | O_CREAT | O_TRUNC, 0644), STDOUT_FILENO);
	dup2(open(err_path, O_WRONLY | O_CREAT | O_TRUNC, 0644), STDERR_FILENO);
	setenv("NOTIFY_SOCKET", notify_address.sun_path, 1);
	if (listening >= 0) {
		snprintf(pid, sizeof pid, "%d", (int)getpid());
		setenv("LISTEN_PID", pid, 1);
		setenv("LISTEN_FDS", "2", 1);
		setenv("LISTEN_FDNAMES", "waybill.socket:other", 1);
		dup2(listening, 3);
		dup2(listening, 4);
	}
	execv("/proc/self/exe", argv);
	_exit(127);
}

static pid_t start(const char *const *args, int listening)
{
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0)
		become_daemon(args, listening);
	return child;
}

static int finish(pid_t child)
{
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

#define START(...) start((const char *const[]){__VA_ARGS__, NULL}, -1)
#define RUN(...)   finish(START(__VA_ARGS__))

/* The next message to systemd. */
static void assert_notified(const char *want)
{
	char message[256];
	struct pollfd ready = {.fd = notify, .events = POLLIN};
	assert_int_equal(poll(&ready, 1, PATIENCE_MS), 1);
	ssize_t len = recv(notify, message, sizeof message - 1, 0);
	assert_true(len > 0);
	message[len] = '\0';
	assert_int_equal(strncmp(message, want, strlen(want)), 0);
}

static void flags(void **state)
{
	(void)state;
	assert_int_equal(RUN("--version"), 0);
	assert_contains(out_path, "waybill-policyd " WAYBILL_VERSION "\n");
	assert_int_equal(RUN("--help"), 0);
	assert_contains(out_path, "Usage: waybill-policyd [-c FILE]");
	assert_contains(out_path, "  --prepare STATUS\n");
	assert_int_equal(RUN("--sample"), 0);
	assert_contains(out_path, "# How many.\n#limit = 1\n");
	assert_int_equal(RUN("--nonsense"), EX_USAGE);
	assert_contains(err_path, "waybill-policyd: unknown option or operand \"--nonsense\"");
	assert_int_equal(RUN("-c"), EX_USAGE);
	assert_contains(err_path, "a file is missing behind \"-c\"");
	assert_int_equal(RUN("-t", "--prepare"), EX_USAGE);
	assert_int_equal(RUN("operand"), EX_USAGE);
}

static void tests_its_configuration(void **state)
{
	char want[200];
	(void)state;
	write_conf("[policyd]\nlimit = 7\n");
	assert_int_equal(RUN("-t", "-c", conf), 0);
	assert_int_equal(RUN("-n", "-c", conf), 0);
	assert_contains(out_path, "[policyd]\nlimit = 7\n");
	write_conf("[policyd]\nlimit = 101\n");
	snprintf(want, sizeof want, "waybill-policyd: %s:2: [policyd] limit: \"101\" is out of range: 0 to 100\n",
		 conf);
	assert_int_equal(RUN("-t", "-c", conf), EX_CONFIG);
	assert_contains(err_path, want);
	assert_int_equal(RUN("-c", conf), EX_CONFIG);
	char *text = contents(err_path);
	assert_string_equal(text, want); /* one line */
	free(text);
	assert_int_equal(RUN("-c", "/nowhere/waybill.conf"), EX_CONFIG);
	assert_contains(err_path, "waybill-policyd: /nowhere/waybill.conf: No such file or directory");
}

static void lives(void **state)
{
	(void)state;
	write_conf("[common]\nnode = mx1\n[policyd]\nlimit = 2\n");
	pid_t child = START("-c", conf);
	assert_notified("READY=1");
	assert_contains(out_path, "limit=2 listen=nowhere node=mx1");
	assert_contains(out_path, "socket=-1 other=-1\n");
	write_conf("[common]\nnode = mx1\nlog_level = debug\n[policyd]\nlimit = 3\nlisten = elsewhere\n");
	kill(child, SIGHUP);
	assert_notified("RELOADING=1\nMONOTONIC_USEC=");
	assert_notified("READY=1");
	assert_contains(out_path, "limit=3 listen=nowhere node=mx1");
	assert_contains(err_path, "warning: reload: policyd.listen: changed, but a restart is needed");
	write_conf("[policyd]\nlimit = 4\nlimt = 5\n");
	kill(child, SIGHUP);
	assert_notified("RELOADING=1");
	assert_notified("READY=1");
	assert_contains(err_path, "waybill.conf:3: [policyd] limt: there is no such setting");
	assert_contains(err_path, "the old configuration stays in force");
	char *text = contents(out_path);
	assert_null(strstr(text, "limit=4"));
	free(text);
	kill(child, SIGTERM);
	assert_notified("STOPPING=1");
	assert_int_equal(finish(child), 0);
	assert_contains(err_path, "waybill/policyd[");
	assert_contains(err_path, "ready: version=");
	assert_contains(err_path, "stopped: status=0");
}

/* The line of /proc/PID/FILE that begins with KEY. */
static void proc_line(pid_t pid, const char *file, const char *key, char *line, int size)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
	FILE *proc = fopen(path, "re");
	assert_non_null(proc);
	while (fgets(line, size, proc) && strncmp(line, key, strlen(key)) != 0)
		;
	assert_int_equal(strncmp(line, key, strlen(key)), 0);
	fclose(proc);
}

static void is_hardened(void **state)
{
	char line[200];
	unsigned long long ignored;
	(void)state;
	write_conf("");
	pid_t child = START("-c", conf);
	assert_notified("READY=1");
	proc_line(child, "limits", "Max core file size", line, sizeof line);
	assert_non_null(strstr(line, " 0 "));
	proc_line(child, "status", "Umask:", line, sizeof line);
	assert_string_equal(line, "Umask:\t0027\n");
	proc_line(child, "status", "SigIgn:", line, sizeof line);
	assert_int_equal(sscanf(line, "SigIgn: %llx", &ignored), 1);
	assert_true(ignored & 1ULL << (SIGPIPE - 1));
	kill(child, SIGINT);
	assert_int_equal(finish(child), 0);
	assert_notified("STOPPING=1");
}

static void changes_account(void **state)
{
	char line[200];
	(void)state;
	if (geteuid() != 0)
		skip();
	write_conf("[common]\nuser = nobody\n");
	pid_t child = START("-c", conf);
	assert_notified("READY=1");
	proc_line(child, "status", "Uid:", line, sizeof line);
	assert_string_equal(line, "Uid:\t65534\t65534\t65534\t65534\n");
	proc_line(child, "status", "Gid:", line, sizeof line);
	assert_string_equal(line, "Gid:\t65534\t65534\t65534\t65534\n");
	proc_line(child, "status", "Groups:", line, sizeof line);
	assert_string_equal(line, "Groups:\t65534 \n");
	kill(child, SIGTERM);
	assert_int_equal(finish(child), 0);
	assert_notified("STOPPING=1");
	write_conf("[common]\nuser = nobody-at-all\n");
	assert_int_equal(RUN("-c", conf), EX_CONFIG);
	assert_contains(err_path, "error: [common] user = nobody-at-all: there is no such user");
	write_conf("[common]\nuser = nobody\ngroup = nobodies\n");
	assert_int_equal(RUN("-c", conf), EX_CONFIG);
	assert_contains(err_path, "error: [common] group = nobodies: there is no such group");
}

static void preparation_fails(void **state)
{
	(void)state;
	write_conf("");
	assert_int_equal(RUN("-c", conf, "--prepare", "69"), EX_UNAVAILABLE);
	char *text = contents(out_path);
	assert_string_equal(text, ""); /* run() was not reached */
	free(text);
}

static void takes_systemds_socket(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	(void)state;
	snprintf(address.sun_path, sizeof address.sun_path, "%s/listen", folder);
	assert_int_equal(bind(listening, (const struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(listening, 5), 0);
	write_conf("");
	pid_t child = start((const char *const[]){"-c", conf, NULL}, listening);
	assert_notified("READY=1");
	assert_contains(out_path, "socket=3 other=4\n");
	kill(child, SIGTERM);
	assert_int_equal(finish(child), 0);
	assert_notified("STOPPING=1");
	close(listening);
	unlink(address.sun_path);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flags),
		cmocka_unit_test(tests_its_configuration),
		cmocka_unit_test(lives),
		cmocka_unit_test(is_hardened),
		cmocka_unit_test(changes_account),
		cmocka_unit_test(preparation_fails),
		cmocka_unit_test(takes_systemds_socket),
	};
	if (argc > 1)
		return daemon_itself(argc, argv);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
