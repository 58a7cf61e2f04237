#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "milter/reply.h"

const char *const reply_ids[REPLY_MAX + 1] = {
	[REPLY_NONE] = "none",
	[REPLY_TROUBLE] = "trouble",
	[REPLY_LOGIN_CHANGED] = "login-changed",
	[REPLY_LOGIN_UNKNOWN] = "login-unknown",
	[REPLY_LOGIN_DISABLED] = "login-disabled",
	[REPLY_LOGIN_SUSPENDED] = "login-suspended",
	[REPLY_LOGIN_EXPIRED] = "login-expired",
	[REPLY_CUSTOMER_SUSPENDED] = "customer-suspended",
	[REPLY_HEADER_TOO_LARGE] = "header-too-large",
	[REPLY_FROM_MISSING] = "from-missing",
	[REPLY_FROM_SEVERAL] = "from-several",
	[REPLY_FROM_MALFORMED] = "from-malformed",
	[REPLY_FROM_NOT_OWNED] = "from-not-owned",
	[REPLY_FROM_FOREIGN] = "from-foreign",
	[REPLY_SENDER_SEVERAL] = "sender-several",
	[REPLY_SENDER_MALFORMED] = "sender-malformed",
	[REPLY_SENDER_NOT_OWNED] = "sender-not-owned",
	[REPLY_SENDER_FOREIGN] = "sender-foreign",
	[REPLY_ANNOTATION] = "annotation",
	[REPLY_UNSAFE] = "unsafe",
	[REPLY_LIMIT_DEFERRED] = "limit",
	[REPLY_LIMIT_REJECTED] = "limit-rejected",
	[REPLY_LIMIT_NEVER] = "limit-never",
	[REPLY_TOO_MANY_DESTINATIONS] = "too-many-destinations",
	[REPLY_NO_KEY] = "no-key",
	[REPLY_SIGNING_FAILED] = "signing-failed",
};

/* Codes: RFC 5321 section 4.2, RFC 3463, RFC 7504 and Postfix's own choices (525 5.7.13 is RFC 5248's registered
 * "user account disabled"). Words in braces come from struct reply_words. */
static const struct row {
	const char *code, *enhanced, *text;
} rows[REPLY_MAX] = {
	[REPLY_NONE] = {"250", "2.0.0", ""},
	[REPLY_TROUBLE] = {"451", "4.3.0",
			   "Temporary trouble of the relay ({detail}); keep the message and try again later"},
	[REPLY_LOGIN_CHANGED] = {"451", "4.3.0", "The login changed within the message, now <{login}>; connect again"},
	[REPLY_LOGIN_UNKNOWN] =
		{"450", "4.7.1",
		 "Login <{login}> is not known to the relay; create it, or wait until this host has heard of it"},
	[REPLY_LOGIN_DISABLED] = {"525", "5.7.13",
				  "Login <{login}> is disabled; ask the administrator of the relay to enable it"},
	[REPLY_LOGIN_SUSPENDED] =
		{"525", "5.7.13",
		 "Login <{login}> is suspended, since it seems to be in other hands; change its password, "
		 "and ask the administrator of the relay to enable it"},
	[REPLY_LOGIN_EXPIRED] = {"525", "5.7.13",
				 "Login <{login}> has expired; ask the administrator of the relay to prolong it"},
	[REPLY_CUSTOMER_SUSPENDED] =
		{"525", "5.7.13",
		 "The account of login <{login}> is suspended ({detail}); ask the administrator of the relay"},
	[REPLY_HEADER_TOO_LARGE] =
		{"552", "5.3.4", "The header of the message is too large or has too many fields; send a smaller one"},
	[REPLY_FROM_MISSING] = {"550", "5.6.0",
				"The message of login <{login}> has no From field; add one with one address"},
	[REPLY_FROM_SEVERAL] = {"550", "5.6.0",
				"The message of login <{login}> has several From fields; send exactly one"},
	[REPLY_FROM_MALFORMED] = {"550", "5.6.0",
				  "From of the message of login <{login}> holds {detail}; write exactly one address"},
	[REPLY_FROM_NOT_OWNED] =
		{"550", "5.7.1",
		 "From address <{address}> is not allowed for login <{login}>; use one of its own, or have "
		 "it allowed (waybill can {login} {address})"},
	[REPLY_FROM_FOREIGN] =
		{"550", "5.7.1",
		 "From address <{address}> is of a domain of another customer, login <{login}>; use a domain of your "
		 "own"},
	[REPLY_SENDER_SEVERAL] = {"550", "5.6.0",
				  "The message of login <{login}> has several Sender fields; send at most one"},
	[REPLY_SENDER_MALFORMED] =
		{"550", "5.6.0", "Sender of the message of login <{login}> holds {detail}; write exactly one address"},
	[REPLY_SENDER_NOT_OWNED] =
		{"550", "5.7.1",
		 "Sender address <{address}> is not allowed for login <{login}>; use one of its own, or have it "
		 "allowed (waybill can {login} {address})"},
	[REPLY_SENDER_FOREIGN] =
		{"550", "5.7.1",
		 "Sender address <{address}> is of a domain of another customer, login <{login}>; use a domain of "
		 "your own"},
	[REPLY_ANNOTATION] = {"550", "5.6.0", "The message of login <{login}> has {detail}; mend it or leave it out"},
	[REPLY_UNSAFE] =
		{"550", "5.6.0",
		 "{detail}, so its signature would not arrive whole; From <{address}>, login <{login}>; send it as "
		 "quoted-printable or base64"},
	[REPLY_LIMIT_DEFERRED] =
		{"450", "4.7.1",
		 "Limit {limit} of login <{login}> is used up ({used} of {allowed}), From <{address}>; retry in "
		 "{retry}s"},
	[REPLY_LIMIT_REJECTED] =
		{"550", "5.7.1",
		 "Limit {limit} of login <{login}> is used up ({used} of {allowed}), From <{address}>; send again "
		 "in {retry}s or have it raised"},
	[REPLY_LIMIT_NEVER] =
		{"550", "5.7.1",
		 "The message is larger than limit {limit} of login <{login}> ever allows, From <{address}>; split "
		 "it"},
	[REPLY_TOO_MANY_DESTINATIONS] =
		{"452", "4.5.3",
		 "The message of login <{login}> goes to more domains than its limits can count at "
		 "once; send it in several transactions"},
	[REPLY_NO_KEY] = {"451", "4.7.5",
			  "No usable DKIM key for {domain}, From <{address}>, login <{login}>; waybill domain check "
			  "{domain} tells "
			  "why"},
	[REPLY_SIGNING_FAILED] = {"451", "4.7.5",
				  "Signing for {domain} failed, From <{address}>, login <{login}>; try again later"},
};

const char *reply_id(enum reply_reason reason)
{
	return reply_ids[reason];
}

bool reply_is_permanent(enum reply_reason reason)
{
	return rows[reason].code[0] == '5';
}

static void add_text(struct text t, char *out, size_t size, size_t *used)
{
	for (size_t i = 0; i < t.len && *used + 1 < size; i++) {
		unsigned char c = (unsigned char)t.ptr[i];
		out[(*used)++] = c < 0x20 || c > 0x7e ? '?' : (char)c;
	}
}

static struct text number(int64_t n, char digits[24])
{
	int len = snprintf(digits, 24, "%" PRId64, n);
	return text_at(digits, (size_t)len);
}

static struct text word(struct text name, const struct reply_words *words, char digits[24])
{
	const struct {
		struct text name, value;
	} texts[] = {
		{TEXT("address"), words->address}, {TEXT("login"), words->login}, {TEXT("domain"), words->domain},
		{TEXT("detail"), words->detail},   {TEXT("limit"), words->limit},
	};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (text_equal(name, texts[i].name))
			return text_head(texts[i].value, 200);
	if (text_equal(name, TEXT("used")))
		return number(words->used, digits);
	if (text_equal(name, TEXT("allowed")))
		return number(words->allowed, digits);
	return number(words->retry_after_s, digits);
}

void reply_make(enum reply_reason reason, const struct reply_words *words, struct reply *out)
{
	const struct row *row = &rows[reason];
	text_put(text_of(row->code), out->code, sizeof out->code);
	text_put(text_of(row->enhanced), out->enhanced, sizeof out->enhanced);
	struct text rest = text_of(row->text), id = text_of(reply_ids[reason]);
	size_t used = 0, size = sizeof out->text - id.len - words->id.len - sizeof " [] id=";
	while (rest.len) {
		char digits[24];
		size_t open = text_find(rest, '{'), close = text_find(rest, '}');
		add_text(text_head(rest, open), out->text, size, &used);
		if (open == SIZE_MAX)
			break;
		add_text(word(text_at(rest.ptr + open + 1, close - open - 1), words, digits), out->text, size, &used);
		rest = text_from(rest, close + 1);
	}
	snprintf(out->text + used, sizeof out->text - used, " [%s]%s%.*s", reply_ids[reason],
		 words->id.len ? " id=" : "", TEXT_ARG(words->id));
}
