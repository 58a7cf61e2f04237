#include <limits.h>
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
	char ident[64], head[128]; /* " mx1 waybill/policyd[77]: ", behind the time */
	enum log_target target;
	_Atomic enum log_level level;
	bool journal; /* standard error is the journal's: it stamps the lines itself */
} log_state = {.head = " waybill: ", .level = LOG_LEVEL_INFO};

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
	char host[64] = "";
	log_state.target = target;
	log_state.level = level;
	log_state.journal = is_journal();
	gethostname(host, sizeof host - 1);
	snprintf(log_state.head, sizeof log_state.head, " %s waybill/%.32s[%d]: ", host, name, (int)getpid());
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

static size_t append(char *line, size_t len, const char *text)
{
	size_t more = strlen(text);
	memcpy(line + len, text, more);
	return len + more;
}

/* "Nov 25 20:01:02"; made once a second, since a line stands for each decision. strftime(3) would look at /etc/localtime
 * for each. */
static const char *time_stamp(void)
{
	static const char *const months[12] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	static _Thread_local struct {
		time_t second;
		char text[32];
	} last;
	time_t now = time(NULL);
	struct tm local;
	if (now == last.second)
		return last.text;
	last.second = now;
	localtime_r(&now, &local);
	snprintf(last.text, sizeof last.text, "%s %02d %02d:%02d:%02d", months[local.tm_mon], local.tm_mday,
		 local.tm_hour, local.tm_min, local.tm_sec);
	return last.text;
}

/* Lines that wait for each other. Even to a pipe PIPE_BUF bytes are written in one piece. */
static _Thread_local struct {
	bool on;
	size_t len;
	char lines[PIPE_BUF];
} gathered;

/* One write() for whole lines, so that those of several threads and programs do not mix. */
static void write_lines(const char *lines, size_t len)
{
	if (write(STDERR_FILENO, lines, len) < 0)
		return; /* nobody is left to tell */
}

static void write_gathered(void)
{
	if (gathered.len)
		write_lines(gathered.lines, gathered.len);
	gathered.len = 0;
}

void log_gather(void)
{
	gathered.on = true;
}

void log_flush(void)
{
	write_gathered();
	gathered.on = false;
}

/* Adds a line to those that wait, after they went out if it does not fit. */
static void gather(const char *line, size_t len)
{
	_Static_assert(sizeof gathered.lines >= LOG_LINE_MAX + 256, "any line fits");
	if (len > sizeof gathered.lines - gathered.len)
		write_gathered();
	memcpy(gathered.lines + gathered.len, line, len);
	gathered.len += len;
}

static void write_stderr(enum log_level level, const char *message)
{
	static const char *const marks[LOG_LEVEL_MAX] = {"<3>", "<4>", "<6>", "<7>"}; /* sd-daemon(3) */
	char line[LOG_LINE_MAX + 256];
	size_t len = append(line, 0, log_state.journal ? marks[level] : time_stamp());
	if (!log_state.journal)
		len = append(line, len, log_state.head);
	len = append(line, len, prefixes[level]);
	len = append(line, len, message);
	len = append(line, len, "\n");
	if (gathered.on && level > LOG_LEVEL_WARNING) {
		gather(line, len);
		return;
	}
	write_gathered();
	write_lines(line, len);
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
