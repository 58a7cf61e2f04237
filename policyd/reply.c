/* The table of reasons: see reply.h. Allowed mail gets DUNNO and never OK, so that what the administrator wrote behind
 * the policy service still counts. */

#include <string.h>

#include "policyd/reply.h"

#define WORD_MAX \
	130 /* bytes of one inserted word: three of them and the text stay within a reply line, RFC 5321 4.5.3.1.5 */

const char *const reply_kind_names[REPLY_KIND_MAX] = {"accept", "defer", "reject", "hold"};

const char *const reply_ids[REPLY_MAX + 1] = {
	[REPLY_ALLOWED] = "allowed",
	[REPLY_REPEATED] = "repeated",
	[REPLY_SHADOW] = "limit-shadow",
	[REPLY_UNCOUNTED] = "uncounted",
	[REPLY_TAKEOVER_SHADOW] = "takeover-shadow",
	[REPLY_TAKEOVER_ALERT] = "takeover-alert",
	[REPLY_NO_TLS] = "no-tls",
	[REPLY_NO_LOGIN] = "no-login",
	[REPLY_LOGIN_UNKNOWN] = "login-unknown",
	[REPLY_LOGIN_DISABLED] = "login-disabled",
	[REPLY_LOGIN_SUSPENDED] = "login-suspended",
	[REPLY_LOGIN_EXPIRED] = "login-expired",
	[REPLY_NETWORK] = "network-not-allowed",
	[REPLY_CUSTOMER_SUSPENDED] = "customer-suspended",
	[REPLY_SENDER_NULL] = "sender-null",
	[REPLY_SENDER_MALFORMED] = "sender-malformed",
	[REPLY_SENDER_DENIED] = "sender-denied",
	[REPLY_SENDER_NOT_OWNED] = "sender-not-owned",
	[REPLY_RECIPIENT_SUPPRESSED] = "recipient-suppressed",
	[REPLY_DOMAIN_DEAD] = "recipient-domain-dead",
	[REPLY_RECIPIENT_NOT_ALLOWED] = "recipient-not-allowed",
	[REPLY_RECIPIENTS_MANY] = "too-many-recipients",
	[REPLY_LIMIT_DEFERRED] = "limit",
	[REPLY_LIMIT_REJECTED] = "limit-rejected",
	[REPLY_LIMIT_LATE] = "limit-late",
	[REPLY_LIMIT_SIZE] = "limit-size",
	[REPLY_LIMIT_RECIPIENTS] = "limit-recipients",
	[REPLY_LIMIT_HELD] = "limit-held",
	[REPLY_TAKEOVER_HELD] = "takeover-held",
	[REPLY_TAKEOVER_SUSPENDED] = "takeover-suspended",
	[REPLY_COUNTERS_AWAY] = "counters-away",
};

/* Why, is not told to whom it may be: "waybill explain" and "waybill login show" do. */
#define SUSPENDED                                                                                                      \
	"<{sender}>: login <{login}> is suspended, since it seems to be in other hands; change its password, and ask " \
	"the administrator of the relay to enable it"

/* Codes: RFC 5321 section 4.2, RFC 3463; 530 5.7.0 RFC 3207 and RFC 4954; 525 5.7.13 the registry of RFC 5248. A login
 * that authenticated but is not in the snapshot is most likely newer than it: hence 450. */
static const struct row {
	enum reply_kind kind;
	const char *action, *text;
} rows[REPLY_MAX] = {
	[REPLY_ALLOWED] = {REPLY_ACCEPT, "DUNNO", ""},
	[REPLY_REPEATED] = {REPLY_ACCEPT, "DUNNO", ""},
	[REPLY_SHADOW] = {REPLY_ACCEPT, "DUNNO", ""},
	[REPLY_UNCOUNTED] = {REPLY_ACCEPT, "DUNNO", ""},
	[REPLY_TAKEOVER_SHADOW] = {REPLY_ACCEPT, "DUNNO", ""},
	[REPLY_TAKEOVER_ALERT] = {REPLY_ACCEPT, "DUNNO", ""},
	[REPLY_NO_TLS] = {REPLY_REJECT, "530 5.7.0",
			  "<{sender}>: login <{login}> must use TLS; switch STARTTLS on, or use port 465"},
	[REPLY_NO_LOGIN] = {REPLY_REJECT, "530 5.7.0",
			    "<{sender}>: authentication required, no login given; log in with AUTH PLAIN over TLS"},
	[REPLY_LOGIN_UNKNOWN] = {REPLY_DEFER, "450 4.7.1",
				 "<{sender}>: login <{login}> is not known to the relay; create it, or wait until this "
				 "host has heard of it"},
	[REPLY_LOGIN_DISABLED] =
		{REPLY_REJECT, "525 5.7.13",
		 "<{sender}>: login <{login}> is disabled; ask the administrator of the relay to enable it"},
	[REPLY_LOGIN_SUSPENDED] = {REPLY_REJECT, "525 5.7.13", SUSPENDED},
	[REPLY_LOGIN_EXPIRED] =
		{REPLY_REJECT, "525 5.7.13",
		 "<{sender}>: login <{login}> has expired; ask the administrator of the relay to prolong it"},
	[REPLY_NETWORK] =
		{REPLY_REJECT, "550 5.7.1",
		 "<{sender}>: login <{login}> may not be used from {client}; send from one of its networks, or have "
		 "this one added"},
	[REPLY_CUSTOMER_SUSPENDED] = {REPLY_REJECT, "525 5.7.13",
				      "<{sender}>: the account of login <{login}> is suspended ({detail}); ask the "
				      "administrator of the relay"},
	[REPLY_SENDER_NULL] =
		{REPLY_REJECT, "553 5.7.1",
		 "<>: login <{login}> may not send with the null sender; use a sender address of its own"},
	[REPLY_SENDER_MALFORMED] =
		{REPLY_REJECT, "553 5.1.7",
		 "<{sender}>: the sender of login <{login}> is not an address: {detail}; write one plain address"},
	[REPLY_SENDER_DENIED] =
		{REPLY_REJECT, "553 5.7.1",
		 "<{sender}>: login <{login}> is denied this sender; use another one (waybill can {login} "
		 "{sender} tells why)"},
	[REPLY_SENDER_NOT_OWNED] =
		{REPLY_REJECT, "553 5.7.1",
		 "<{sender}>: not a sender of login <{login}>; use one of its own, or have it allowed (waybill "
		 "can {login} {sender})"},
	[REPLY_RECIPIENT_SUPPRESSED] = {REPLY_REJECT, "550 5.1.1",
					"<{recipient}>: suppressed for login <{login}> after {detail}; correct the "
					"address, or lift it: waybill suppress "
					"remove {customer} {recipient}"},
	[REPLY_DOMAIN_DEAD] = {REPLY_REJECT, "550 5.1.2",
			       "<{recipient}>: its domain takes no mail ({detail}), so login <{login}> need not try; "
			       "correct the address, or have it lifted: waybill suppress remove-domain DOMAIN"},
	[REPLY_RECIPIENT_NOT_ALLOWED] =
		{REPLY_REJECT, "550 5.7.1",
		 "<{recipient}>: login <{login}> may write to certain destinations only; have this one added: waybill "
		 "login set {login} --destinations"},
	[REPLY_RECIPIENTS_MANY] = {REPLY_DEFER, "452 4.5.3",
				   "<{sender}>: a message of login <{login}> may have {allowed} recipients; send "
				   "to the others in another one"},
	[REPLY_LIMIT_DEFERRED] =
		{REPLY_DEFER, "450 4.7.1",
		 "<{sender}>: limit {limit} of login <{login}> is used up ({used} of {allowed}); retry in {retry}s"},
	[REPLY_LIMIT_REJECTED] =
		{REPLY_REJECT, "550 5.7.1",
		 "<{sender}>: limit {limit} of login <{login}> is used up ({used} of {allowed}); send again in "
		 "{retry}s, or have it raised"},
	[REPLY_LIMIT_LATE] =
		{REPLY_REJECT, "550 5.7.1",
		 "<{sender}>: limit {limit} of login <{login}> is used up ({used} of {allowed}) and renewed only in "
		 "{retry}s; have it raised"},
	[REPLY_LIMIT_SIZE] =
		{REPLY_REJECT, "552 5.3.4",
		 "<{sender}>: larger than limit {limit} of login <{login}> ever lets pass; send a smaller message"},
	[REPLY_LIMIT_RECIPIENTS] =
		{REPLY_REJECT, "550 5.5.3",
		 "<{sender}>: more recipients than limit {limit} of login <{login}> ever lets pass at once; "
		 "send to fewer"},
	[REPLY_LIMIT_HELD] = {REPLY_HOLD, "HOLD",
			      "<{sender}>: limit {limit} of login <{login}> is used up ({used} of {allowed})"},
	[REPLY_TAKEOVER_HELD] = {REPLY_HOLD, "HOLD", "<{sender}>: login <{login}> seems to be in other hands"},
	[REPLY_TAKEOVER_SUSPENDED] = {REPLY_REJECT, "525 5.7.13", SUSPENDED},
	[REPLY_COUNTERS_AWAY] =
		{REPLY_DEFER, "451 4.3.0",
		 "<{sender}>: limits of login <{login}> cannot be counted just now; try again in a minute"},
};

const char *reply_id(enum reply_reason reason)
{
	return reply_ids[reason];
}

enum reply_kind reply_kind(enum reply_reason reason)
{
	return rows[reason].kind;
}

static void add_cut(struct text t, struct buffer *out)
{
	for (size_t i = 0; i < t.len && i < WORD_MAX; i++) {
		unsigned char c = (unsigned char)t.ptr[i];
		buffer_char(out, c < 0x20 || c == 0x7f ? '?' : (char)c);
	}
	if (t.len > WORD_MAX)
		buffer_add(out, "...", 3);
}

static void add_word(struct text name, const struct reply_words *words, struct buffer *out)
{
	const struct {
		struct text name, value;
	} texts[] = {
		{TEXT("sender"), words->sender}, {TEXT("recipient"), words->recipient},
		{TEXT("login"), words->login},   {TEXT("customer"), words->customer},
		{TEXT("client"), words->client}, {TEXT("detail"), words->detail},
		{TEXT("limit"), words->limit},
	};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (text_equal(name, texts[i].name)) {
			add_cut(texts[i].value, out);
			return;
		}
	int64_t number = text_equal(name, TEXT("used"))      ? words->used
			 : text_equal(name, TEXT("allowed")) ? words->allowed
							     : words->retry_after_s;
	buffer_format(out, "%lld", (long long)number);
}

void reply_add(enum reply_reason reason, const struct reply_words *words, struct buffer *out)
{
	const struct row *row = &rows[reason];
	buffer_add(out, "action=", 7);
	buffer_text(out, text_of(row->action));
	if (*row->text) {
		buffer_char(out, ' ');
		struct text rest = text_of(row->text);
		for (size_t open; (open = text_find(rest, '{')) != SIZE_MAX;) {
			size_t close = text_find(rest, '}');
			buffer_text(out, text_head(rest, open));
			add_word(text_head(text_from(rest, open + 1), close - open - 1), words, out);
			rest = text_from(rest, close + 1);
		}
		buffer_text(out, rest);
		buffer_format(out, " [%s]", reply_ids[reason]);
		if (words->id.len)
			buffer_format(out, " id=%.*s", TEXT_ARG(words->id));
	}
	buffer_add(out, "\n\n", 2);
}
