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
	{"ctl", "resolver", CONF_STRING, FIELD(resolver), "", 0, 0, NULL, false,
	 "The DNS resolver to ask, ADDRESS:PORT, several after commas; when empty, the system's."},
	{"ctl", "dns_timeout", CONF_DURATION, FIELD(dns_timeout_ms), "3s", 100, 60000, NULL, false,
	 "How long one try of a DNS question may take."},
	{"ctl", "dns_port", CONF_INT, FIELD(dns_port), "53", 1, 65535, NULL, false,
	 "The port of authoritative DNS servers; another one than 53 is for tests."},
	{"ctl", "rotate_after", CONF_DURATION, FIELD(rotate_after_ms), "120d", 86400000, 315360000000, NULL, false,
	 "The age at which waybill domain rotate --due makes the next DKIM key."},
	{"ctl", "queue_lifetime", CONF_DURATION, FIELD(queue_lifetime_ms), "5d", 0, 8640000000, NULL, false,
	 "Postfix's maximal_queue_lifetime: a former DKIM key stays published for it and two days more."},
	{"ctl", "cname_zone", CONF_STRING, FIELD(cname_zone), "", 0, 0, NULL, false,
	 "The zone of the relay that selectors of domains in mode cname point into."},
	{"ctl", "egress", CONF_STRING, FIELD(egress), "", 0, 0, NULL, false,
	 "The addresses that mail leaves from, IPv4 and IPv6, after commas; waybill domain check evaluates SPF for "
	 "each."},
	{"ctl", "return_path", CONF_STRING, FIELD(return_path), "", 0, 0, NULL, false,
	 "The host of the envelope senders that the relay sets; when empty, they are the customers' own."},
	{"ctl", "spf_include", CONF_STRING, FIELD(spf_include), "", 0, 0, NULL, false,
	 "The domain that customers include in their SPF record."},
	{"ctl", "spf_check", CONF_PATH, FIELD(spf_check), "", 0, 0, NULL, false,
	 "The helper waybill-spf-check; when empty, the one beside waybill."},
	{"ctl", "notice_postgres", CONF_STRING, FIELD(notice_postgres), "dbname=waybill user=waybill_notices", 0, 0,
	 NULL, false, "How waybill notice send reaches Postgres: as a role that may do nothing else."},
	{"ctl", "sendmail", CONF_PATH, FIELD(sendmail), "/usr/sbin/sendmail", 0, 0, NULL, false,
	 "The program that waybill notice send hands its mails to."},
	{"ctl", "notice_sender", CONF_STRING, FIELD(notice_sender), "", 0, 0, NULL, false,
	 "From whom notices are; when empty, postmaster at this host's name."},
	{"ctl", "notice_postmaster", CONF_STRING, FIELD(notice_postmaster), "", 0, 0, NULL, false,
	 "Who is sent every notice besides the customer's contact; when empty, nobody."},
	/* The bouncer's: both judge alike. */
	{"bouncer", "rules", CONF_PATH, FIELD(rules), "", 0, 0, NULL, false, NULL},
	COUNTERS_REACH_ROWS(struct settings, CONF_OTHERS),
	TAKEOVER_ROWS(struct settings, CONF_OTHERS),
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
