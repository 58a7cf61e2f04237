/* Notices of endpoints in trouble, by mail. webhookd only writes them down: it holds the webhook secrets and speaks with
 * strangers, so it neither runs other programs nor speaks SMTP, and keeps NoNewPrivileges=, which sendmail's setgid postdrop
 * cannot live with. This command runs beside it, every minute, as an account that may do nothing else. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/memory.h"
#include "ctl/cmd.h"
#include "ctl/database.h"
#include "ctl/notice.h"
#include "ctl/sendmail.h"

/* In one run: a network of our own that fails must not flood anybody. The next run goes on. */
#define NOTICES_MAX 1000
#define MAILS_MAX   100

#define HOST_SIZE 256

enum {
	ID,
	CUSTOMER,
	CONTACT,
	ENDPOINT,
	URL,
	TYPE,
	REASON,
	SINCE,
	FAILURES,
	CUSTOMER_TOLD,
	POSTMASTER_TOLD,
	COLUMN_MAX
};
static const char take_sql[] = "SELECT id, customer, contact, endpoint, url, type, reason, "
			       "to_char(failing_since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC', failures, "
			       "customer_told, postmaster_told FROM waybill.take_notices($1)";

struct sending {
	struct ctl *ctl;
	const struct pg_result *rows;
	char host[HOST_SIZE];
	char sender[HOST_SIZE + 16];
	size_t mails, failed;
};

static void add_notice(const struct pg_result *rows, size_t row, struct notice *notice)
{
	*notice = (struct notice){.customer = pg_field(rows, row, CUSTOMER),
				  .endpoint = pg_field(rows, row, ENDPOINT),
				  .url = pg_field(rows, row, URL),
				  .type = pg_field(rows, row, TYPE),
				  .reason = pg_field(rows, row, REASON),
				  .since = pg_field(rows, row, SINCE),
				  .failures = pg_int(rows, row, FAILURES)};
}

/* Whom a mail goes to, and the column that says whether it did. */
struct recipient {
	const char *address; /* empty: nobody */
	const char *kind;
	int told;
};

/* A run of rows. */
struct some {
	size_t row, count;
};

/* Those of SOME that RECIPIENT has not been told yet, as an array of ids and, if NOTICES is not NULL, there. */
static size_t untold(const struct sending *s, struct some some, const struct recipient *recipient, struct buffer *ids,
		     struct notice *notices)
{
	size_t count = 0;
	buffer_char(ids, '{');
	for (size_t row = some.row; row < some.row + some.count; row++) {
		if (recipient && pg_bool(s->rows, row, recipient->told))
			continue;
		if (notices)
			add_notice(s->rows, row, &notices[count]);
		buffer_format(ids, "%s%s", count++ ? "," : "", pg_string(s->rows, row, ID));
	}
	buffer_char(ids, '}');
	return count;
}

static int change(const struct sending *s, const char *sql, const char *ids, const char *word)
{
	return database_query(s->ctl, sql, PARAMS(ids, word), NULL);
}

static int settle(const struct sending *s, struct some some, const char *outcome)
{
	struct buffer ids = {0};
	untold(s, some, NULL, &ids, NULL);
	int status = change(s, "SELECT waybill.settle_notices($1::bigint[], $2)", buffer_string(&ids), outcome);
	buffer_free(&ids);
	return status;
}

/* Those that were taken and are beyond this run: as if they had not been. */
static int release(const struct sending *s, struct some some)
{
	struct buffer ids = {0};
	untold(s, some, NULL, &ids, NULL);
	int status = database_query(s->ctl, "SELECT waybill.release_notices($1::bigint[])", PARAMS(buffer_string(&ids)),
				    NULL);
	buffer_free(&ids);
	return status;
}

/* NOTICES, whose array of ids is IDS, in one mail. NULL, or why not, in WHY. */
static const char *send_mail(struct sending *s, const struct recipient *to, const char *ids,
			     const struct notice *notices, size_t count, char *why, size_t size)
{
	char date[64], id[HOST_SIZE + 64];
	time_t now = time(NULL);
	struct tm utc;
	struct buffer mail = {0};
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", gmtime_r(&now, &utc));
	/* The same if it has to be sent again. */
	snprintf(id, sizeof(id), "notice.%.*s.%s@%s", (int)strcspn(ids + 1, ",}"), ids + 1, to->kind, s->host);
	notice_compose(&(struct notice_mail){.from = text_of(s->sender),
					     .to = text_of(to->address),
					     .date = text_of(date),
					     .message_id = text_of(id)},
		       notices, count, &mail);
	const char *wrong =
		sendmail_send(s->ctl->settings.sendmail, s->sender, to->address, buffer_view(&mail), why, size);
	s->mails++;
	buffer_free(&mail);
	return wrong;
}

/* What RECIPIENT has not been told yet. *DONE: nothing is left to tell. */
static int tell(struct sending *s, struct some some, const struct recipient *recipient, bool *done)
{
	char why[512];
	int status = 0;
	struct buffer ids = {0};
	struct notice *notices = memory_zero(some.count, sizeof(*notices));
	size_t count = *recipient->address ? untold(s, some, recipient, &ids, notices) : 0;
	const char *wrong = NULL;
	if (count)
		wrong = send_mail(s, recipient, buffer_string(&ids), notices, count, why, sizeof(why));
	if (wrong)
		complain(EX_TEMPFAIL, "is [ctl] sendmail right? it is tried again in ten minutes",
			 "notices of %s to the %s: %s", pg_string(s->rows, some.row, CUSTOMER), recipient->kind, why);
	else if (count)
		status = change(s, "SELECT waybill.told_notices($1::bigint[], $2)", buffer_string(&ids),
				recipient->kind);
	*done = !wrong;
	buffer_free(&ids);
	free(notices);
	return status;
}

/* One customer's, to its contact and to the postmaster: one that cannot be told keeps nothing from the other. What could
 * not be sent is taken again later. */
static int send_customer(struct sending *s, struct some some)
{
	const char *contact = pg_string(s->rows, some.row, CONTACT), *postmaster = s->ctl->settings.notice_postmaster;
	bool alone = !postmaster || strcmp(contact, postmaster) == 0;
	const struct recipient customer = {contact, "customer", CUSTOMER_TOLD};
	const struct recipient other = {alone ? "" : postmaster, "postmaster", POSTMASTER_TOLD};
	bool told_customer, told_other;
	if (!*contact && alone)
		return settle(s, some, "nobody");
	int status = tell(s, some, &customer, &told_customer);
	if (!status)
		status = tell(s, some, &other, &told_other);
	if (status)
		return status;
	if (told_customer && told_other)
		return settle(s, some, "sent");
	s->failed += some.count;
	return 0;
}

static size_t same_customer(const struct pg_result *rows, size_t row)
{
	size_t count = 1;
	while (row + count < pg_rows(rows) &&
	       text_equal(pg_field(rows, row, CUSTOMER), pg_field(rows, row + count, CUSTOMER)))
		count++;
	return count;
}

static void name_sender(struct sending *s)
{
	const char *sender = s->ctl->settings.notice_sender;
	if (gethostname(s->host, sizeof(s->host) - 1))
		text_put(TEXT("localhost"), s->host, sizeof(s->host));
	if (sender)
		text_put(text_of(sender), s->sender, sizeof(s->sender));
	else
		snprintf(s->sender, sizeof(s->sender), "postmaster@%s", s->host);
}

/* Not as the admin that the other commands are. */
static void take_own_role(struct settings *settings)
{
	char *admin = settings->postgres;
	settings->postgres = settings->notice_postgres;
	settings->notice_postgres = admin;
}

int cmd_notice_send(struct ctl *ctl)
{
	struct pg_result *rows;
	struct sending s = {.ctl = ctl};
	char most[24];
	take_own_role(&ctl->settings);
	snprintf(most, sizeof(most), "%d", NOTICES_MAX);
	int status = database_query(ctl, take_sql, PARAMS(most), &rows);
	if (status)
		return status;
	s.rows = rows;
	name_sender(&s);
	size_t row = 0;
	while (row < pg_rows(rows) && !status && s.mails < MAILS_MAX) {
		size_t count = same_customer(rows, row);
		status = send_customer(&s, (struct some){row, count});
		row += count;
	}
	if (!status && row < pg_rows(rows))
		status = release(&s, (struct some){row, pg_rows(rows) - row});
	if (!status && s.mails)
		remark("%zu mails handed to %s", s.mails, ctl->settings.sendmail);
	pg_result_free(&rows);
	return status ? status : s.failed ? EX_TEMPFAIL : 0;
}

int cmd_notice_list(struct ctl *ctl)
{
	return database_print(
		ctl, OUTPUT_LIST, "no notices: no endpoint was in trouble in the last 30 days",
		"SELECT created_at, customer, endpoint, type, failing_since, failures, settled_at, outcome "
		"FROM support.notices WHERE customer = coalesce($1, customer) ORDER BY created_at DESC",
		PARAMS(option(ctl, "customer")));
}
