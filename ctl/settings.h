#ifndef CTL_SETTINGS_H
#define CTL_SETTINGS_H

/* The settings of the command line: sections [common], [ctl] and [directory] of waybill.conf, and of others what it must
 * see as they do. */

#include "common/counters_conf.h"
#include "common/daemon.h"
#include "common/takeover_conf.h"

#define SETTINGS_FILE "/etc/waybill/waybill.conf"

struct settings {
	struct daemon_settings common;
	/* [ctl] */
	char *postgres;    /* as an admin */
	char *seal_key;    /* for DKIM private keys */
	char *webhook_key; /* for webhook secrets */
	char *resolver;    /* "ADDRESS:PORT,…"; NULL: the system's */
	int64_t dns_timeout_ms, dns_port;
	int64_t rotate_after_ms, queue_lifetime_ms;
	char *cname_zone;      /* where the slots of mode cname lie */
	char *egress;          /* addresses that mail leaves from, comma-separated */
	char *return_path;     /* host of the envelope sender that the relay sets; NULL: the customers' own */
	char *spf_include;     /* what customers include in their SPF record */
	char *spf_check;       /* the helper; NULL: beside this program */
	char *notice_postgres; /* as who sends notices */
	char *sendmail, *notice_sender, *notice_postmaster; /* NULL: postmaster@ this host; nobody */
	/* [redis] and [policyd]: what the takeover guard knows, and its marks */
	struct counters_settings redis;
	struct takeover_settings takeover;
	/* [bouncer] */
	char *rules; /* NULL: the built-in ones */
	/* [directory]: the follower */
	char *follow_postgres;
	char *follow_group;
	int follow_mode;
	int64_t follow_poll_ms;
};

extern const struct conf_row settings_rows[];
extern const size_t settings_count;

#endif
