/* What Postfix's daemons say behind the tag. Tables name each message by how it starts; a message that no table knows is
 * reported, so that a new version of Postfix cannot take something away unnoticed. */

#include "bouncer/line_internal.h"

/* What to do with a message that starts in a certain way; TEXT is behind that start. */
typedef const char *message_reader(struct text text, struct record *record);

struct message {
	struct text start;
	message_reader *read; /* NULL: not of interest */
};

#define SAYS(start, read)                            \
	{                                            \
		{(start), sizeof(start) - 1}, (read) \
	}

/* Where the ">" is that no quoted string holds; NULL: a quote is left open. */
static const char *closing(struct text t)
{
	bool quoted = false;
	for (size_t i = 0; i < t.len; i++) {
		char c = t.ptr[i];
		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (c == '>' && !quoted)
			return t.ptr + i;
	}
	return NULL;
}

bool line_address(struct text *rest, struct text *out)
{
	const char *first = rest->len ? memchr(rest->ptr, '>', rest->len) : NULL, *end = first;
	if (!first)
		return false;
	if (memchr(rest->ptr, '"', (size_t)(first - rest->ptr)))
		end = closing(*rest);
	if (!end) /* an odd quote, as a client may send it */
		end = first;
	*out = text_at(rest->ptr, (size_t)(end - rest->ptr));
	rest->len -= out->len + 1;
	rest->ptr = end + 1;
	return true;
}

bool line_peer(struct text *rest, struct text *host, struct text *ip)
{
	size_t open = 0;
	while (open < rest->len && rest->ptr[open] != '[' && rest->ptr[open] != ' ')
		open++;
	if (open == rest->len || rest->ptr[open] != '[')
		return false;
	const char *close = memchr(rest->ptr + open, ']', rest->len - open);
	if (!close)
		return false;
	*host = text_at(rest->ptr, open);
	*ip = text_at(rest->ptr + open + 1, (size_t)(close - rest->ptr) - open - 1);
	rest->len -= (size_t)(close - rest->ptr) + 1;
	rest->ptr = close + 1;
	if (rest->len > 1 && rest->ptr[0] == ':' && line_digit(rest->ptr[1])) {
		*rest = text_from(*rest, 1);
		line_number(rest);
	}
	return true;
}

static struct text known(struct text value)
{
	return text_equal(value, TEXT("unknown")) ? (struct text){0} : value;
}

/* "HOST[IP], sasl_method=…, sasl_username=…, sasl_sender=…, orig_queue_id=…, orig_client=…". A user name may hold ", ". */
static const char *client(struct text text, struct record *record)
{
	static const struct text behind[] = {TEXT(", sasl_sender="), TEXT(", orig_queue_id="), TEXT(", orig_client=")};
	if (!line_peer(&text, &record->client_host, &record->client_ip))
		return "client without address";
	record->client_ip = known(record->client_ip);
	while (SKIP(text, ", ")) {
		if (SKIP(text, "sasl_username=")) {
			size_t end = text.len;
			for (size_t i = 0; i < 3 && text_find(text, ',') != SIZE_MAX; i++) {
				size_t at = text_search(text, behind[i]);
				end = at < end ? at : end;
			}
			record->login = text_head(text, end);
			text = text_from(text, end);
		} else if (SKIP(text, "orig_queue_id=")) {
			record->orig_queue_id = text_head(text, text_find(text, ','));
			text = text_from(text, record->orig_queue_id.len);
		} else {
			text = text_from(text, text_find(text, ',') == SIZE_MAX ? text.len : text_find(text, ','));
		}
	}
	record->kind = RECORD_CLIENT;
	return NULL;
}

/* "uid=89 from=<a@b> orig_id=OLD": PICKUP, "uid=" skipped. */
static const char *pickup(struct text text, struct record *record)
{
	line_number(&text);
	if (!SKIP(text, " from=<") || !line_address(&text, &record->sender))
		return "pickup without sender";
	if (SKIP(text, " orig_id="))
		record->orig_queue_id = text;
	record->kind = RECORD_PICKUP;
	return NULL;
}

static const char *message_id(struct text text, struct record *record)
{
	if (STARTS(text, "<") && text_ends(text, TEXT(">")))
		text = text_head(text_from(text, 1), text.len - 2);
	else if (SKIP(text, "<"))
		record->truncated = true;
	record->message_id = text;
	record->kind = RECORD_MESSAGE_ID;
	return NULL;
}

/* "<a@b>, size=5360, nrcpt=1 (queue active)" or "<a@b>, status=expired, returned to sender". */
static const char *from(struct text text, struct record *record)
{
	if (!SKIP(text, "<") || !line_address(&text, &record->sender))
		return "from= without address";
	if (SKIP(text, ", size=")) {
		record->size = line_number(&text);
		if (!SKIP(text, ", nrcpt="))
			return "qmgr's line without nrcpt";
		record->nrcpt = line_number(&text);
		record->kind = RECORD_ACTIVE;
		return NULL;
	}
	if (STARTS(text, ", status=expired") || STARTS(text, ", status=force-expired")) {
		record->kind = RECORD_EXPIRED;
		return NULL;
	}
	return "qmgr's line without size or status";
}

static const char *removed(struct text text, struct record *record)
{
	if (STARTS(text, " (canceled)"))
		record->kind = RECORD_CANCELED;
	else
		record->kind = text_equal(record->daemon, TEXT("postsuper")) ? RECORD_DELETED : RECORD_REMOVED;
	return NULL;
}

static const char *requeued(struct text text, struct record *record)
{
	(void)text;
	record->kind = RECORD_REQUEUED;
	return NULL;
}

static const char *held(struct text text, struct record *record)
{
	(void)text;
	record->kind = RECORD_HELD;
	return NULL;
}

static const char *released(struct text text, struct record *record)
{
	(void)text;
	record->kind = RECORD_RELEASED;
	return NULL;
}

/* bounce: "(sender|postmaster) (non-delivery|delay|delivery status) notification: NEWID". */
static const char *notification(struct text text, struct record *record)
{
	size_t at = text_search(text, TEXT("notification: "));
	if (at == SIZE_MAX || !line_queue_id(text_from(text, at + 14)))
		return "notification without queue id";
	record->child = text_from(text, at + 14);
	record->kind = RECORD_NOTICE;
	return NULL;
}

static const char *hold(struct text text, struct record *record)
{
	const char *why = line_reject(text, record);
	record->kind = RECORD_HELD;
	return why;
}

/* "TRUST TLS connection established to|from HOST[IP]:25: TLSv1.3 with cipher …", from "TLS" on. */
static const char *tls(struct text text, struct record *record)
{
	bool server = STARTS(text, "from ");
	if ((!SKIP(text, "to ") && !SKIP(text, "from ")) || !line_peer(&text, &record->client_host, &record->client_ip))
		return "TLS connection without peer";
	/* A connection that is handed on through tlsproxy has " to NAME" between peer and protocol. */
	size_t at = text_search(text, TEXT(": "));
	if (at == SIZE_MAX)
		return "TLS connection without protocol";
	text = text_from(text, at + 2);
	record->tls = line_until(&text, ' ');
	record->kind = server ? RECORD_SERVER_TLS : RECORD_TLS;
	return NULL;
}

static const char *connected(struct text text, struct record *record)
{
	if (!line_peer(&text, &record->client_host, &record->client_ip))
		return "connect without peer";
	record->client_ip = known(record->client_ip);
	record->kind = RECORD_CONNECT;
	return NULL;
}

/* Behind a queue id. The actions of access(5) and header_checks(5) come from src/smtpd/smtpd_check.c and
 * src/cleanup/cleanup_message.c, the remarks about an attempt from src/smtp/smtp_trouble.c. */
static const struct message with_queue_id[] = {
	SAYS("to=", line_delivery),
	SAYS("from=", from),
	SAYS("removed", removed),
	SAYS("message-id=", message_id),
	SAYS("client=", client),
	SAYS("uid=", pickup),
	SAYS("resent-message-id=", NULL),
	SAYS("reject: header ", line_reject),
	SAYS("sender ", notification),
	SAYS("postmaster ", notification),
	SAYS("requeued", requeued),
	SAYS("placed on hold", held),
	SAYS("released from hold", released),
	SAYS("hold: ", hold),
	SAYS("milter-hold: ", hold),
	SAYS("skipped, still being delivered", NULL),
	SAYS("expired", NULL), /* postsuper -e: qmgr's own line follows */
	SAYS("host ", NULL),
	SAYS("lost connection with ", NULL),
	SAYS("conversation with ", NULL),
	SAYS("connect to ", NULL),
	SAYS("enabling PIX workarounds", NULL),
	SAYS("breaking line > ", NULL),
	SAYS("SASL authentication failed", NULL),
	SAYS("Server certificate ", NULL),
	SAYS("Cannot start TLS", NULL),
	SAYS("TLS is required", NULL),
	SAYS("TLS ", NULL),
	SAYS("passing <", NULL),
	SAYS("status=deferred (bounce failed)", NULL),
	SAYS("warning: ", NULL),
	SAYS("info: ", NULL),
	SAYS("error: ", NULL),
	SAYS("prepend: ", NULL),
	SAYS("replace: ", NULL),
	SAYS("strip: ", NULL),
	SAYS("ignore: ", NULL),
	SAYS("bcc: ", NULL),
	SAYS("delay: ", NULL),
	SAYS("permit: ", NULL),
	SAYS("pass: ", NULL),
	SAYS("dunno: ", NULL),
	SAYS("filter: ", NULL),
	SAYS("redirect: ", NULL),
	SAYS("milter-header-", NULL),
	SAYS("milter-body-", NULL),
	SAYS("milter-quarantine: ", hold),
	SAYS("reject_warning: ", NULL),
	SAYS("proxy-accept: ", NULL),
	SAYS("proxy-reject: ", line_reject),
	SAYS("discard: ", line_reject),
	SAYS("milter-discard: ", line_reject),
	SAYS("milter-reject: ", line_reject),
	SAYS("reject: ", line_reject),
	SAYS("queue file size limit exceeded", NULL),
	SAYS("duplicate verify request", NULL),
	SAYS("mail for ", NULL),
	SAYS("Non-recoverable", NULL),
	SAYS("smtp_", NULL),
	SAYS("user ", NULL),
	SAYS("command time limit exceeded", NULL),
	SAYS("flush ", NULL),
};

/* Without a queue id: nearly all of it is of no interest here. */
static const struct message without_queue_id[] = {
	SAYS("connect from ", connected),
	SAYS("disconnect from ", NULL),
	SAYS("Anonymous TLS connection established ", tls),
	SAYS("Untrusted TLS connection established ", tls),
	SAYS("Trusted TLS connection established ", tls),
	SAYS("Verified TLS connection established ", tls),
	SAYS("Anonymous TLS connection reused ", tls),
	SAYS("Untrusted TLS connection reused ", tls),
	SAYS("Trusted TLS connection reused ", tls),
	SAYS("Verified TLS connection reused ", tls),
	SAYS("lost connection ", NULL),
	SAYS("timeout after ", NULL),
	SAYS("too many errors after ", NULL),
	SAYS("improper command pipelining ", NULL),
	SAYS("bare <LF> received ", NULL),
	SAYS("SSL_accept ", NULL),
	SAYS("SSL_connect ", NULL),
	SAYS("SSL_shutdown", NULL),
	SAYS("connect to ", NULL),
	SAYS("certificate verification failed ", NULL),
	SAYS("certificate peer name ", NULL),
	SAYS("discarding EHLO keywords", NULL),
	SAYS("using backwards-compatible default setting ", NULL),
	SAYS("setting up TLS connection ", NULL),
	SAYS("proxy-accept: ", NULL),
	SAYS("proxy-reject: ", line_reject),
	SAYS("statistics: ", NULL),
	SAYS("cache ", NULL),
	SAYS("warning: ", NULL),
	SAYS("error: ", NULL),
	SAYS("fatal: ", NULL),
	SAYS("panic: ", NULL),
	SAYS("info: ", NULL),
	SAYS("table ", NULL), /* "table hash:… has changed -- restarting" */
	SAYS("initializing the ", NULL),
	SAYS("reload ", NULL),
	SAYS("idle ", NULL),
	SAYS("using ", NULL),
	SAYS("Host offered STARTTLS", NULL),
	SAYS("rewrite ", NULL),
};

static const char *look_up(const struct message *table, size_t count, struct text text, struct record *record,
			   const char *why)
{
	for (size_t i = 0; i < count; i++) {
		struct text start = table[i].start;
		if (text.len < start.len || text.ptr[0] != start.ptr[0] || memcmp(text.ptr, start.ptr, start.len) != 0)
			continue;
		/* A refusal's own verb is part of what it says. */
		bool verb = table[i].read == line_reject || table[i].read == hold;
		return table[i].read ? table[i].read(verb ? text : text_from(text, start.len), record) : NULL;
	}
	return why;
}

/* postsuper's closing count, "Deleted: 115 messages", and postscreen's chatter. */
static bool is_chatter(struct text message, const struct record *record)
{
	return text_equal(record->daemon, TEXT("postscreen")) ||
	       (text_equal(record->daemon, TEXT("postsuper")) &&
		(text_ends(message, TEXT(" message")) || text_ends(message, TEXT(" messages"))));
}

/* What stands in front of ": " within the length of a queue id, or nothing. */
static struct text leading_id(struct text message)
{
	size_t len = 0;
	while (len < message.len && len < 40 && message.ptr[len] > ' ' && message.ptr[len] != ':')
		len++;
	bool ended = len + 1 < message.len && message.ptr[len] == ':' && message.ptr[len + 1] == ' ';
	return text_at(message.ptr, ended ? len : 0);
}

const char *line_message(struct text message, struct record *record)
{
	struct text id = leading_id(message);
	if (id.len && line_queue_id(id)) {
		record->queue_id = id;
		return look_up(with_queue_id, sizeof with_queue_id / sizeof *with_queue_id,
			       text_from(message, id.len + 2), record, "unknown message about a queue id");
	}
	if (SKIP(message, "warning: ")) {
		id = leading_id(message);
		record->queue_id = line_queue_id(id) ? id : (struct text){0};
		return NULL;
	}
	if (STARTS(message, "NOQUEUE: ")) {
		record->queue_id = text_head(message, 7);
		const char *why = look_up(with_queue_id, sizeof with_queue_id / sizeof *with_queue_id,
					  text_from(message, 9), record, "unknown message about NOQUEUE");
		/* Without a queue file there is nothing to remove or deliver; what is to be held comes with the next one. */
		if (record->kind != RECORD_REJECT && record->kind != RECORD_HELD)
			record->kind = RECORD_OTHER;
		return why;
	}
	if (record->silent || is_chatter(message, record))
		return NULL;
	return look_up(without_queue_id, sizeof without_queue_id / sizeof *without_queue_id, message, record,
		       "unknown message without queue id");
}
