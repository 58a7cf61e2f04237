#include <string.h>
#include <sysexits.h>

#include "common/takeover.h"

#include "ctl/check.h"
#include "ctl/cmd.h"
#include "ctl/cmd_internal.h"
#include "ctl/database.h"

#define MAX_RECIPIENTS 1000000

static const char *const header_from_names[] = {"off", "log", "enforce"};
static const char *const on_off_names[] = {"on", "off"};
#define MAX_URL       508 /* as the table's CHECK */
#define MAX_TRANSPORT 255

int customer_missing(const char *customer)
{
	return complain(EX_NOUSER, "waybill customer list", "there is no customer \"%s\"", customer);
}

int customer_require(struct ctl *ctl, const char *customer)
{
	int status = database_exists(ctl, "SELECT FROM waybill.customers WHERE customer = $1", PARAMS(customer));
	return status == 1 ? customer_missing(customer) : status;
}

/* Runs a change of one customer that returns a row when there was one. */
static int change(struct ctl *ctl, const char *sql, const char *const *params, size_t count)
{
	int status;
	long rows = database_count(ctl, sql, params, count, &status);
	return rows < 0 ? status : rows ? 0 : customer_missing(operand(ctl, 0));
}

/* What stands in a header field between angle brackets: printable ASCII without blanks and brackets. */
static bool is_url_template(const char *url)
{
	static const char scheme[] = "https://";
	size_t len = strlen(url);
	if (strncmp(url, scheme, sizeof scheme - 1) != 0 || len < sizeof scheme || len > MAX_URL)
		return false;
	for (const char *c = url; *c; c++)
		if (*c <= ' ' || *c > '~' || *c == '<' || *c == '>')
			return false;
	return true;
}

static int check_mail_settings(struct ctl *ctl)
{
	const char *return_path = option(ctl, "return-path"), *url = option(ctl, "list-unsubscribe");
	int status = return_path ? check_choice("return-path", return_path, on_off_names, 2) : 0;
	if (status || !url || !*url || is_url_template(url))
		return status;
	return complain(EX_DATAERR, NULL,
			"\"%s\" is no https URL of at most 508 bytes; an example is "
			"\"https://unsubscribe.example/{token}\"",
			url);
}

/* transport(5), as the table's CHECK: a service of master.cf, a colon, the next hop. */
static int check_transport(const char *transport)
{
	size_t name = strspn(transport, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
	bool printable = true;
	for (const char *c = transport; *c; c++)
		printable = printable && *c > ' ' && *c <= '~';
	if (!*transport || (name && transport[name] == ':' && printable && strlen(transport) <= MAX_TRANSPORT))
		return 0;
	return complain(
		EX_DATAERR, NULL,
		"\"%s\" is no transport of Postfix; an example is \"smtp-acme:\", with the service smtp-acme in "
		"master.cf",
		transport);
}

static int check_settings(struct ctl *ctl)
{
	const char *from = option(ctl, "header-from"), *zone = option(ctl, "time-zone");
	const char *takeover = option(ctl, "takeover");
	int status = from ? check_choice("header-from", from, header_from_names, 3) : 0;
	if (!status && takeover)
		status = check_choice("takeover", takeover, takeover_action_names, TAKEOVER_ACTION_MAX);
	if (!status)
		status = check_mail_settings(ctl);
	if (!status && option(ctl, "transport"))
		status = check_transport(option(ctl, "transport"));
	if (status || !zone)
		return status;
	status = database_exists(ctl, "SELECT FROM pg_timezone_names WHERE name = $1", PARAMS(zone));
	return status == 1 ? complain(EX_DATAERR, NULL, "there is no time zone \"%s\"; an example is \"Europe/Berlin\"",
				      zone)
			   : status;
}

static int check_contact(struct ctl *ctl)
{
	char key[ADDR_MAX + 1];
	const char *contact = option(ctl, "contact");
	return contact && *contact ? check_address(contact, key) : 0;
}

static int write_contact(struct ctl *ctl)
{
	char key[ADDR_MAX + 1] = "";
	const char *contact = option(ctl, "contact");
	if (!contact)
		return 0;
	int status = *contact ? check_address(contact, key) : 0;
	return status ? status
		      : database_query(ctl, "UPDATE waybill.customers SET contact = $2 WHERE customer = $1",
				       PARAMS(operand(ctl, 0), key), NULL);
}

int cmd_customer_add(struct ctl *ctl)
{
	const char *customer = operand(ctl, 0);
	int status = check_customer(customer);
	if (!status)
		status = check_settings(ctl);
	if (!status)
		status = check_contact(ctl);
	if (status)
		return status;
	long added = database_count(
		ctl,
		"INSERT INTO waybill.customers (customer, title, plan, time_zone, header_from, return_path, "
		"list_unsubscribe, takeover, transport) VALUES ($1, coalesce($2, ''), coalesce($3, ''), coalesce($4, "
		"'UTC'), "
		"coalesce($5, 'enforce'), coalesce($6::boolean, false), coalesce($7, ''), coalesce($8, 'alert'), "
		"coalesce($9, '')) "
		"ON CONFLICT DO NOTHING RETURNING 1",
		PARAMS(customer, option(ctl, "title"), option(ctl, "plan"), option(ctl, "time-zone"),
		       option(ctl, "header-from"), option(ctl, "return-path"), option(ctl, "list-unsubscribe"),
		       option(ctl, "takeover"), option(ctl, "transport")),
		&status);
	if (added < 0)
		return status;
	if (!added)
		return complain(EX_CANTCREAT, "waybill customer show CUSTOMER",
				"customer \"%s\" exists already: nothing was changed", customer);
	status = write_contact(ctl);
	if (status)
		return status;
	remark("customer %s added; next: waybill domain add %s DOMAIN, waybill login add %s LOGIN", customer, customer,
	       customer);
	return 0;
}

int cmd_customer_list(struct ctl *ctl)
{
	return database_print(ctl, OUTPUT_LIST, "no customers: waybill customer add CUSTOMER",
			      "SELECT customer, title, plan, status, logins, domains FROM support.customers "
			      "WHERE status = coalesce($1, status) ORDER BY customer",
			      PARAMS(option(ctl, "status")));
}

int cmd_customer_show(struct ctl *ctl)
{
	int status = customer_require(ctl, operand(ctl, 0));
	if (status)
		return status;
	return database_print(
		ctl, OUTPUT_RECORD, NULL,
		"SELECT c.customer, title, plan, contact, status, status_reason, status_until, time_zone, "
		"max_recipients, "
		"header_from, "
		"return_path, list_unsubscribe, takeover, transport, "
		"created_at, ARRAY(SELECT login FROM waybill.logins WHERE customer = $1 ORDER BY 1) AS logins, "
		"ARRAY(SELECT domain FROM waybill.domains WHERE customer = $1 ORDER BY 1) AS domains, "
		"ARRAY(SELECT id FROM waybill.limits WHERE customer = $1 ORDER BY 1) AS limits, "
		"(SELECT count(*) FROM waybill.suppressions WHERE customer = $1) AS suppressions "
		"FROM waybill.customers AS c WHERE c.customer = $1",
		PARAMS(operand(ctl, 0)));
}

static int check_recipients(const char *word)
{
	uint64_t value;
	const char *why = word ? text_uint(text_of(word), MAX_RECIPIENTS, &value) : NULL;
	return why ? complain(EX_DATAERR, NULL, "max-recipients \"%s\": %s; an example is 100", word, why) : 0;
}

int cmd_customer_set(struct ctl *ctl)
{
	int status = check_settings(ctl);
	if (!status)
		status = check_recipients(option(ctl, "max-recipients"));
	if (!status)
		status = check_contact(ctl);
	if (status)
		return status;
	status = change(ctl,
			"UPDATE waybill.customers SET max_recipients = coalesce($8::integer, max_recipients), "
			"title = coalesce($2, title), plan = coalesce($3, plan), "
			"time_zone = coalesce($4, time_zone), header_from = coalesce($5, header_from), "
			"return_path = coalesce($6::boolean, return_path), "
			"list_unsubscribe = coalesce($7, list_unsubscribe), takeover = coalesce($9, takeover), "
			"transport = coalesce($10, transport) "
			"WHERE customer = $1 RETURNING 1",
			PARAMS(operand(ctl, 0), option(ctl, "title"), option(ctl, "plan"), option(ctl, "time-zone"),
			       option(ctl, "header-from"), option(ctl, "return-path"), option(ctl, "list-unsubscribe"),
			       option(ctl, "max-recipients"), option(ctl, "takeover"), option(ctl, "transport")));
	return status ? status : write_contact(ctl);
}

int cmd_customer_suspend(struct ctl *ctl)
{
	int status = change(ctl,
			    "UPDATE waybill.customers SET status = 'suspended', status_reason = coalesce($2, ''), "
			    "status_until = waybill.point_in_time($3) WHERE customer = $1 RETURNING 1",
			    PARAMS(operand(ctl, 0), option(ctl, "reason"), option(ctl, "until")));
	if (!status)
		remark("new mail of %s is refused from now on; what is in the queue is still delivered "
		       "(postqueue -p shows it)",
		       operand(ctl, 0));
	return status;
}

int cmd_customer_resume(struct ctl *ctl)
{
	return change(ctl,
		      "UPDATE waybill.customers SET status = 'active', status_reason = '', status_until = NULL "
		      "WHERE customer = $1 RETURNING 1",
		      PARAMS(operand(ctl, 0)));
}

/* Messages of a customer that a queue still holds, as far as the bouncers have read the logs. */
static int count_open(struct ctl *ctl, const char *customer, int64_t *messages)
{
	struct pg_result *rows = NULL;
	int status = database_query(ctl,
				    "SELECT count(*) FROM waybill.open_messages AS o WHERE EXISTS (SELECT "
				    "FROM waybill.events AS e WHERE e.customer = $1 AND e.queue_id = o.queue_id "
				    "AND e.host = o.host AND e.instance = o.instance AND e.type = 'message.accepted')",
				    PARAMS(customer), &rows);
	*messages = status ? 0 : pg_int(rows, 0, 0);
	pg_result_free(&rows);
	return status;
}

static int warn_of_removal(const char *customer, int64_t messages)
{
	struct buffer next = {0};
	buffer_format(&next, "repeat it with --yes, or refuse new mail alone: waybill customer suspend %s", customer);
	int status = complain(EX_USAGE, buffer_string(&next),
			      "removing %s removes its logins, domains, DKIM keys, limits, suppressions and endpoints "
			      "for good, and its "
			      "new mail is refused; messages in the queue: %lld; they are signed already and are still "
			      "delivered (leave "
			      "the DKIM records in DNS for 7 days), their events are kept, no webhook is sent",
			      customer, (long long)messages);
	buffer_free(&next);
	return status;
}

int cmd_customer_remove(struct ctl *ctl)
{
	const char *customer = operand(ctl, 0);
	int64_t messages;
	int status = customer_require(ctl, customer);
	if (!status)
		status = count_open(ctl, customer, &messages);
	if (status)
		return status;
	if (!ctl->yes)
		return warn_of_removal(customer, messages);
	status = change(ctl, "DELETE FROM waybill.customers WHERE customer = $1 RETURNING 1", PARAMS(customer));
	if (!status && messages)
		remark("%lld messages of %s are still in the queue and are delivered: postqueue -p shows them",
		       (long long)messages, customer);
	return status;
}
