/* "waybill domain check": what DNS says about a domain's mail, against what the relay does. Each check is a row of the table
 * at the end; each finding is printed, kept in Postgres, and when it is worse than before, told as an event. */

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/digest.h"
#include "common/encode.h"
#include "common/event_id.h"
#include "ctl/check.h"
#include "ctl/cmd.h"
#include "ctl/cmd_internal.h"
#include "ctl/database.h"
#include "ctl/dmarc.h"
#include "ctl/dns_context.h"
#include "ctl/key_dns.h"
#include "ctl/spf.h"

enum status { GOOD, NOTE, WARNING, BROKEN, UNKNOWN, STATUS_MAX };
static const char *const status_names[STATUS_MAX] = {"good", "note", "warning", "broken", "unknown"};

struct check {
	struct ctl *ctl;
	struct authority authority;
	struct output *output;
	const char *domain, *customer;
	struct dmarc dmarc; /* as check_dmarc() found it, for alignment */
	bool has_dmarc;
	size_t broken;
	int exit_status;
};

static void tell(struct check *check, const char *name, const char *detail, const char *advice)
{
	unsigned char random[32];
	char id[EVENT_ID_SIZE];
	json_t *event = json_pack("{s:s, s:s, s:s, s:s}", "domain", check->domain, "check", name, "detail", detail,
				  "advice", advice);
	char *text = json_dumps(event, JSON_COMPACT);
	digest_random(random, sizeof(random));
	event_id_print(random, id);
	int status = database_query(
		check->ctl, "SELECT waybill.record_own_event($1, 'domain.dns_broken', $2, $3, $4::jsonb)",
		PARAMS(check->customer, id, check->ctl->settings.common.node ? check->ctl->settings.common.node : "-",
		       text),
		NULL);
	check->exit_status = status ? status : check->exit_status;
	free(text);
	json_decref(event);
}

static void found(struct check *check, const char *name, enum status status, const char *detail, const char *advice)
{
	struct pg_result *rows = NULL;
	output_row(check->output, json_pack("{s:s, s:s, s:s, s:s, s:s}", "domain", check->domain, "check", name,
					    "status", status_names[status], "detail", detail, "advice", advice));
	check->broken += status == BROKEN;
	int failed = database_query(check->ctl, "SELECT waybill.keep_domain_check($1, $2, $3, $4, $5)",
				    PARAMS(check->domain, name, status_names[status], detail, advice), &rows);
	if (failed)
		check->exit_status = failed;
	else if (pg_bool(rows, 0, 0))
		tell(check, name, detail, advice);
	pg_result_free(&rows);
}

/* PREFIX.DOMAIN's TXT records that begin with VERSION. */
static enum resolver_answer ask_txt(struct check *check, const char *prefix, const char *domain, const char *version,
				    struct dns_records *out)
{
	struct dns_records all = {0};
	struct buffer name = {0};
	buffer_format(&name, "%s%s%s", prefix, *prefix ? "." : "", domain);
	enum resolver_answer answer = resolver_ask(check->authority.resolver, buffer_view(&name), DNS_TXT, &all);
	for (size_t i = 0; i < all.count; i++)
		if (text_starts_fold(dns_record(&all, i), text_of(version)))
			buffer_text(&out->items[out->count++], dns_record(&all, i));
	dns_records_free(&all);
	buffer_free(&name);
	return answer == RESOLVER_FOUND && !out->count ? RESOLVER_NO_DATA : answer;
}

/* ---- DKIM ---- */

static void check_key(struct check *check, const struct pg_result *rows, size_t row)
{
	struct buffer public_key = {0}, detail = {0}, name = {0};
	bool active = text_equal(pg_field(rows, row, 2), TEXT("active"));
	bool ed25519 = text_equal(pg_field(rows, row, 1), text_of(dkim_algorithm_names[DIRECTORY_ED25519_SHA256]));
	pg_bytea(pg_field(rows, row, 3), &public_key);
	buffer_format(&name, "dkim %s", pg_string(rows, row, 0));
	struct key_dns_question question = {check->domain, pg_string(rows, row, 0),
					    ed25519 ? DIRECTORY_ED25519_SHA256 : DIRECTORY_RSA_SHA256,
					    buffer_view(&public_key)};
	switch (key_dns_ask(&check->authority, &question, &detail, NULL)) {
	case KEY_DNS_EVERYWHERE:
		found(check, buffer_string(&name), GOOD, buffer_string(&detail),
		      active ? "" : "waybill domain rotate --due");
		break;
	case KEY_DNS_NOT_YET:
		found(check, buffer_string(&name), active ? BROKEN : NOTE, buffer_string(&detail),
		      "publish the record: waybill domain records");
		break;
	case KEY_DNS_UNKNOWN: found(check, buffer_string(&name), UNKNOWN, buffer_string(&detail), ""); break;
	case KEY_DNS_MAX: break;
	}
	buffer_free(&public_key);
	buffer_free(&detail);
	buffer_free(&name);
}

static void check_dkim(struct check *check)
{
	struct pg_result *rows = NULL;
	check->exit_status =
		database_query(check->ctl,
			       "SELECT selector, algorithm, state, public_key FROM waybill.dkim_keys "
			       "WHERE domain = $1 AND state IN ('pending', 'active') ORDER BY created_at, selector",
			       PARAMS(check->domain), &rows);
	if (check->exit_status)
		return;
	if (!pg_rows(rows))
		found(check, "dkim", BROKEN, "the domain has no key that signs", "waybill domain rotate DOMAIN");
	for (size_t row = 0; row < pg_rows(rows); row++)
		check_key(check, rows, row);
	pg_result_free(&rows);
}

/* ---- SPF ---- */

static void spf_advice(struct check *check, const struct spf_answer *answer, struct buffer *out)
{
	const char *include = check->ctl->settings.spf_include;
	if (answer->lookups > SPF_MAX_LOOKUPS || answer->empty > SPF_MAX_EMPTY)
		buffer_text(out,
			    TEXT("remove terms: receivers stop at 10 lookups or 2 void ones with a permanent error"));
	else if (!strcmp(answer->result, "pass"))
		return;
	else if (!strcmp(answer->result, "permerror"))
		buffer_format(out, "mend the record: %s", answer->reason);
	else if (include)
		buffer_format(out, "add include:%s to the SPF record", include);
	else
		buffer_text(out, TEXT("add the address to the SPF record"));
}

static enum status spf_status(const struct spf_answer *answer)
{
	static const struct {
		const char *result;
		enum status status;
	} rows[] = {{"pass", GOOD},       {"none", WARNING}, {"neutral", WARNING},
		    {"softfail", BROKEN}, {"fail", BROKEN},  {"permerror", BROKEN}};
	/* libspf2 is laxer than RFC 7208 section 4.6.4, by which receivers answer permerror. */
	if (answer->lookups > SPF_MAX_LOOKUPS || answer->empty > SPF_MAX_EMPTY)
		return BROKEN;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (!strcmp(answer->result, rows[i].result))
			return rows[i].status;
	return UNKNOWN;
}

static void check_spf_of(struct check *check, const char *address, const char *domain)
{
	struct spf_answer answer;
	struct buffer name = {0}, detail = {0}, advice = {0};
	const struct settings *settings = &check->ctl->settings;
	spf_ask(settings->spf_check, settings->resolver, settings->dns_timeout_ms, address, domain, &answer);
	buffer_format(&name, "spf %s", address);
	buffer_format(&detail, "%s for %s; %u of %d lookups, %u of %d void", answer.result, domain, answer.lookups,
		      SPF_MAX_LOOKUPS, answer.empty, SPF_MAX_EMPTY);
	if (*answer.reason && strcmp(answer.result, "pass") != 0)
		buffer_format(&detail, ": %s", answer.reason);
	spf_advice(check, &answer, &advice);
	found(check, buffer_string(&name), spf_status(&answer), buffer_string(&detail), buffer_string(&advice));
	buffer_free(&name);
	buffer_free(&detail);
	buffer_free(&advice);
}

/* Whose SPF record counts: that of the envelope sender's domain. */
static const char *envelope_domain(const struct check *check)
{
	return check->ctl->settings.return_path ? check->ctl->settings.return_path : check->domain;
}

static void check_spf(struct check *check)
{
	struct text rest = text_of(check->ctl->settings.egress), piece;
	if (!rest.len)
		found(check, "spf", NOTE, "no address is configured to evaluate SPF for",
		      "set [ctl] egress in waybill.conf");
	while (rest.len && text_take(&rest, ',', &piece)) {
		char *address = text_copy(text_trim(piece));
		check_spf_of(check, address, envelope_domain(check));
		free(address);
	}
}

/* ---- DMARC and alignment ---- */

/* The organisational domain, by walking the tree (DMARCbis, "DNS Tree Walk"): of the names above that have a DMARC record
 * the one nearest the root, unless it says that it is a public suffix. Without any, the domain itself. */
static void organisation_of(struct check *check, const char *domain, struct buffer *out)
{
	const char *below = domain;
	buffer_text(out, text_of(domain));
	for (const char *name = domain; name && strchr(name, '.'); name = strchr(name, '.') + 1) {
		struct dns_records records = {0};
		struct dmarc dmarc;
		bool one = ask_txt(check, "_dmarc", name, "v=DMARC1", &records) == RESOLVER_FOUND &&
			   records.count == 1 && !dmarc_parse(dns_record(&records, 0), &dmarc);
		dns_records_free(&records);
		if (one) {
			out->len = 0;
			buffer_text(out, text_of(dmarc.public_suffix ? below : name));
		}
		if (one && (dmarc.organisation || dmarc.public_suffix))
			return;
		below = name;
	}
}

/* The record that governs the domain: its own, or its organisation's. */
static enum resolver_answer find_dmarc(struct check *check, struct dns_records *records)
{
	struct buffer organisation = {0};
	enum resolver_answer answer = ask_txt(check, "_dmarc", check->domain, "v=DMARC1", records);
	if (answer == RESOLVER_NO_DATA || answer == RESOLVER_NO_NAME) {
		organisation_of(check, check->domain, &organisation);
		if (strcmp(buffer_string(&organisation), check->domain) != 0)
			answer = ask_txt(check, "_dmarc", buffer_string(&organisation), "v=DMARC1", records);
	}
	buffer_free(&organisation);
	return answer;
}

static void check_dmarc(struct check *check)
{
	struct dns_records records = {0};
	struct buffer detail = {0};
	enum resolver_answer answer = find_dmarc(check, &records);
	const char *why = answer == RESOLVER_FOUND ? dmarc_parse(dns_record(&records, 0), &check->dmarc) : NULL;
	if (answer == RESOLVER_TROUBLE) {
		found(check, "dmarc", UNKNOWN, resolver_trouble(check->authority.resolver), "");
	} else if (answer != RESOLVER_FOUND) {
		found(check, "dmarc", WARNING, "there is no record; large receivers ask senders of bulk mail for one",
		      "publish at _dmarc: \"v=DMARC1; p=none; rua=mailto:ADDRESS\"");
	} else if (records.count > 1 || why) {
		found(check, "dmarc", BROKEN, why ? why : "there are several records, so receivers ignore them all",
		      "keep one");
	} else {
		check->has_dmarc = true;
		buffer_format(&detail, "p=%s, pct=%d, adkim=%s, aspf=%s", dmarc_policy_names[check->dmarc.policy],
			      (int)check->dmarc.percent, check->dmarc.strict_dkim ? "s" : "r",
			      check->dmarc.strict_spf ? "s" : "r");
		const char *next = dmarc_next_step(&check->dmarc);
		found(check, "dmarc", *next ? NOTE : GOOD, buffer_string(&detail), next);
	}
	dns_records_free(&records);
	buffer_free(&detail);
}

/* d= is the header From domain itself, always aligned; the return path may be the relay's. */
static void check_alignment(struct check *check)
{
	const char *envelope = envelope_domain(check);
	struct buffer own = {0}, theirs = {0}, detail = {0};
	organisation_of(check, check->domain, &own);
	organisation_of(check, envelope, &theirs);
	bool aligned = dmarc_aligned(text_of(check->domain), buffer_view(&own), text_of(envelope), buffer_view(&theirs),
				     check->has_dmarc && check->dmarc.strict_spf);
	buffer_format(&detail, "From and d= are %s: aligned; the return path is at %s: %s", check->domain, envelope,
		      aligned ? "aligned" : "not aligned");
	/* DMARC passes with either; without the other there is nothing to fall back on when a signature breaks. */
	found(check, "alignment", aligned ? GOOD : NOTE, buffer_string(&detail),
	      aligned ? ""
		      : "DMARC rests on DKIM alone; a return path below the customer's own domain would align SPF too");
	buffer_free(&own);
	buffer_free(&theirs);
	buffer_free(&detail);
}

/* ---- where mail comes back to ---- */

static void check_mail_exchanger(struct check *check, const char *name, const char *domain)
{
	struct dns_records records = {0};
	enum resolver_answer answer = resolver_ask(check->authority.resolver, text_of(domain), DNS_MX, &records);
	struct text first = dns_record(&records, 0);
	char text[ADDR_MAX_DOMAIN + 16];
	text_put(first, text, sizeof(text));
	/* RFC 7505: "0 ." says that the domain takes no mail; many receivers then refuse mail from it. */
	bool null_mx = answer == RESOLVER_FOUND && records.count == 1 && text_equal(text_trim(first), TEXT("0"));
	if (answer == RESOLVER_TROUBLE)
		found(check, name, UNKNOWN, resolver_trouble(check->authority.resolver), "");
	else if (null_mx)
		found(check, name, BROKEN, "null MX: the domain says that it takes no mail, not even bounces",
		      "publish an MX, or send from another domain");
	else if (answer == RESOLVER_FOUND)
		found(check, name, GOOD, text, "");
	else if (resolver_ask(check->authority.resolver, text_of(domain), DNS_A, &records) == RESOLVER_FOUND)
		found(check, name, NOTE, "no MX; mail comes to the host itself", "publish an MX");
	else
		found(check, name, BROKEN,
		      "neither MX nor address: bounces and answers cannot come back, many receivers refuse",
		      "publish an MX");
	dns_records_free(&records);
}

static void check_mx(struct check *check)
{
	check_mail_exchanger(check, "mx", check->domain);
	if (check->ctl->settings.return_path)
		check_mail_exchanger(check, "return-path mx", check->ctl->settings.return_path);
}

/* ---- what is only reported ---- */

static void report_txt(struct check *check, const char *name, const char *prefix, const char *version, const char *what)
{
	struct dns_records records = {0};
	char text[256];
	if (ask_txt(check, prefix, check->domain, version, &records) == RESOLVER_FOUND) {
		text_put(dns_record(&records, 0), text, sizeof(text));
		found(check, name, GOOD, text, "");
	} else {
		found(check, name, NOTE, what, "");
	}
	dns_records_free(&records);
}

static void check_others(struct check *check)
{
	report_txt(check, "mta-sts", "_mta-sts", "v=STSv1",
		   "none: others may send to this domain without TLS (RFC 8461)");
	report_txt(check, "tls-rpt", "_smtp._tls", "v=TLSRPTv1",
		   "none: nobody reports failing TLS to this domain (RFC 8460)");
	report_txt(check, "bimi", "default._bimi", "v=BIMI1",
		   "none: no logo in mailboxes; it needs p=quarantine or reject");
}

static void (*const checks[])(struct check *) = {check_dkim,      check_spf, check_dmarc,
						 check_alignment, check_mx,  check_others};

static int check_one(struct ctl *ctl, struct authority authority, struct output *output, const char *domain,
		     const char *customer, size_t *broken)
{
	struct check check = {
		.ctl = ctl, .authority = authority, .output = output, .domain = domain, .customer = customer};
	for (size_t i = 0; i < sizeof(checks) / sizeof(*checks) && !check.exit_status; i++)
		checks[i](&check);
	*broken += check.broken;
	return check.exit_status;
}

/* Exit status 69 when something is broken. */
int cmd_domain_check(struct ctl *ctl)
{
	struct pg_result *rows = NULL;
	char domain[ADDR_MAX_DOMAIN + 1];
	size_t broken = 0;
	const char *word = operand(ctl, 0);
	if (!word && !option_given(ctl, "all"))
		return complain(EX_USAGE, "waybill domain check DOMAIN, or: waybill domain check --all",
				"which domain?");
	int status = word ? check_domain(word, domain) : 0;
	if (!status && word)
		status = domain_require(ctl, domain);
	if (!status)
		status = database_query(
			ctl,
			"SELECT domain, customer FROM waybill.domains WHERE domain = coalesce($1, domain) ORDER BY 1",
			PARAMS(word ? domain : NULL), &rows);
	if (status)
		return status;
	struct authority authority = dns_open(&ctl->settings);
	struct output *output = output_new(OUTPUT_LIST, ctl->json);
	for (size_t row = 0; row < pg_rows(rows) && !status; row++)
		status = check_one(ctl, authority, output, pg_string(rows, row, 0), pg_string(rows, row, 1), &broken);
	output_end(&output, "no domains");
	dns_close(&authority);
	pg_result_free(&rows);
	return status ? status : broken ? EX_UNAVAILABLE : 0;
}
