/* waybill, the command line. This file is its table of contents: each row is a sub-command, and from the rows come
 * parsing, help, bash completion and the manual page. */

#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "ctl/cmd.h"
#include "ctl/command.h"
#include "ctl/database.h"

/* clang-format off */
const struct command commands[] = {
	{"customer", "add", "CUSTOMER",
	 {{"title", "TEXT", "the name that people read"},
	  {"plan", "TEXT", "what was agreed; a word of yours"},
	  {"contact", "ADDRESS", "whom notices about its endpoints are mailed to; empty for nobody"},
	  {"time-zone", "ZONE", "where a customer's day and month begin, as Europe/Berlin; default UTC"},
	  {"header-from", "off|log|enforce", "whether header From must be the login's to use; default enforce"},
	  {"return-path", "on|off", "whether its mail leaves with an envelope sender of [milter] return_path_host"},
	  {"list-unsubscribe", "URL", "adds one-click List-Unsubscribe (RFC 8058), {token} naming the recipient; empty for none"},
	  {"takeover", "off|alert|hold|suspend", "what becomes of a login that seems to be in other hands; default alert"},
	  {"transport", "NAME:[NEXTHOP]", "the Postfix transport that its mail leaves by, as smtp-acme:; empty: as all mail"}},
	 "Takes on a customer.", cmd_customer_add},
	{"customer", "list", "",
	 {{"status", "active|suspended", "only these"}},
	 "Lists customers.", cmd_customer_list},
	{"customer", "show", "CUSTOMER", {{0}},
	 "Shows one customer and what it owns.", cmd_customer_show},
	{"customer", "set", "CUSTOMER",
	 {{"title", "TEXT", "the name that people read"},
	  {"plan", "TEXT", "what was agreed; a word of yours"},
	  {"contact", "ADDRESS", "whom notices about its endpoints are mailed to; empty for nobody"},
	  {"time-zone", "ZONE", "where a customer's day and month begin"},
	  {"max-recipients", "N", "how many recipients one message may have; 0: as many as Postfix takes"},
	  {"header-from", "off|log|enforce", "whether header From must be the login's to use"},
	  {"return-path", "on|off", "whether its mail leaves with an envelope sender of [milter] return_path_host"},
	  {"list-unsubscribe", "URL", "adds one-click List-Unsubscribe (RFC 8058), {token} naming the recipient; empty for none"},
	  {"takeover", "off|alert|hold|suspend", "what becomes of a login that seems to be in other hands"},
	  {"transport", "NAME:[NEXTHOP]", "the Postfix transport that its mail leaves by, as smtp-acme:; empty: as all mail"}},
	 "Changes a customer.", cmd_customer_set},
	{"customer", "suspend", "CUSTOMER",
	 {{"reason", "TEXT", "stands in the refusals"},
	  {"until", "TIME", "ends by itself: 2026-12-31, or \"+2 days\""}},
	 "Refuses new mail of a customer.", cmd_customer_suspend},
	{"customer", "resume", "CUSTOMER", {{0}},
	 "Ends a suspension.", cmd_customer_resume},
	{"customer", "remove", "CUSTOMER", {{0}},
	 "Removes a customer and all it owns; needs --yes.", cmd_customer_remove},

	{"login", "add", "CUSTOMER LOGIN",
	 {{"label", "TEXT", "which application this is"},
	  {"expires", "TIME", "2027-01-01, or \"+90 days\"; default never"},
	  {"networks", "CIDR,…", "where it may come from; default anywhere"},
	  {"allow", "PATTERN,…", "what it may send as; default *@owned, every address of the customer's domains"}},
	 "Makes a login; its password is made here and shown once.", cmd_login_add},
	{"login", "list", "",
	 {{"customer", "CUSTOMER", "only its logins"}},
	 "Lists logins.", cmd_login_list},
	{"login", "show", "LOGIN", {{0}},
	 "Shows one login, its rights and limits, and what the takeover guard thinks of it.", cmd_login_show},
	{"login", "set", "LOGIN",
	 {{"label", "TEXT", "which application this is"},
	  {"expires", "TIME", "2027-01-01, \"+90 days\", or never"},
	  {"networks", "CIDR,…", "where it may come from; empty for anywhere"},
	  {"destinations", "PATTERN,…", "whom it may write to: patterns as of login allow; empty for anybody"}},
	 "Changes a login.", cmd_login_set},
	{"login", "rotate", "LOGIN",
	 {{"keep", "DURATION", "how long the old password stays valid as well; default \"24 hours\""}},
	 "Makes a new password, shown once.", cmd_login_rotate},
	{"login", "disable", "LOGIN", {{0}},
	 "Refuses a login until it is enabled again.", cmd_login_disable},
	{"login", "enable", "LOGIN", {{0}},
	 "Lets a disabled or suspended login in again; the takeover guard begins anew.", cmd_login_enable},
	{"login", "remove", "LOGIN", {{0}},
	 "Removes a login; needs --yes.", cmd_login_remove},
	{"login", "allow", "LOGIN PATTERN…", {{0}},
	 "Gives rights: user@example.com, @example.com, @.example.com (with sub-domains), *@owned, <> (the "
	 "null sender).", cmd_login_allow},
	{"login", "deny", "LOGIN PATTERN…", {{0}},
	 "Takes rights away; a deny beats every allow.", cmd_login_deny},
	{"login", "forget", "LOGIN PATTERN", {{0}},
	 "Removes an allow or deny.", cmd_login_forget},

	{"domain", "add", "CUSTOMER DOMAIN",
	 {{"cname", NULL, "two fixed selectors that point into the relay's zone, so that rotation never asks the customer"},
	  {"ed25519", NULL, "a second key, Ed25519, beside RSA-2048"},
	  {"activate", NULL, "sign at once, without having seen the record in DNS"},
	  {"profile", "strict|list-friendly", "which header fields are over-signed; default strict"},
	  {"signatures", "0|1|2", "how many DKIM signatures its mail bears: none, RSA, one for each algorithm; default 2"}},
	 "Adds a sending domain, makes its DKIM key and prints the DNS records to publish.", cmd_domain_add},
	{"domain", "list", "",
	 {{"customer", "CUSTOMER", "only its domains"}},
	 "Lists domains and their keys.", cmd_domain_list},
	{"domain", "show", "DOMAIN", {{0}},
	 "Shows one domain, its keys and what the last check found.", cmd_domain_show},
	{"domain", "set", "DOMAIN",
	 {{"profile", "strict|list-friendly", "which header fields are over-signed"},
	  {"signatures", "0|1|2", "how many DKIM signatures its mail bears: none, RSA, one for each algorithm"}},
	 "Changes how a domain's mail is signed.", cmd_domain_set},
	{"domain", "records", "DOMAIN",
	 {{"panel", NULL, "name, type and whole value, for a provider's web form"}},
	 "Prints the DNS records to publish, as lines of a zone file: of the DKIM keys, and recommended ones for SPF and "
	 "DMARC.", cmd_domain_records},
	{"domain", "check", "[DOMAIN]",
	 {{"all", NULL, "every domain; for a timer"}},
	 "Checks DKIM, SPF for each address that mail leaves from, DMARC, alignment and MX in DNS; keeps the results.",
	 cmd_domain_check},
	{"domain", "rotate", "[DOMAIN]",
	 {{"due", NULL, "do what is due, for every domain unless one is named, and say what is waited for; for a timer"},
	  {"force", NULL, "activate the pending key without having seen it in DNS"}},
	 "Makes the next DKIM key, or activates it once every authoritative server shows it.", cmd_domain_rotate},
	{"domain", "import-opendkim", "KEYTABLE SIGNINGTABLE",
	 {{"customer", "CUSTOMER", "whose domains they become"}},
	 "Takes over the domains and keys of an OpenDKIM, with their selectors.", cmd_domain_import_opendkim},
	{"domain", "remove", "DOMAIN", {{0}},
	 "Removes a domain and its keys; needs --yes.", cmd_domain_remove},

	{"limit", "set", "ID SCOPE UNIT SPEC",
	 {{"customer", "CUSTOMER", "whom it counts"},
	  {"login", "LOGIN", "one login; scopes login and network"},
	  {"domain", "DOMAIN", "one domain; scope domain"},
	  {"destination", "DOMAIN", "mail to this domain only; scope destination"},
	  {"action", "defer|reject|hold|shadow", "what happens to mail beyond it; default defer"}},
	 "Sets a limit. SCOPE is login, network, customer, domain, destination or relay; UNIT messages, "
	 "recipients or bytes; SPEC as \"100/h\", \"20/s burst 100\", \"50000/day\".", cmd_limit_set},
	{"limit", "list", "",
	 {{"customer", "CUSTOMER", "only its limits"}},
	 "Lists limits.", cmd_limit_list},
	{"limit", "remove", "ID", {{0}},
	 "Removes a limit.", cmd_limit_remove},

	{"suppress", "add", "CUSTOMER ADDRESS",
	 {{"note", "TEXT", "why"},
	  {"until", "TIME", "ends by itself: 2026-12-31, or \"+30 days\""}},
	 "Refuses mail of a customer to an address.", cmd_suppress_add},
	{"suppress", "list", "CUSTOMER",
	 {{"recipient", "ADDRESS", "only this one"}},
	 "Lists a customer's suppressions.", cmd_suppress_list},
	{"suppress", "remove", "CUSTOMER ADDRESS", {{0}},
	 "Lets mail to an address pass again.", cmd_suppress_remove},
	{"suppress", "import", "CUSTOMER FILE", {{0}},
	 "Adds the addresses of a file (\"-\": standard input), a line each: "
	 "ADDRESS[,REASON[,EXPIRES[,NOTE]]].", cmd_suppress_import},
	{"suppress", "export", "CUSTOMER", {{0}},
	 "Prints a customer's suppressions as import reads them.", cmd_suppress_export},
	{"suppress", "revert", "",
	 {{"rule", "ID", "made by this rule; \"text/*\" for all that begin so"},
	  {"since", "TIME", "made since then"},
	  {"remote", "NAME", "because of this provider, remote host or recipient's domain"},
	  {"customer", "CUSTOMER", "only this customer's"},
	  {"dry-run", NULL, "show them, change nothing"}},
	 "Undoes suppressions that bounces made, by their cause.", cmd_suppress_revert},
	{"suppress", "policy", "[CUSTOMER]",
	 {{"soft-messages", "N", "so many messages that failed for the recipient's sake suppress it"},
	  {"soft-window", "DURATION", "within this time, with no delivery between but for bounces by mail"},
	  {"soft-ttl", "DURATION|forever", "how long that suppresses"},
	  {"closed-ttl", "DURATION|forever", "how long a closed mailbox is suppressed"},
	  {"hard-ttl", "DURATION|forever", "how long an address that does not exist is suppressed"},
	  {"complaint-ttl", "DURATION|forever", "how long a complaint suppresses"}},
	 "Shows, and changes, what suppresses by itself: for a customer, or for all without a policy of their own.",
	 cmd_suppress_policy},
	{"suppress", "brakes", "", {{0}},
	 "Lists providers at which too many recipients were refused at once, so that nobody is suppressed.",
	 cmd_suppress_brakes},
	{"suppress", "release", "PROVIDER", {{0}},
	 "Takes the brake off a provider and forgets what put it on.", cmd_suppress_release},
	{"suppress", "brake-policy", "",
	 {{"percent", "N", "more than this share of final outcomes are recipients refused for good"},
	  {"minutes", "N", "within this time"},
	  {"least", "N", "fewer outcomes say nothing"},
	  {"hold", "DURATION", "how long suppression stays frozen after the last excess"}},
	 "Shows, and changes, what freezes suppression for a provider.", cmd_suppress_brake_policy},
	{"suppress", "domains", "", {{0}},
	 "Lists domains that are refused for every customer.", cmd_suppress_domains},
	{"suppress", "add-domain", "DOMAIN",
	 {{"note", "TEXT", "why"},
	  {"until", "TIME", "ends by itself: 2026-12-31, or \"+30 days\"; default in 7 days"}},
	 "Refuses mail to a domain for every customer.", cmd_suppress_add_domain},
	{"suppress", "remove-domain", "DOMAIN", {{0}},
	 "Lets mail to a domain pass again.", cmd_suppress_remove_domain},
	{"suppress", "domain-policy", "",
	 {{"enable", "yes|no", "refuse domains that proved dead for every customer; no lifts them all"},
	  {"customers", "N", "mail of so many customers failed; or"},
	  {"messages", "N", "so many messages failed, whosesoever"},
	  {"within", "DURATION", "within this time"},
	  {"apart", "DURATION", "at least this long between the first and the last"},
	  {"keep", "DURATION", "how long such a domain is refused after the last failure, at most 30 days"},
	  {"most", "N", "new ones an hour: more of them, and our own resolver has the fault"}},
	 "Shows, and changes, which domains are refused for every customer.", cmd_suppress_domain_policy},

	{"endpoint", "add", "CUSTOMER URL",
	 {{"format", "waybill|sendgrid|mailgun|postmark|ses", "the shape of the JSON; default waybill"},
	  {"events", "TYPE,…", "only these types; default all"},
	  {"v1a", "yes|no", "sign with Ed25519 as well; default no"},
	  {"header", "\"NAME: VALUE\"", "a header field of its own, kept sealed"},
	  {"timeout", "SECONDS", "for a POST, at most 30; default [webhookd] timeout"},
	  {"batch", "N", "up to so many events in a POST (waybill, sendgrid); default 1"},
	  {"batch-wait", "SECONDS", "how long an event waits for others, where a batch is not full; default 1"},
	  {"client-certificate", "FILE", "what it is shown: certificates and key (PEM), kept sealed"}},
	 "Adds a webhook endpoint; its secret is made here and shown once.", cmd_endpoint_add},
	{"endpoint", "list", "",
	 {{"customer", "CUSTOMER", "only its endpoints"}},
	 "Lists endpoints.", cmd_endpoint_list},
	{"endpoint", "show", "ENDPOINT", {{0}},
	 "Shows one endpoint, how it fares and what it is owed.", cmd_endpoint_show},
	{"endpoint", "set", "ENDPOINT",
	 {{"url", "URL", "where it is now"},
	  {"format", "waybill|sendgrid|mailgun|postmark|ses", "the shape of the JSON"},
	  {"events", "TYPE,…", "only these types; empty for all"},
	  {"v1a", "yes|no", "sign with Ed25519 as well"},
	  {"header", "\"NAME: VALUE\"", "a header field of its own; empty for none"},
	  {"timeout", "SECONDS", "for a POST, at most 30; empty for [webhookd] timeout"},
	  {"batch", "N", "up to so many events in a POST (waybill, sendgrid); 1 for none"},
	  {"batch-wait", "SECONDS", "how long an event waits for others, where a batch is not full"},
	  {"client-certificate", "FILE", "what it is shown: certificates and key (PEM); empty for none"}},
	 "Changes an endpoint.", cmd_endpoint_set},
	{"endpoint", "pause", "ENDPOINT",
	 {{"reason", "TEXT", "stands in the list"}},
	 "Holds back what an endpoint is owed.", cmd_endpoint_pause},
	{"endpoint", "resume", "ENDPOINT", {{0}},
	 "Posts again to a paused or disabled endpoint, what was held back first. What happened while it was disabled is not owed to it: "
	 "says how much there is, and how to have it posted.", cmd_endpoint_resume},
	{"endpoint", "remove", "ENDPOINT", {{0}},
	 "Removes an endpoint and what it is owed; needs --yes.", cmd_endpoint_remove},
	{"endpoint", "rotate-secret", "ENDPOINT",
	 {{"keep", "DURATION", "how long the old secret signs as well; default \"24 hours\""}},
	 "Makes a new secret, shown once.", cmd_endpoint_rotate_secret},
	{"endpoint", "public-key", "ENDPOINT", {{0}},
	 "Prints the public keys that belong to the secret: of v1a, and of format sendgrid.", cmd_endpoint_public_key},
	{"endpoint", "test", "ENDPOINT", {{0}},
	 "Posts an event of type webhook.test and shows what the endpoint answered.", cmd_endpoint_test},
	{"endpoint", "replay", "ENDPOINT [EVENT…]",
	 {{"failed", NULL, "those whose ten attempts all failed"},
	  {"since", "TIME", "events from then on: 2026-11-20, or \"2 hours ago\""},
	  {"until", "TIME", "events before then"}},
	 "Posts events again: these, the failed ones, or those of a time.", cmd_endpoint_replay},
	{"endpoint", "log", "ENDPOINT",
	 {{"event", "EVENT", "only the attempts of this event or batch (webhook-id)"},
	  {"failed", NULL, "only attempts that failed"},
	  {"limit", "N", "so many at most; default 50"}},
	 "Lists attempts, the latest first.", cmd_endpoint_log},

	{"notice", "send", "", {{0}},
	 "Mails what is to be said about endpoints in trouble, once each, to customers' contacts and [ctl] notice_postmaster; "
	 "run it every minute, as an account of its own.", cmd_notice_send},
	{"notice", "list", "",
	 {{"customer", "CUSTOMER", "only its notices"}},
	 "Lists the notices of the last 30 days and what became of them.", cmd_notice_list},

	{"can", "", "LOGIN ADDRESS", {{0}},
	 "Says whether a login may send as an address, and why.", cmd_can},
	{"explain", "", "ID",
	 {{"spool", "FOLDER", "the event spool; default [common] spool"}},
	 "Shows what was known when a message was refused; ID stands in the reply behind id=.", cmd_explain},
	{"trace", "", "MESSAGE-ID|QUEUE-ID|ADDRESS", {{0}},
	 "Shows what happened to a message, or to all mail that went to an address, in its order. The address is that of "
	 "the delivery: what aliases made of it.", cmd_trace},
	{"lag", "", "",
	 {{"customer", "CUSTOMER", "only its endpoints"}},
	 "Shows how far the logs are read, and the seconds that webhooks took in the last hour.", cmd_lag},

	{"directory", "follow", "",
	 {{"once", NULL, "bring the snapshot up to date and exit"}},
	 "Keeps this node's snapshot of the directory; a service.", cmd_directory_follow},
	{"directory", "status", "", {{0}},
	 "Shows this node's snapshot, and how far every node's is.", cmd_directory_status},
	{"directory", "verify", "", {{0}},
	 "Checks every entry of this node's snapshot.", cmd_directory_verify},

	{"db", "migrate", "",
	 {{"dry-run", NULL, "only say what would be applied"},
	  {"role", "ROLE", "who makes it and owns it, as postgres; default [ctl] postgres's"}},
	 "Brings the database's schema up to date.", cmd_db_migrate},
	{"db", "status", "", {{0}},
	 "Says which migrations are applied.", cmd_db_status},

	{"seal", "init", "", {{0}},
	 "Makes the key files that seal DKIM keys and webhook secrets.", cmd_seal_init},
	{"seal", "rotate", "",
	 {{"new-key", NULL, "first step: put a new key in front of the key files"}},
	 "Seals everything anew under the first key of the key files.", cmd_seal_rotate},

	{"classify", "", "TEXT",
	 {{"code", "N", "the reply code, when TEXT does not begin with it"},
	  {"enhanced", "CODE", "the status, as Postfix's dsn="},
	  {"stage", "STAGE", "what was answered: \"RCPT TO\", \"end of DATA\", …"},
	  {"relay", "HOST", "who answered"},
	  {"rules", "PATH", "these rules instead of the configured ones"},
	  {"deferred", NULL, "it is tried again"},
	  {"expired", NULL, "it was given up"},
	  {"explain", NULL, "tell which rules had their words and why they did not speak"}},
	 "Judges a reply by the bounce rules; \"-\" reads JSON objects of these words, one a line.", cmd_classify},
	{"reclassify", "", "",
	 {{"dry-run", NULL, "required: stored events are not changed"},
	  {"customer", "CUSTOMER", "only this customer's"},
	  {"since", "TIME", "only events from this time on"},
	  {"rules", "PATH", "these rules instead of the configured ones"}},
	 "Lists stored bounces that the rules of today would judge otherwise.", cmd_reclassify},
	{"rules", "check", "[PATH]", {{0}},
	 "Looks for faults in bounce rules: what is never reached, covered, unescaped, without examples.",
	 cmd_rules_check},

	{"retention", "set", "CUSTOMER DAYS", {{0}},
	 "Sets how many days a customer's events are kept: 7 to 365.", cmd_retention_set},
	{"retention", "list", "", {{0}},
	 "Lists how long events are kept; the row without a customer is for all others.", cmd_retention_list},
	{"retention", "apply", "", {{0}},
	 "Makes the days ahead, and forgets events that nobody keeps any more, with what else names people and is as "
	 "old; of the audit, acts upon suppressions that are gone, after 400 days. For a daily timer.",
	 cmd_retention_apply},
	{"gdpr", "export", "ADDRESS", {{0}},
	 "Prints all that is stored about an address.", cmd_gdpr_export},
	{"gdpr", "erase", "ADDRESS",
	 {{"everything", NULL, "suppressions that the recipient asked for, too: mail may begin again"}},
	 "Takes an address out of all that is stored; needs --yes.", cmd_gdpr_erase},
	{"accounting", "write", "DIR",
	 {{"customer", "CUSTOMER", "only this customer's"},
	  {"format", "jsonl|csv", "JSON Lines, or CSV with PowerMTA's columns; default jsonl"},
	  {"zstd", NULL, "compressed: waybill-….jsonl.zst"},
	  {"until", "TIME", "hours that were over by then; default now"}},
	 "Writes DIR/CUSTOMER/, a file and a manifest for each hour that is over; for an hourly timer on one node.",
	 cmd_accounting_write},
	{"accounting", "verify", "DIR", {{0}},
	 "Checks the accounting files in DIR or DIR/CUSTOMER against their manifests, and the manifests' chain.", cmd_accounting_verify},

	{"audit", "list", "",
	 {{"object", "TEXT", "only objects with this in their name, as \"login app@acme\""},
	  {"who", "PERSON", "only what this person did"},
	  {"since", "TIME", "only from this time on"},
	  {"last", "N", "the last N of them; default 100"}},
	 "Lists who changed what, and when.", cmd_audit_list},
};
/* clang-format on */
const size_t command_count = sizeof(commands) / sizeof(*commands);

static int usage(const struct ctl *ctl, const char *why, int argc, char **argv)
{
	fprintf(stderr, "waybill: %s\n", why);
	if (ctl->command)
		fprintf(stderr, "next: waybill %s%s%s --help\n", ctl->command->noun, *ctl->command->verb ? " " : "",
			ctl->command->verb);
	else if (argc && command_noun_exists(argv[0]))
		fprintf(stderr, "next: waybill %s --help\n", argv[0]);
	else
		fputs("next: waybill --help\n", stderr);
	return EX_USAGE;
}

static bool has_word(int argc, char **argv, const char *word)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (!strcmp(argv[i], word))
			return true;
	return false;
}

/* Options in front of the command. Returns the number of words used; -1 when the answer was given already. */
static int take_front(int argc, char **argv, const char **file)
{
	int at = 1;
	if (at < argc && (!strcmp(argv[at], "-c") || !strcmp(argv[at], "--config"))) {
		*file = at + 1 < argc ? argv[at + 1] : "";
		at += 2;
	}
	if (at < argc && !strcmp(argv[at], "--version"))
		puts("waybill " WAYBILL_VERSION);
	else if (at < argc && !strcmp(argv[at], "--completion"))
		help_completion(stdout);
	else if (at + 1 < argc && !strcmp(argv[at], "--manual"))
		conf_manual(stdout, settings_rows, settings_count, argv[at + 1]);
	else if (at < argc && !strcmp(argv[at], "--manual"))
		help_manual(stdout);
	else if (at < argc && (!strcmp(argv[at], "--help") || !strcmp(argv[at], "help")))
		help_all(stdout);
	else
		return at;
	return -1;
}

static int load_settings(struct ctl *ctl)
{
	const char *file = ctl->file;
	char *error = NULL;
	/* The command line works with its defaults where nothing is configured; a file that was named must be there. */
	bool standard = !file && access(SETTINGS_FILE, F_OK);
	if (!conf_load(standard ? "/dev/null"
		       : file   ? file
				: SETTINGS_FILE,
		       settings_rows, settings_count, &ctl->settings, &error))
		return 0;
	int status = complain(EX_CONFIG, NULL, "%s", error);
	free(error);
	return status;
}

static int run(struct ctl *ctl)
{
	int status = load_settings(ctl);
	if (!status)
		status = ctl->command->run(ctl);
	database_close(ctl);
	conf_free(settings_rows, settings_count, &ctl->settings);
	if (fflush(stdout) || ferror(stdout))
		status = complain(EX_IOERR, NULL, "the answer could not be written");
	return status;
}

int main(int argc, char **argv)
{
	struct ctl ctl = {0};
#ifndef __SANITIZE_ADDRESS__ /* LeakSanitizer looks into the process, which this forbids */
	/* This process may hold unsealed keys and new passwords: no core dump shows them. */
	prctl(PR_SET_DUMPABLE, 0);
#endif
	int used = take_front(argc, argv, &ctl.file);
	if (used < 0)
		return 0;
	argc -= used;
	argv += used;
	const char *why = command_parse(argc, argv, &ctl);
	if (has_word(argc, argv, "--help")) {
		if (ctl.command)
			help_command(stdout, ctl.command);
		else if (argc && command_noun_exists(argv[0]))
			help_noun(stdout, argv[0]);
		else
			return usage(&ctl, why, argc, argv);
		return 0;
	}
	return why ? usage(&ctl, why, argc, argv) : run(&ctl);
}
