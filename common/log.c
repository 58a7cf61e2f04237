#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"

#define LOG_LINE_MAX 2048 /* what syslog and Postfix cut at */

const char *const log_level_names[] = {"error", "warning", "info", "debug", NULL};
const char *const log_target_names[] = {"stderr", "syslog", NULL};

static const int priorities[LOG_LEVEL_MAX] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
static const char *const prefixes[LOG_LEVEL_MAX] = {"error: ", "warning: ", "", ""};

static struct {
	const char *name;
	char host[64], ident[64];
	enum log_target target;
	_Atomic enum log_level level;
	int pid;      /* getpid(2) is a system call, and a line stands for each decision */
	bool journal; /* standard error is the journal's: it stamps the lines itself */
} log_state = {.name = "waybill", .level = LOG_LEVEL_INFO};

/* Is standard error the journal's stream? JOURNAL_STREAM alone does not say so: it outlives a redirection
 * (systemd.exec(5)). */
static bool is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;
	if (!stream || sscanf(stream, "%llu:%llu", &device, &inode) != 2 || fstat(STDERR_FILENO, &st) != 0)
		return false;
	return st.st_dev == device && st.st_ino == inode;
}

void log_open(const char *name, enum log_target target, enum log_level level)
{
	log_state.name = name;
	log_state.target = target;
	log_state.level = level;
	log_state.pid = (int)getpid();
	log_state.journal = is_journal();
	gethostname(log_state.host, sizeof log_state.host - 1);
	snprintf(log_state.ident, sizeof log_state.ident, "waybill/%s", name);
	if (target == LOG_TARGET_SYSLOG)
		openlog(log_state.ident, LOG_PID | LOG_NDELAY, LOG_MAIL);
}

void log_set_level(enum log_level level)
{
	log_state.level = level;
}

bool log_wants(enum log_level level)
{
	return level <= log_state.level;
}

/* strftime(3) would look at /etc/localtime for each line. */
static const char *const months[12] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
				       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* One write() a line, so that lines of several threads and programs do not mix. */
static void write_stderr(enum log_level level, const char *message)
{
	char line[LOG_LINE_MAX + 256], stamp[32] = "";
	int len;

	if (log_state.journal) {
		len = snprintf(line, sizeof line, "<%d>%s%s\n", priorities[level], prefixes[level], message);
	} else {
		time_t now = time(NULL);
		struct tm local;
		localtime_r(&now, &local);
		snprintf(stamp, sizeof stamp, "%s %02d %02d:%02d:%02d", months[local.tm_mon], local.tm_mday,
			 local.tm_hour, local.tm_min, local.tm_sec);
		len = snprintf(line, sizeof line, "%s %s waybill/%s[%d]: %s%s\n", stamp, log_state.host, log_state.name,
			       log_state.pid, prefixes[level], message);
	}
	if (write(STDERR_FILENO, line, (size_t)len) < 0)
		return; /* nobody is left to tell */
}

/* C0, DEL and, as UTF-8, C1 (U+0080 to U+009F), which terminals obey too. */
static void replace_controls(char *message)
{
	for (unsigned char *c = (unsigned char *)message; *c; c++) {
		if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
			*c = c[1] = '?';
		else if (*c < 0x20 || *c == 0x7f)
			*c = '?';
	}
}

static void log_message(enum log_level level, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
static void log_message(enum log_level level, const char *format, va_list args)
{
	char message[LOG_LINE_MAX];

	if (level > log_state.level)
		return;
	if (vsnprintf(message, sizeof message, format, args) >= (int)sizeof message)
		memcpy(message + sizeof message - 4, "...", 3);
	replace_controls(message);
	if (log_state.target == LOG_TARGET_SYSLOG)
		syslog(priorities[level], "%s%s", prefixes[level], message);
	else
		write_stderr(level, message);
}

void log_error(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	log_message(LOG_LEVEL_ERROR, format, args);
	va_end(args);
}

void log_warning(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	log_message(LOG_LEVEL_WARNING, format, args);
	va_end(args);
}

void log_info(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	log_message(LOG_LEVEL_INFO, format, args);
	va_end(args);
}

void log_debug(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	log_message(LOG_LEVEL_DEBUG, format, args);
	va_end(args);
}
