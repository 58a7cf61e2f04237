#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
	bool journal; /* standard error is the journal's: it stamps the lines itself */
} log_state = {.name = "waybill", .level = LOG_LEVEL_INFO};

void log_open(const char *name, enum log_target target, enum log_level level)
{
	log_state.name = name;
	log_state.target = target;
	log_state.level = level;
	log_state.journal = getenv("JOURNAL_STREAM") != NULL;
	gethostname(log_state.host, sizeof log_state.host - 1);
	snprintf(log_state.ident, sizeof log_state.ident, "waybill/%s", name);
	if (target == LOG_TARGET_SYSLOG)
		openlog(log_state.ident, LOG_PID | LOG_NDELAY, LOG_MAIL);
}

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
		strftime(stamp, sizeof stamp, "%b %d %H:%M:%S", localtime_r(&now, &local));
		len = snprintf(line, sizeof line, "%s %s waybill/%s[%d]: %s%s\n", stamp, log_state.host, log_state.name,
			       (int)getpid(), prefixes[level], message);
	}
	if (write(STDERR_FILENO, line, (size_t)len) < 0)
		return; /* nobody is left to tell */
}

static void log_message(enum log_level level, const char *format, va_list args)
{
	char message[LOG_LINE_MAX];

	if (level > log_state.level)
		return;
	vsnprintf(message, sizeof message, format, args);
	for (unsigned char *c = (unsigned char *)message; *c; c++)
		if (*c < 0x20 || *c == 0x7f)
			*c = '?';
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
