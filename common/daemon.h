#ifndef COMMON_DAEMON_H
#define COMMON_DAEMON_H

/* A daemon's life, so that its main() is a declaration: flags, configuration, log, account, core dumps, readiness,
 * reload, stop.
 *
 *	-c FILE  configuration (default /etc/waybill/waybill.conf)     -t  test it and exit
 *	-n       print the settings that differ from the defaults       --sample  print a sample configuration
 *	-v       log at debug level                                     --help, --version
 *
 * Exit status (sysexits.h): 0 stopped as asked, 64 usage, 69 a resource is missing, 75 try again, 78 configuration. */

#include "common/conf.h"
#include "common/log.h"

/* The settings every daemon has; the first member of its configuration struct. Rows: DAEMON_ROWS. */
struct daemon_settings {
	char *user, *group; /* account to change to; NULL: stay */
	int log_target, log_level;
	char *node;      /* this host's name in keys, events and logs; default: the host name */
	char *directory; /* the directory snapshot's file */
	char *spool;     /* the folder of the event spools (common/spool.h); NULL: none */
};

/* The rows of section [common], to stand first in a daemon's table; STRUCT begins with struct daemon_settings common. */
/* clang-format off */
#define DAEMON_ROWS(STRUCT)                                                                                            \
	{"common", "user", CONF_STRING, offsetof(STRUCT, common.user), "", 0, 0, NULL, false,                          \
	 "The account that the daemons change to when started as root."},                                             \
	{"common", "group", CONF_STRING, offsetof(STRUCT, common.group), "", 0, 0, NULL, false,                        \
	 "The group that goes with user; when empty, the account's own."},                                            \
	{"common", "log", CONF_ENUM, offsetof(STRUCT, common.log_target), "stderr", 0, 0, log_target_names, false,     \
	 "Where log lines go: stderr or syslog (facility mail)."},                                                    \
	{"common", "log_level", CONF_ENUM, offsetof(STRUCT, common.log_level), "info", 0, 0, log_level_names, true,    \
	 "The least important lines that are logged: error, warning, info or debug."},                                \
	{"common", "node", CONF_STRING, offsetof(STRUCT, common.node), "", 0, 0, NULL, false,                          \
	 "This host's name in counters, events and logs; when empty, the host name."},                                \
	{"common", "directory", CONF_PATH, offsetof(STRUCT, common.directory), "/var/lib/waybill/directory.mdb", 0, 0, \
	 NULL, false, "The directory snapshot, kept by waybill directory follow."},                                     \
	{"common", "spool", CONF_PATH, offsetof(STRUCT, common.spool), "/var/spool/waybill", 0, 0, NULL, false,         \
	 "The folder for what Postfix's log does not say, refusals and warnings; empty: none is kept."}
/* clang-format on */

struct daemon_program {
	const char *name;    /* "policyd": logs and section; the program is waybill-policyd */
	const char *summary; /* one line for --help */
	const char *usage;   /* more lines for --help, or NULL */
	const struct conf_row *rows;
	size_t row_count;
	void *conf; /* its configuration struct, filled before start() */
	size_t conf_size;
	/* The program's own options and operands, after the common ones: getopt-like, called for each word that daemon_main
	 * does not know; returns the number of words used, 0 for a usage error. NULL: there are none. */
	int (*option)(int argc, char **argv);
	/* Binds sockets and opens what needs the first account (root); after it the account changes. 0 or an exit status,
	 * the reason logged. May be NULL. */
	int (*prepare)(void);
	/* Runs until stopped; calls daemon_ready() when it serves. Returns the exit status. */
	int (*run)(void);
	/* The new configuration stands in conf (reloadable rows only). May be NULL. */
	void (*reloaded)(void);
	/* The program's library handles TERM, INT and HUP itself (libmilter): daemon_signal_fd() is -1. */
	bool own_signals;
	/* It does one thing and ends, with the default action of TERM, INT and HUP: no word about its beginning and end. */
	bool once;
};

/* The whole main(). */
int daemon_main(int argc, char **argv, const struct daemon_program *program);
/* Tells systemd (sd_notify) and the log that the daemon serves. */
void daemon_ready(void);
/* Reads the configuration again: 0, or -1 and the old one stays, the reason logged. Called from run()'s own thread. */
int daemon_reload(void);
/* Must the loop end (TERM, INT), has a reload been asked for (HUP)? daemon_signal_fd() is readable when one of them
 * arrived; daemon_take_signal() returns the next one's number without waiting, 0 when there is none. The three are
 * blocked: a child process would inherit that, so unblock them before exec(). */
int daemon_signal_fd(void);
int daemon_take_signal(void);
/* The first listening stream socket that systemd handed over (sd_listen_fds(3)) under NAME (FileDescriptorName=), or, when
 * not CALLED so, under any other name: their order is systemd's. -1 when there is none. */
int daemon_inherited_socket(const char *name, bool called);

#endif
