#ifndef CTL_SETTINGS_H
#define CTL_SETTINGS_H

/* The settings of the command line: sections [common], [ctl] and [directory] of waybill.conf. */

#include "common/daemon.h"

#define SETTINGS_FILE "/etc/waybill/waybill.conf"

struct settings {
	struct daemon_settings common;
	/* [ctl] */
	char *postgres;    /* as an admin */
	char *seal_key;    /* for DKIM private keys */
	char *webhook_key; /* for webhook secrets */
	/* [directory]: the follower */
	char *follow_postgres;
	char *follow_group;
	int follow_mode;
	int64_t follow_poll_ms;
};

extern const struct conf_row settings_rows[];
extern const size_t settings_count;

#endif
