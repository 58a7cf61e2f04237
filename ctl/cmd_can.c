/* Explains whether a login may use an address, with the rules that policyd and the milter apply (common/rights.h). */

#include <string.h>
#include <sysexits.h>

#include "common/rights.h"
#include "ctl/check.h"
#include "ctl/cmd.h"
#include "ctl/cmd_internal.h"
#include "ctl/database.h"

struct question {
	const char *login;
	struct addr address;
	char customer[64];
	bool owned;
};

/* Whose is the login, and does that customer own the address's domain? */
static int find_owner(struct ctl *ctl, struct question *question)
{
	struct pg_result *result = NULL;
	struct buffer domain = {0};
	buffer_text(&domain, question->address.domain);
	int status = database_query(
		ctl,
		"SELECT l.customer, EXISTS (SELECT FROM waybill.domains AS d WHERE d.customer = l.customer "
		"AND d.domain = lower($2)) FROM waybill.logins AS l WHERE login = lower($1)",
		PARAMS(question->login, buffer_string(&domain)), &result);
	buffer_free(&domain);
	if (status)
		return status;
	if (!pg_rows(result))
		status = complain(EX_NOUSER, "waybill login list", "there is no login \"%s\"", question->login);
	else
		text_put(pg_field(result, 0, 0), question->customer, sizeof(question->customer));
	question->owned = !status && pg_bool(result, 0, 1);
	pg_result_free(&result);
	return status;
}

static int judge(struct ctl *ctl, const struct question *question, struct rights_check *check, char *by, size_t size)
{
	struct pg_result *result = NULL;
	int status = database_query(ctl, "SELECT allow, pattern FROM waybill.rights WHERE login = lower($1)",
				    PARAMS(question->login), &result);
	if (status)
		return status;
	rights_begin(check, question->address, question->owned);
	for (size_t i = 0; i < pg_rows(result); i++)
		rights_add(check, (struct right){pg_bool(result, i, 0), pg_field(result, i, 1)});
	text_put(check->by.pattern, by, size);
	pg_result_free(&result);
	return 0;
}

static const char *reason(const struct rights_check *check, const struct question *question, const char *by,
			  struct buffer *out)
{
	switch (check->verdict) {
	case RIGHTS_ALLOWED: buffer_format(out, "the right \"%s\" matches and no deny does", by); break;
	case RIGHTS_DENIED: buffer_format(out, "the deny \"%s\" matches; a deny beats every allow", by); break;
	case RIGHTS_UNMATCHED:
		buffer_format(out, "no right matches%s",
			      question->owned ? "" : "; and the domain is not one of its customer's");
		break;
	case RIGHTS_MAX: break;
	}
	return buffer_string(out);
}

static void print_answer(struct ctl *ctl, const struct question *question, const struct rights_check *check,
			 const char *by)
{
	struct buffer why = {0}, next = {0};
	bool allowed = check->verdict == RIGHTS_ALLOWED;
	struct output *output = output_new(OUTPUT_RECORD, ctl->json);
	json_t *row = json_pack("{s:s, s:s, s:b, s:s, s:s, s:b}", "login", question->login, "address", operand(ctl, 1),
				"allowed", allowed, "reason", reason(check, question, by, &why), "customer",
				question->customer, "owned_domain", question->owned);
	if (check->verdict == RIGHTS_UNMATCHED)
		buffer_format(&next, "waybill login allow %s %s", question->login, operand(ctl, 1));
	else if (check->verdict == RIGHTS_DENIED)
		buffer_format(&next, "waybill login forget %s \"%s\"", question->login, by);
	if (next.len)
		json_object_set_new(row, "next", json_string(buffer_string(&next)));
	output_row(output, row);
	output_end(&output, NULL);
	buffer_free(&why);
	buffer_free(&next);
}

/* Exit status 0: it may; 69: it may not. */
int cmd_can(struct ctl *ctl)
{
	struct question question = {.login = operand(ctl, 0)};
	struct rights_check check;
	char key[ADDR_MAX + 1], by[ADDR_MAX + 2] = "";
	const char *address = operand(ctl, 1);
	bool null_sender = !strcmp(address, "<>");
	int status = null_sender ? 0 : check_address(address, key);
	if (status)
		return status;
	if (!null_sender && addr_parse(text_of(key), &question.address))
		return complain(EX_DATAERR, NULL, "address \"%s\" cannot be read", address);
	status = find_owner(ctl, &question);
	if (!status)
		status = judge(ctl, &question, &check, by, sizeof(by));
	if (status)
		return status;
	print_answer(ctl, &question, &check, by);
	return check.verdict == RIGHTS_ALLOWED ? 0 : EX_UNAVAILABLE;
}
