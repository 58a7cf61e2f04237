#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "ctl/check.h"
#include "ctl/cmd.h"
#include "ctl/cmd_internal.h"
#include "ctl/database.h"
#include "ctl/password.h"
#include "ctl/takeover.h"

static int login_missing(const char *login)
{
	return complain(EX_NOUSER, "waybill login list", "there is no login \"%s\"", login);
}

static int change(struct ctl *ctl, const char *sql, const char *const *params, size_t count)
{
	int status;
	long rows = database_count(ctl, sql, params, count, &status);
	return rows < 0 ? status : rows ? 0 : login_missing(operand(ctl, 0));
}

/* The one time that a password is shown. */
static void show_password(struct ctl *ctl, const char *login, const char *password, const char *previous)
{
	struct output *output = output_new(OUTPUT_RECORD, ctl->json);
	json_t *row = json_pack("{s:s, s:s}", "login", login, "password", password);
	if (previous)
		json_object_set_new(row, "previous_valid_for", json_string(previous));
	output_row(output, row);
	output_end(&output, NULL);
	remark("the password is shown this once: hand it over now");
}

/* Adds the rights named in WORDS, comma-separated. */
static int add_rights(struct ctl *ctl, const char *login, const char *words, const char *allow)
{
	struct text rest = text_of(words), piece;
	int status = 0;
	while (!status && rest.len && text_take(&rest, ',', &piece)) {
		struct buffer pattern = {0};
		char *word = text_copy(text_trim(piece));
		status = check_pattern(word, &pattern);
		if (!status)
			status =
				database_query(ctl,
					       "INSERT INTO waybill.rights (login, pattern, allow) VALUES ($1, $2, $3) "
					       "ON CONFLICT (login, pattern) DO UPDATE SET allow = EXCLUDED.allow",
					       PARAMS(login, buffer_string(&pattern), allow), NULL);
		buffer_free(&pattern);
		free(word);
	}
	return status;
}

static int insert_login(struct ctl *ctl, const char *login, const char *networks, const char *hash)
{
	int status = customer_require(ctl, operand(ctl, 0));
	if (status)
		return status;
	long added = database_count(
		ctl,
		"INSERT INTO waybill.logins (login, customer, label, password_hash, expires_at, networks) "
		"VALUES ($1, $2, coalesce($3, ''), $4, waybill.point_in_time($5), $6::cidr[]) "
		"ON CONFLICT DO NOTHING RETURNING 1",
		PARAMS(login, operand(ctl, 0), option(ctl, "label"), hash, option(ctl, "expires"), networks), &status);
	if (added == 0)
		return complain(EX_CANTCREAT, "waybill login show LOGIN, or: waybill login rotate LOGIN",
				"login \"%s\" exists already: nothing was changed", login);
	return status;
}

int cmd_login_add(struct ctl *ctl)
{
	char login[CHECK_LOGIN_SIZE], password[PASSWORD_SIZE], hash[PASSWORD_HASH_SIZE];
	struct buffer networks = {0};
	const char *allow = option(ctl, "allow");
	int status = check_login(operand(ctl, 1), login);
	if (!status)
		status = check_networks(option(ctl, "networks") ? option(ctl, "networks") : "", &networks);
	if (!status)
		status = database_begin(ctl);
	if (!status) {
		password_make(password, hash);
		status = insert_login(ctl, login, buffer_string(&networks), hash);
	}
	if (!status)
		status = add_rights(ctl, login, allow ? allow : "*@owned", "true");
	if (!status)
		status = database_commit(ctl);
	if (!status)
		show_password(ctl, login, password, NULL);
	explicit_bzero(password, sizeof(password));
	buffer_free(&networks);
	return status;
}

int cmd_login_list(struct ctl *ctl)
{
	return database_print(
		ctl, OUTPUT_LIST, "no logins: waybill login add CUSTOMER LOGIN",
		"SELECT login, customer, label, enabled, suspended_at, expires_at, networks, rights, last_used_at "
		"FROM support.logins WHERE customer = coalesce($1, customer) ORDER BY customer, login",
		PARAMS(option(ctl, "customer")));
}

int cmd_login_show(struct ctl *ctl)
{
	const char *login = operand(ctl, 0);
	json_t *row;
	int status = database_row(
		ctl,
		"SELECT *, ARRAY(SELECT id || ': ' || spec FROM waybill.limits AS m WHERE m.customer = l.customer "
		"AND scope IN ('login', 'network') AND coalesce(m.login, l.login) = l.login ORDER BY id) AS limits "
		"FROM support.logins AS l WHERE login = lower($1)",
		PARAMS(login), &row);
	if (status || !row)
		return status ? status : login_missing(login);
	status = takeover_add(ctl, login, row);
	struct output *output = output_new(OUTPUT_RECORD, ctl->json);
	output_row(output, row);
	output_end(&output, NULL);
	return status;
}

/* Patterns, comma-separated; OUT gets them in normal form. */
static int check_destinations(const char *words, struct buffer *out)
{
	struct text rest = text_of(words), piece;
	int status = 0;
	while (!status && rest.len && text_take(&rest, ',', &piece)) {
		char *word = text_copy(text_trim(piece));
		if (out->len)
			buffer_char(out, ',');
		struct buffer pattern = {0};
		status = check_pattern(word, &pattern);
		buffer_text(out, buffer_view(&pattern));
		buffer_free(&pattern);
		free(word);
	}
	return status;
}

int cmd_login_set(struct ctl *ctl)
{
	struct buffer networks = {0}, destinations = {0};
	const char *words = option(ctl, "networks"), *expires = option(ctl, "expires");
	const char *patterns = option(ctl, "destinations");
	int status = words ? check_networks(words, &networks) : 0;
	if (!status && patterns)
		status = check_destinations(patterns, &destinations);
	if (!status)
		status = change(
			ctl,
			"UPDATE waybill.logins SET label = coalesce($2, label), "
			"networks = coalesce($3::cidr[], networks), expires_at = CASE WHEN $4 = 'never' THEN NULL "
			"WHEN $4 IS NULL THEN expires_at ELSE waybill.point_in_time($4) END, "
			"destinations = coalesce(string_to_array($5, ','), destinations) "
			"WHERE login = lower($1) RETURNING 1",
			PARAMS(operand(ctl, 0), option(ctl, "label"), words ? buffer_string(&networks) : NULL, expires,
			       patterns ? buffer_string(&destinations) : NULL));
	buffer_free(&networks);
	buffer_free(&destinations);
	return status;
}

#define ROTATION_OVERLAP "24 hours"

int cmd_login_rotate(struct ctl *ctl)
{
	char password[PASSWORD_SIZE], hash[PASSWORD_HASH_SIZE];
	const char *keep = option(ctl, "keep") ? option(ctl, "keep") : ROTATION_OVERLAP;
	password_make(password, hash);
	int status = change(
		ctl,
		"UPDATE waybill.logins SET previous_hash = password_hash, previous_until = now() + $3::interval, "
		"password_hash = $2 WHERE login = lower($1) RETURNING 1",
		PARAMS(operand(ctl, 0), hash, keep));
	if (!status)
		show_password(ctl, operand(ctl, 0), password, keep);
	explicit_bzero(password, sizeof(password));
	return status;
}

int cmd_login_disable(struct ctl *ctl)
{
	return change(ctl, "UPDATE waybill.logins SET enabled = false WHERE login = lower($1) RETURNING 1",
		      PARAMS(operand(ctl, 0)));
}

int cmd_login_enable(struct ctl *ctl)
{
	return change(ctl,
		      "UPDATE waybill.logins SET enabled = true, suspended_at = NULL, suspended_reason = '', "
		      "guard_since = now() WHERE login = lower($1) RETURNING 1",
		      PARAMS(operand(ctl, 0)));
}

int cmd_login_remove(struct ctl *ctl)
{
	if (!ctl->yes)
		return complain(EX_USAGE, "repeat it with --yes, or: waybill login disable LOGIN",
				"removing %s removes its rights and limits for good; mail that it has submitted is "
				"still delivered",
				operand(ctl, 0));
	return change(ctl, "DELETE FROM waybill.logins WHERE login = lower($1) RETURNING 1", PARAMS(operand(ctl, 0)));
}

static int change_rights(struct ctl *ctl, const char *allow)
{
	int status =
		database_exists(ctl, "SELECT FROM waybill.logins WHERE login = lower($1)", PARAMS(operand(ctl, 0)));
	char login[CHECK_LOGIN_SIZE];
	if (status)
		return status == 1 ? login_missing(operand(ctl, 0)) : status;
	status = check_login(operand(ctl, 0), login);
	if (!status)
		status = database_begin(ctl);
	for (size_t i = 0; !status && i < ctl->rest_count; i++)
		status = add_rights(ctl, login, ctl->rest[i], allow);
	return status ? status : database_commit(ctl);
}

int cmd_login_allow(struct ctl *ctl)
{
	return change_rights(ctl, "true");
}

int cmd_login_deny(struct ctl *ctl)
{
	return change_rights(ctl, "false");
}

int cmd_login_forget(struct ctl *ctl)
{
	int status;
	long rows =
		database_count(ctl, "DELETE FROM waybill.rights WHERE login = lower($1) AND pattern = $2 RETURNING 1",
			       PARAMS(operand(ctl, 0), operand(ctl, 1)), &status);
	return rows ? status
		    : complain(EX_NOUSER, "waybill login show LOGIN", "login \"%s\" has no right \"%s\"",
			       operand(ctl, 0), operand(ctl, 1));
}
