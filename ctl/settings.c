#include <stddef.h>

#include "ctl/settings.h"

#define FIELD(name) offsetof(struct settings, name)

const struct conf_row settings_rows[] = {
	DAEMON_ROWS(struct settings),
	{"ctl", "postgres", CONF_STRING, FIELD(postgres), "dbname=waybill user=waybill_admin", 0, 0, NULL, false,
	 "How the command line reaches Postgres, as libpq's connection string."},
	{"ctl", "seal_key", CONF_PATH, FIELD(seal_key), "/etc/waybill/seal.key", 0, 0, NULL, false,
	 "The key file under which DKIM private keys are sealed."},
	{"ctl", "webhook_key", CONF_PATH, FIELD(webhook_key), "/etc/waybill/webhook.key", 0, 0, NULL, false,
	 "The key file under which webhook secrets are sealed."},
	{"directory", "postgres", CONF_STRING, FIELD(follow_postgres), "dbname=waybill user=waybill_follow", 0, 0, NULL,
	 false,
	 "How waybill directory follow reaches Postgres; several hosts for failover, with "
	 "target_session_attrs=primary."},
	{"directory", "group", CONF_STRING, FIELD(follow_group), "", 0, 0, NULL, false,
	 "The group that may read the snapshot; default: the follower's own."},
	{"directory", "mode", CONF_MODE, FIELD(follow_mode), "0640", 0, 0777, NULL, false,
	 "The file mode of the snapshot."},
	{"directory", "poll", CONF_DURATION, FIELD(follow_poll_ms), "250ms", 50, 10000, NULL, false,
	 "How often the follower asks Postgres for changes."},
};
const size_t settings_count = sizeof(settings_rows) / sizeof(*settings_rows);
