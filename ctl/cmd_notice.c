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

enum { ID, CUSTOMER, CONTACT, ENDPOINT, URL, TYPE, REASON, SINCE, FAILURES, COLUMN_MAX };
static const char take_sql[] = "SELECT id, customer, contact, endpoint, url, type, reason, "
			       "to_char(failing_since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC', failures "
			       "FROM waybill.take_notices($1)";

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

/* COUNT notices from ROW on in one mail. NULL, or why not, in WHY. */
static const char *send_mail(struct sending *s, const char *to, const char *kind, size_t row, size_t count, char *why,
			     size_t size)
{
	char date[64], id[HOST_SIZE + 64];
	time_t now = time(NULL);
	struct tm utc;
	struct buffer mail = {0};
	struct notice *notices = memory_zero(count, sizeof(*notices));
	for (size_t i = 0; i < count; i++)
		add_notice(s->rows, row + i, &notices[i]);
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", gmtime_r(&now, &utc));
	/* The same if it has to be sent again. */
	snprintf(id, sizeof(id), "notice.%s.%s@%s", pg_string(s->rows, row, ID), kind, s->host);
	notice_compose(&(struct notice_mail){.from = text_of(s->sender),
					     .to = text_of(to),
					     .date = text_of(date),
					     .message_id = text_of(id)},
		       notices, count, &mail);
	const char *wrong = sendmail_send(s->ctl->settings.sendmail, s->sender, to, buffer_view(&mail), why, size);
	s->mails++;
	buffer_free(&mail);
	free(notices);
	return wrong;
}

static int settle(struct sending *s, size_t row, size_t count, const char *outcome)
{
	struct buffer ids = {0};
	for (size_t i = 0; i < count; i++)
		buffer_format(&ids, "%s%s", i ? "," : "{", pg_string(s->rows, row + i, ID));
	buffer_char(&ids, '}');
	int status = database_query(s->ctl, "SELECT waybill.settle_notices($1::bigint[], $2)",
				    PARAMS(buffer_string(&ids), outcome), NULL);
	buffer_free(&ids);
	return status;
}

/* One customer's, to its contact and to the postmaster. Those that cannot be sent are taken again later. */
static int send_customer(struct sending *s, size_t row, size_t count)
{
	char why[512];
	const char *contact = pg_string(s->rows, row, CONTACT), *postmaster = s->ctl->settings.notice_postmaster;
	const char *wrong = NULL;
	if (!*contact && !postmaster)
		return settle(s, row, count, "nobody");
	if (*contact)
		wrong = send_mail(s, contact, "customer", row, count, why, sizeof(why));
	if (!wrong && postmaster && strcmp(contact, postmaster) != 0)
		wrong = send_mail(s, postmaster, "postmaster", row, count, why, sizeof(why));
	if (!wrong)
		return settle(s, row, count, "sent");
	s->failed += count;
	complain(EX_TEMPFAIL, "is [ctl] sendmail right? it is tried again in ten minutes", "notices of %s: %s",
		 pg_string(s->rows, row, CUSTOMER), why);
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
	for (size_t row = 0; row < pg_rows(rows) && !status && s.mails < MAILS_MAX;) {
		size_t count = same_customer(rows, row);
		status = send_customer(&s, row, count);
		row += count;
	}
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
