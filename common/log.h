#ifndef COMMON_LOG_H
#define COMMON_LOG_H

/* The log, in Postfix's dialect: one line an event, "QUEUEID: customer=acme, action=defer". Only shells log. Thread-safe.
 * To standard error (systemd's journal, or a terminal) or to syslog's mail facility. A line's control bytes become '?'. */

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVEL_MAX };
enum log_target { LOG_TARGET_STDERR, LOG_TARGET_SYSLOG, LOG_TARGET_MAX };
extern const char *const log_level_names[]; /* NULL-terminated: for configuration tables */
extern const char *const log_target_names[];

/* NAME (kept, not copied) stands in front of each line as "waybill/NAME[pid]: ", behind time and host as in Postfix's
 * own log; on the journal, which stamps lines itself, the priority "<N>" does. Warnings and errors say so. Before this
 * call lines go to standard error. Called once, before threads start. */
void log_open(const char *name, enum log_target target, enum log_level level);
/* The least important lines that are logged from now on; from any thread. */
void log_set_level(enum log_level level);
/* Would a line of LEVEL be logged? For lines that take time to write. */
bool log_wants(enum log_level level);
/* From log_gather() to log_flush() lines of this thread that are less than warnings may wait, so that many go out in one write:
 * for one round of an event loop. Lines to syslog do not wait. */
void log_gather(void);
void log_flush(void);
/* A line longer than 2,000 bytes is cut and ends in "...". */
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
