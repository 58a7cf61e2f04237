#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <libmilter/mfapi.h>

#include "common/log.h"
#include "common/memory.h"

#include "milter/callbacks.h"
#include "milter/sampler.h"
#include "milter/signature.h"
#include "milter/verdict.h"

/* What Postfix must offer. SMFIF_ADDHDRS: the signature; CHGHDRS: forged fields out; QUARANTINE: limits that hold. */
#define WANTED_ACTIONS (SMFIF_ADDHDRS | SMFIF_CHGHDRS | SMFIF_QUARANTINE)
/* Steps not wanted at all, and steps whose answer is waived: every verdict waits for the end of the message, and each
 * answer would be a round trip. DATA is waited for: when a client hangs up, libmilter may see the end of the connection
 * before what was said last, and a message that policyd has charged must be known by then. */
#define UNWANTED_STEPS (SMFIP_NOCONNECT | SMFIP_NOHELO | SMFIP_NOEOH | SMFIP_NOUNKNOWN)
#define WAIVED_REPLIES (SMFIP_NR_MAIL | SMFIP_NR_RCPT | SMFIP_NR_HDR | SMFIP_NR_BODY)

#define CONNECTION_MAGIC 0x77626d6cU /* "wbml" */

struct connection {
	unsigned magic;
	unsigned long waived; /* which of WAIVED_REPLIES Postfix agreed to */
	bool in_message;
	struct buffer charged; /* the queue id, from DATA on, when policyd has charged the message */
	struct buffer payer;   /* its login */
	struct session session;
	struct signer_hash *hash;
};

/* The largest packet that libmilter takes: a single field may be longer than the 64 KiB of its default. */
#define MAX_PACKET (FIELDS_MAX_BYTES - 1)

/* libmilter's callbacks have no argument for what all sessions share. Its worker threads outlive smfi_main(), so the
 * engine is taken away under the lock before it is freed; NULL: stopping. */
static struct {
	pthread_rwlock_t lock;
	struct engine *engine;
	unsigned long wanted; /* WANTED_ACTIONS, and SMFIF_CHGFROM when there are return paths */
} shared = {.lock = PTHREAD_RWLOCK_INITIALIZER, .wanted = WANTED_ACTIONS};

static struct connection *connection_of(SMFICTX *ctx)
{
	struct connection *connection = smfi_getpriv(ctx);
	if (!connection || connection->magic != CONNECTION_MAGIC)
		return NULL;
	return connection;
}

/* The answer to a step whose verdict comes later. */
static sfsistat go_on(const struct connection *connection, unsigned long waiver)
{
	return connection->waived & waiver ? SMFIS_NOREPLY : SMFIS_CONTINUE;
}

static struct text macro(SMFICTX *ctx, const char *name)
{
	char room[32];
	text_put(text_of(name), room, sizeof room);
	return text_of(smfi_getsymval(ctx, room));
}

/* Asking for the macros that are read, instead of each stage's whole default, saves Postfix and us the rest. A stage's
 * macros replace those of the last message only if there are any: {mail_addr} is always there. */
static void ask_for_macros(SMFICTX *ctx, unsigned long offered)
{
	char login[] = "{mail_addr} {auth_authen}", end[] = "i {auth_authen} {client_addr}", none[] = "i";
	if (!(offered & SMFIF_SETSYMLIST))
		return;
	smfi_setsymlist(ctx, SMFIM_ENVFROM, login);
	smfi_setsymlist(ctx, SMFIM_ENVRCPT, none);
	smfi_setsymlist(ctx, SMFIM_EOM, end);
}

static sfsistat on_negotiate(SMFICTX *ctx, unsigned long actions, unsigned long steps, unsigned long unused0,
			     unsigned long unused1, unsigned long *want_actions, unsigned long *want_steps,
			     unsigned long *want0, unsigned long *want1)
{
	(void)unused0;
	(void)unused1;
	if ((actions & shared.wanted) != shared.wanted) {
		log_error(
			"the mail server does not let milters add and change fields, quarantine%s; milter_protocol = 6 "
			"is needed",
			shared.wanted & SMFIF_CHGFROM ? " and change the sender" : "");
		return SMFIS_REJECT;
	}
	struct connection *connection = memory_zero(1, sizeof *connection);
	connection->magic = CONNECTION_MAGIC;
	connection->hash = signer_hash_new();
	connection->waived = steps & WAIVED_REPLIES;
	ask_for_macros(ctx, actions);
	*want_actions = shared.wanted | (actions & SMFIF_SETSYMLIST);
	*want_steps = steps & (UNWANTED_STEPS | WAIVED_REPLIES);
	*want0 = *want1 = 0;
	smfi_setpriv(ctx, connection);
	return SMFIS_CONTINUE;
}

static sfsistat on_mail(SMFICTX *ctx, char **argv)
{
	struct connection *connection = connection_of(ctx);
	if (!connection)
		return SMFIS_TEMPFAIL;
	signer_hash_begin(connection->hash);
	session_begin(&connection->session, text_of(argv[0]), signer_hash_add, connection->hash);
	for (char **parameter = argv + 1; *parameter; parameter++)
		session_parameter(&connection->session, text_of(*parameter));
	connection->in_message = true;
	connection->charged.len = 0;
	pthread_rwlock_rdlock(&shared.lock);
	if (shared.engine && sampler_wants(shared.engine->sampler))
		session_sample(&connection->session);
	pthread_rwlock_unlock(&shared.lock);
	return go_on(connection, SMFIP_NR_MAIL);
}

static sfsistat on_recipient(SMFICTX *ctx, char **argv)
{
	struct connection *connection = connection_of(ctx);
	if (!connection)
		return SMFIS_TEMPFAIL;
	session_recipient(&connection->session, text_of(argv[0]));
	return go_on(connection, SMFIP_NR_RCPT);
}

/* Postfix asks policyd before. */
static sfsistat on_data(SMFICTX *ctx)
{
	struct connection *connection = connection_of(ctx);
	if (!connection)
		return SMFIS_TEMPFAIL;
	connection->charged.len = connection->payer.len = 0;
	buffer_text(&connection->charged, macro(ctx, "i"));
	buffer_text(&connection->payer, macro(ctx, "{auth_authen}"));
	return SMFIS_CONTINUE;
}

static sfsistat on_header(SMFICTX *ctx, char *name, char *value)
{
	struct connection *connection = connection_of(ctx);
	if (!connection)
		return SMFIS_TEMPFAIL;
	session_field(&connection->session, text_of(name), text_of(value));
	return go_on(connection, SMFIP_NR_HDR);
}

static sfsistat on_body(SMFICTX *ctx, unsigned char *bytes, size_t len)
{
	struct connection *connection = connection_of(ctx);
	if (!connection)
		return SMFIS_TEMPFAIL;
	session_body(&connection->session, text_at(bytes, len));
	return go_on(connection, SMFIP_NR_BODY);
}

/* libmilter formats reply texts: a percent sign stands twice. */
static sfsistat refuse(SMFICTX *ctx, struct reply *reply)
{
	char text[2 * sizeof reply->text];
	size_t used = 0;
	for (const char *c = reply->text; *c; c++) {
		if (*c == '%')
			text[used++] = '%';
		text[used++] = *c;
	}
	text[used] = '\0';
	smfi_setreply(ctx, reply->code, reply->enhanced, text);
	return reply->code[0] == '5' ? SMFIS_REJECT : SMFIS_TEMPFAIL;
}

/* By number among the fields of their name, last first: a deletion moves the numbers behind it. */
static int strip(SMFICTX *ctx, const struct session *session)
{
	for (size_t i = session->fields.count; i-- > 0;) {
		if (!session_field_is_ours(session, i))
			continue;
		char *name = text_copy(fields_name(&session->fields, i));
		int failed = smfi_chgheader(ctx, name, (int)fields_number(&session->fields, i), NULL);
		free(name);
		if (failed)
			return -1;
	}
	return 0;
}

static int replace(SMFICTX *ctx, const struct fields *fields)
{
	int failed = 0;
	for (size_t i = 0; i < fields->count && !failed; i++) {
		if (!fields_is_replaced(fields, i))
			continue;
		char *name = text_copy(fields_name(fields, i)), *value = text_copy(fields_value(fields, i));
		failed = smfi_chgheader(ctx, name, (int)fields_number(fields, i), value) != MI_SUCCESS;
		free(name);
		free(value);
	}
	return failed;
}

static int insert_signatures(SMFICTX *ctx, struct verdict *verdict)
{
	char name[] = SIGNATURE_FIELD;
	for (size_t i = 0; i < verdict->signature_count; i++) {
		buffer_string(&verdict->signatures[i]);
		if (smfi_insheader(ctx, 0, name, verdict->signatures[i].ptr) != MI_SUCCESS)
			return -1;
	}
	return 0;
}

static int add_fields(SMFICTX *ctx, const struct fields *added)
{
	int failed = 0;
	for (size_t i = 0; i < added->count && !failed; i++) {
		char *name = text_copy(fields_name(added, i)), *value = text_copy(fields_value(added, i));
		failed = smfi_addheader(ctx, name, value) != MI_SUCCESS;
		free(name);
		free(value);
	}
	return failed;
}

static int change_sender(SMFICTX *ctx, struct buffer *sender)
{
	buffer_string(sender);
	return smfi_chgfrom(ctx, sender->ptr, NULL) == MI_SUCCESS ? 0 : -1;
}

static sfsistat accept_message(SMFICTX *ctx, const struct session *session, struct verdict *verdict)
{
	if (verdict->sender.len && change_sender(ctx, &verdict->sender))
		return SMFIS_TEMPFAIL;
	if (replace(ctx, &session->fields) || strip(ctx, session) || add_fields(ctx, &verdict->added) ||
	    insert_signatures(ctx, verdict))
		return SMFIS_TEMPFAIL;
	if (verdict->action == VERDICT_HOLD && smfi_quarantine(ctx, verdict->hold_reason) != MI_SUCCESS)
		return SMFIS_TEMPFAIL;
	return SMFIS_ACCEPT;
}

static sfsistat carry_out(SMFICTX *ctx, const struct session *session, struct verdict *verdict)
{
	switch (verdict->action) {
	case VERDICT_IGNORE: return strip(ctx, session) ? SMFIS_TEMPFAIL : SMFIS_ACCEPT;
	case VERDICT_REFUSE: return refuse(ctx, &verdict->reply);
	case VERDICT_ACCEPT:
	case VERDICT_HOLD:
	case VERDICT_MAX: break;
	}
	return accept_message(ctx, session, verdict);
}

/* The message as it now goes on, handed to a process that verifies it. */
static void sample(const struct session *session, const struct verdict *verdict, struct text queue_id)
{
	struct buffer message = {0};
	for (size_t i = verdict->signature_count; i-- > 0;)
		session_wire_field(TEXT(SIGNATURE_FIELD), buffer_view(&verdict->signatures[i]), &message);
	session_wire(session, &message);
	sampler_submit(shared.engine->sampler, queue_id, &message);
	buffer_free(&message);
}

static void decide(SMFICTX *ctx, struct connection *connection, struct text queue_id, struct verdict *verdict)
{
	struct session *session = &connection->session;
	unsigned char body_hash[SIGNER_HASH_SIZE];
	/* Asked for here alone: libmilter finds a macro of any stage, at MAIL also what the last message's end left. */
	struct text login = macro(ctx, "{auth_authen}");
	if (!session_login(session, login)) {
		verdict_refuse_login(shared.engine, session, login, queue_id, time(NULL), verdict);
		return;
	}
	session_client(session, macro(ctx, "{client_addr}"));
	canon_body_end(&session->body);
	signer_hash_end(connection->hash, body_hash);
	verdict_reach(shared.engine, session, queue_id, body_hash, time(NULL), verdict);
}

static sfsistat end_message(SMFICTX *ctx, struct connection *connection)
{
	struct session *session = &connection->session;
	struct text queue_id = macro(ctx, "i");
	struct verdict verdict = {0};
	decide(ctx, connection, queue_id, &verdict);
	sfsistat answer = carry_out(ctx, session, &verdict);
	if (answer == SMFIS_TEMPFAIL && verdict.action != VERDICT_REFUSE)
		verdict_abandon(shared.engine, verdict.login, queue_id);
	if (verdict.log.len)
		log_info("%.*s: %.*s", TEXT_ARG(queue_id), TEXT_ARG(verdict.log));
	if (session->sampled && verdict.signature_count && answer == SMFIS_ACCEPT)
		sample(session, &verdict, queue_id);
	verdict_free(&verdict);
	return answer;
}

static sfsistat on_end(SMFICTX *ctx)
{
	struct connection *connection = connection_of(ctx);
	sfsistat answer = SMFIS_TEMPFAIL;
	if (!connection || !connection->in_message)
		return answer;
	connection->in_message = false;
	pthread_rwlock_rdlock(&shared.lock);
	if (shared.engine)
		answer = end_message(ctx, connection);
	pthread_rwlock_unlock(&shared.lock);
	return answer;
}

/* The client went away within the message, or the mail server refused it. */
static void abandon(struct connection *connection)
{
	bool charged = connection->in_message && connection->charged.len;
	connection->in_message = false;
	if (!charged)
		return;
	pthread_rwlock_rdlock(&shared.lock);
	if (shared.engine)
		verdict_abandon(shared.engine, buffer_view(&connection->payer), buffer_view(&connection->charged));
	pthread_rwlock_unlock(&shared.lock);
}

static sfsistat on_abort(SMFICTX *ctx)
{
	struct connection *connection = connection_of(ctx);
	if (connection)
		abandon(connection);
	return SMFIS_CONTINUE;
}

static sfsistat on_close(SMFICTX *ctx)
{
	struct connection *connection = connection_of(ctx);
	if (!connection)
		return SMFIS_CONTINUE;
	smfi_setpriv(ctx, NULL);
	abandon(connection);
	session_free(&connection->session);
	signer_hash_free(&connection->hash);
	buffer_free(&connection->charged);
	buffer_free(&connection->payer);
	connection->magic = 0;
	free(connection);
	return SMFIS_CONTINUE;
}

static char filter_name[] = "waybill";

static const struct smfiDesc description = {
	.xxfi_name = filter_name,
	.xxfi_version = SMFI_VERSION,
	.xxfi_flags = WANTED_ACTIONS | SMFIF_CHGFROM | SMFIF_SETSYMLIST,
	.xxfi_envfrom = on_mail,
	.xxfi_envrcpt = on_recipient,
	.xxfi_data = on_data,
	.xxfi_header = on_header,
	.xxfi_body = on_body,
	.xxfi_eom = on_end,
	.xxfi_abort = on_abort,
	.xxfi_close = on_close,
	.xxfi_negotiate = on_negotiate,
};

static const char *unix_path(const char *listen)
{
	static const char *const prefixes[] = {"unix:", "local:"};
	for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
		if (strncmp(listen, prefixes[i], strlen(prefixes[i])) == 0)
			return listen + strlen(prefixes[i]);
	return listen[0] == '/' ? listen : NULL;
}

static bool is_served(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (!text_put(text_of(path), address.sun_path, sizeof address.sun_path))
		return false;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool served = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
	if (fd >= 0)
		close(fd);
	return served;
}

static char *problem(const char *what, const char *text, const char *why)
{
	char *line = NULL;
	if (asprintf(&line, "%s: %s%s%s", what, text, why ? ": " : "", why ? why : "") < 0)
		abort();
	return line;
}

static char *open_to_postfix(const char *path, const struct callbacks_options *options)
{
	struct group *group = options->group ? getgrnam(options->group) : NULL;
	if (options->group && !group)
		return problem(options->group, "socket_group names no group", NULL);
	if (group && chown(path, (uid_t)-1, group->gr_gid) < 0)
		return problem(path, "cannot give the socket to socket_group", strerror(errno));
	if (chmod(path, (mode_t)options->socket_mode) < 0)
		return problem(path, "cannot set socket_mode", strerror(errno));
	return NULL;
}

char *callbacks_listen(const struct callbacks_options *options)
{
	const char *path = unix_path(options->listen);
	if (path && is_served(path))
		return problem(path, "another process serves this socket; stop it, or give this one another listen",
			       NULL);
	char *listen = text_copy(text_of(options->listen));
	if (options->changes_sender)
		shared.wanted |= SMFIF_CHGFROM;
	smfi_setmaxdatasize(MAX_PACKET);
	int failed = smfi_setconn(listen) != MI_SUCCESS || smfi_settimeout((int)options->timeout_s) != MI_SUCCESS ||
		     smfi_register(description) != MI_SUCCESS || smfi_opensocket(true) != MI_SUCCESS;
	free(listen);
	if (failed)
		return problem(options->listen, "cannot listen there", strerror(errno));
	return path ? open_to_postfix(path, options) : NULL;
}

int callbacks_serve(struct engine *engine)
{
	shared.engine = engine;
	int failed = smfi_main() == MI_SUCCESS ? 0 : -1;
	pthread_rwlock_wrlock(&shared.lock);
	shared.engine = NULL;
	pthread_rwlock_unlock(&shared.lock);
	return failed;
}
