/* One query a kind, with or without a filter on the key; lists come as text, an element a line. */

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/memory.h"
#include "ctl/dkim_record.h"
#include "ctl/follow_read.h"

#define FETCH_ROWS "5000"

/* Customers share few time zones, and a year of offsets takes Postgres a while. */
struct zone {
	char *name;
	struct buffer offsets;
	struct zone *next;
};

struct follow_reader {
	struct pg *pg;
	struct directory_writer *writer;
	struct zone *zones;
	const char *why;
	size_t count;
	struct buffer record, list, limits;
};

struct follow_reader *follow_reader_new(struct pg *pg, struct directory_writer *writer)
{
	struct follow_reader *reader = memory_zero(1, sizeof(*reader));
	reader->pg = pg;
	reader->writer = writer;
	return reader;
}

void follow_reader_free(struct follow_reader **reader)
{
	struct follow_reader *r = *reader;
	if (!r)
		return;
	for (struct zone *zone = r->zones, *next; zone; zone = next) {
		next = zone->next;
		free(zone->name);
		buffer_free(&zone->offsets);
		free(zone);
	}
	buffer_free(&r->record);
	buffer_free(&r->list);
	buffer_free(&r->limits);
	free(r);
	*reader = NULL;
}

const char *follow_reader_why(const struct follow_reader *reader)
{
	return reader->why ? reader->why : "";
}

size_t follow_reader_take_count(struct follow_reader *reader)
{
	size_t count = reader->count;
	reader->count = 0;
	return count;
}

/* The index of WORD in NAMES, or -1. */
static int index_of(struct text word, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
		if (text_equal(word, text_of(names[i])))
			return i;
	return -1;
}

/* Takes the next word of a line; empty at its end. */
static struct text next_word(struct text *line)
{
	struct text word = {"", 0};
	text_take(line, ' ', &word);
	return word;
}

/* "id scope unit action spec". */
static const char *parse_limit(struct text line, struct limit *limit)
{
	size_t at;
	limit->id = next_word(&line);
	int scope = index_of(next_word(&line), limit_scope_names, LIMIT_SCOPE_MAX);
	int unit = index_of(next_word(&line), limit_unit_names, LIMIT_UNIT_MAX);
	int action = index_of(next_word(&line), limit_action_names, LIMIT_ACTION_MAX);
	struct text destination = next_word(&line);
	if (scope < 0 || unit < 0 || action < 0)
		return "its scope, unit or action is unknown";
	limit->scope = (enum limit_scope)scope;
	limit->unit = (enum limit_unit)unit;
	limit->action = (enum limit_action)action;
	limit->destination = text_equal(destination, TEXT("*")) ? TEXT("") : destination;
	return limit_spec_parse(line, &limit->spec, &at);
}

static struct directory_list read_limits(struct follow_reader *reader, struct text lines)
{
	struct text line;
	reader->limits.len = 0;
	while (lines.len && text_take(&lines, '\n', &line)) {
		struct limit limit;
		const char *why = parse_limit(line, &limit);
		if (why)
			log_warning("limit %.*s: left out: %s; next: waybill limit set", TEXT_ARG(limit.id), why);
		else
			directory_limit_add(&reader->limits, &limit);
	}
	return (struct directory_list){buffer_view(&reader->limits)};
}

static struct directory_list read_rights(struct follow_reader *reader, struct text lines)
{
	struct text line;
	while (lines.len && text_take(&lines, '\n', &line))
		directory_right_add(&reader->list, (struct right){line.len && line.ptr[0] == '+', text_from(line, 1)});
	return (struct directory_list){buffer_view(&reader->list)};
}

/* A network that cannot be read must not widen what the others allow, so it stands as one that nothing matches. */
static struct directory_list read_networks(struct buffer *list, struct text words, struct text login)
{
	struct text word;
	while (words.len && text_take(&words, ',', &word)) {
		struct network network;
		const char *why = network_parse(word, &network);
		if (why) {
			log_warning("login %.*s: network %.*s: %s", TEXT_ARG(login), TEXT_ARG(word), why);
			network = (struct network){.prefix = 128};
		}
		directory_network_add(list, &network);
	}
	return (struct directory_list){buffer_view(list)};
}

static struct directory_list read_destinations(struct buffer *list, struct text words)
{
	struct text word;
	while (words.len && text_take(&words, ',', &word))
		directory_right_add(list, (struct right){true, word});
	return (struct directory_list){buffer_view(list)};
}

static void login_record(struct follow_reader *reader, const struct pg_result *rows, size_t row)
{
	struct buffer networks = {0}, destinations = {0};
	struct directory_login login = {
		.name = pg_field(rows, row, 0),
		.customer = pg_field(rows, row, 1),
		.enabled = pg_bool(rows, row, 2),
		.created_at = pg_int(rows, row, 3),
		.expires_at = pg_int(rows, row, 4),
		.networks = read_networks(&networks, pg_field(rows, row, 5), pg_field(rows, row, 0)),
		.rights = read_rights(reader, pg_field(rows, row, 6)),
		.limits = read_limits(reader, pg_field(rows, row, 7)),
		.destinations = read_destinations(&destinations, pg_field(rows, row, 8)),
		.suspended_at = pg_int(rows, row, 9),
		.suspended_reason = pg_field(rows, row, 10),
		.guard_since = pg_int(rows, row, 11),
	};
	directory_login_encode(&login, &reader->record);
	buffer_free(&networks);
	buffer_free(&destinations);
}

static void offsets_fetch(struct follow_reader *reader, struct zone *zone)
{
	struct pg_result *rows = NULL;
	/* Whoever edits the table by hand may name a zone that is none; the savepoint keeps the transaction alive. */
	bool asked = pg_script(reader->pg, "SAVEPOINT zone") == PG_OK &&
		     pg_query(reader->pg, "SELECT array_to_string(waybill.zone_offsets($1), ',')",
			      (const char *const[]){zone->name}, 1, &rows) == PG_OK;
	if (!asked) {
		log_warning("time zone %s: unknown, UTC is used; next: waybill customer set CUSTOMER --time-zone ZONE",
			    zone->name);
		pg_script(reader->pg, "ROLLBACK TO SAVEPOINT zone");
		return;
	}
	for (const char *at = pg_string(rows, 0, 0); at && *at;) {
		char *end;
		struct directory_offset offset = {.from = strtoll(at, &end, 10)};
		offset.offset = (int32_t)strtol(*end ? end + 1 : end, &end, 10);
		directory_offset_add(&zone->offsets, offset);
		at = *end ? end + 1 : end;
	}
	pg_result_free(&rows);
}

static struct directory_list zone_offsets(struct follow_reader *reader, const char *name)
{
	struct zone *zone = reader->zones;
	if (!strcmp(name, "UTC"))
		return (struct directory_list){{NULL, 0}};
	while (zone && strcmp(zone->name, name) != 0)
		zone = zone->next;
	if (!zone) {
		zone = memory_zero(1, sizeof(*zone));
		zone->name = text_copy(text_of(name));
		zone->next = reader->zones;
		reader->zones = zone;
		offsets_fetch(reader, zone);
	}
	return (struct directory_list){buffer_view(&zone->offsets)};
}

static void customer_record(struct follow_reader *reader, const struct pg_result *rows, size_t row)
{
	static const char *const from_names[DIRECTORY_FROM_MAX] = {"off", "log", "enforce"};
	int header_from = index_of(pg_field(rows, row, 4), from_names, DIRECTORY_FROM_MAX);
	int takeover = index_of(pg_field(rows, row, 10), takeover_action_names, TAKEOVER_ACTION_MAX);
	struct directory_customer customer = {
		.name = pg_field(rows, row, 0),
		.status = text_equal(pg_field(rows, row, 1), TEXT("active")) ? DIRECTORY_ACTIVE : DIRECTORY_SUSPENDED,
		.status_reason = pg_field(rows, row, 2),
		.status_until = pg_int(rows, row, 3),
		.header_from = header_from < 0 ? DIRECTORY_FROM_ENFORCE : (enum directory_header_from)header_from,
		.offsets = zone_offsets(reader, pg_string(rows, row, 5)),
		.return_path = pg_bool(rows, row, 6),
		.list_unsubscribe = pg_field(rows, row, 7),
		.limits = read_limits(reader, pg_field(rows, row, 8)),
		.max_recipients = pg_int(rows, row, 9),
		.takeover = takeover < 0 ? TAKEOVER_ALERT : (enum takeover_action)takeover,
		.transport = pg_field(rows, row, 11),
	};
	directory_customer_encode(&customer, &reader->record);
}

/* "selector algorithm state sealed public", the last two in hex. */
static void add_key(struct buffer *list, struct text line, struct text domain)
{
	static const char *const states[DIRECTORY_KEY_MAX] = {"pending", "active", "retiring"};
	struct buffer sealed = {0}, public_key = {0};
	struct directory_key key = {.selector = next_word(&line)};
	int algorithm = index_of(next_word(&line), dkim_algorithm_names, DIRECTORY_ALGORITHM_MAX);
	int state = index_of(next_word(&line), states, DIRECTORY_KEY_MAX);
	const char *why = algorithm < 0 || state < 0 ? "its algorithm or state is unknown" : NULL;
	if (!why)
		why = pg_bytea(next_word(&line), &sealed);
	if (!why)
		why = pg_bytea(next_word(&line), &public_key);
	if (why) {
		log_warning("key %.*s of %.*s: left out: %s", TEXT_ARG(key.selector), TEXT_ARG(domain), why);
	} else {
		key.algorithm = (enum directory_key_algorithm)algorithm;
		key.state = (enum directory_key_state)state;
		key.sealed = buffer_view(&sealed);
		key.public_key = buffer_view(&public_key);
		directory_key_add(list, &key);
	}
	buffer_free(&sealed);
	buffer_free(&public_key);
}

static void domain_record(struct follow_reader *reader, const struct pg_result *rows, size_t row)
{
	struct text lines = pg_field(rows, row, 4), line;
	bool strict = text_equal(pg_field(rows, row, 2), TEXT("strict"));
	while (lines.len && text_take(&lines, '\n', &line))
		add_key(&reader->list, line, pg_field(rows, row, 0));
	struct directory_domain domain = {
		.name = pg_field(rows, row, 0),
		.customer = pg_field(rows, row, 1),
		.profile = strict ? DIRECTORY_PROFILE_STRICT : DIRECTORY_PROFILE_LIST_FRIENDLY,
		/* The table counts them up, the record counts what is left out down, so that a record of zeros signs. */
		.signatures = (enum directory_signatures)(DIRECTORY_SIGN_NONE - pg_int(rows, row, 3)),
		.keys = {buffer_view(&reader->list)},
		.limits = read_limits(reader, pg_field(rows, row, 5)),
	};
	directory_domain_encode(&domain, &reader->record);
}

static void suppression_record(struct follow_reader *reader, const struct pg_result *rows, size_t row)
{
	struct directory_suppression suppression = {
		.reason = pg_field(rows, row, 1),
		.event_id = pg_field(rows, row, 2),
		.created_at = pg_int(rows, row, 3),
		.expires_at = pg_int(rows, row, 4),
	};
	directory_suppression_encode(&suppression, &reader->record);
}

static void senders_record(struct follow_reader *reader, const struct pg_result *rows, size_t row)
{
	struct text logins = pg_field(rows, row, 1), login;
	while (logins.len && text_take(&logins, ' ', &login))
		directory_name_add(&reader->list, login);
	directory_senders_encode(&(struct directory_senders){{buffer_view(&reader->list)}}, &reader->record);
}

static void return_path_record(struct follow_reader *reader, const struct pg_result *rows, size_t row)
{
	directory_return_path_encode(&(struct directory_return_path){pg_field(rows, row, 1)}, &reader->record);
}

static void relay_record(struct follow_reader *reader, const struct pg_result *rows, size_t row)
{
	struct directory_relay relay = {.limits = read_limits(reader, pg_field(rows, row, 1))};
	directory_relay_encode(&relay, &reader->record);
}

/* How a kind is read: the first column is the entry's name; the filter takes the keys as $1. */
struct source {
	const char *query, *filter, *order;
	void (*record)(struct follow_reader *reader, const struct pg_result *rows, size_t row);
};

#define EPOCH(column) "coalesce(extract(epoch FROM " column ")::bigint, 0)"
#define LIMITS(condition)                                                                                            \
	"(SELECT string_agg(concat_ws(' ', m.id, m.scope, m.unit, m.action, coalesce(m.destination, '*'), m.spec), " \
	"chr(10) "                                                                                                   \
	"ORDER BY m.id) FROM waybill.limits AS m WHERE " condition ")"

static const struct source sources[DIRECTORY_KIND_MAX] = {
	[DIRECTORY_CUSTOMERS] =
		{"SELECT c.customer, c.status, c.status_reason, " EPOCH(
			 "c.status_until") ", c.header_from, c.time_zone, c.return_path, "
					   "c.list_unsubscribe, " LIMITS(
						   "m.customer = c.customer AND "
						   "m.scope IN ('customer', "
						   "'destination')") ", c.max_recipients, c.takeover, c.transport "
								     "FROM waybill.customers AS c",
		 " WHERE c.customer = ANY ($1::text[])", " ORDER BY c.customer COLLATE \"C\"", customer_record},
	[DIRECTORY_DOMAINS] =
		{"SELECT d.domain, d.customer, d.header_profile, d.signatures, (SELECT string_agg(k.selector || ' ' || "
		 "k.algorithm || ' ' || "
		 "k.state || ' ' || k.sealed::text || ' ' || k.public_key::text, chr(10) ORDER BY k.created_at, "
		 "k.selector) "
		 "FROM waybill.dkim_keys AS k WHERE k.domain = d.domain AND k.state <> 'retired'), " LIMITS(
			 "m.customer = d.customer AND m.scope = 'domain' AND coalesce(m.domain, d.domain) = "
			 "d.domain") " FROM waybill.domains AS d",
		 " WHERE d.domain = ANY ($1::text[])", " ORDER BY d.domain COLLATE \"C\"", domain_record},
	/* clang-format off */
	[DIRECTORY_LOGINS] =
		{"SELECT l.login, l.customer, l.enabled, " EPOCH("l.created_at") ", " EPOCH("l.expires_at") ", "
		 "array_to_string(l.networks, ','), (SELECT string_agg(CASE WHEN r.allow THEN '+' ELSE '-' END || r.pattern, "
		 "chr(10) ORDER BY r.pattern) FROM waybill.rights AS r WHERE r.login = l.login), "
		 LIMITS("m.customer = l.customer AND m.scope IN ('login', 'network') AND coalesce(m.login, l.login) = l.login") ", "
		 "array_to_string(l.destinations, ','), " EPOCH("l.suspended_at") ", l.suspended_reason, " EPOCH("l.guard_since")
		 " FROM waybill.logins AS l",
		 " WHERE l.login = ANY ($1::text[])", " ORDER BY l.login COLLATE \"C\"", login_record},
	/* clang-format on */
	[DIRECTORY_RELAY] = {"SELECT '', " LIMITS("m.scope = 'relay'"), " WHERE $1::text[] IS NOT NULL", "",
			     relay_record},
	[DIRECTORY_SUPPRESSIONS] =
		{"SELECT s.customer || ' ' || s.recipient, s.reason, s.event_id, " EPOCH("s.created_at") ", " EPOCH(
			 "s.expires_at") " FROM (SELECT customer, recipient, reason, event_id, created_at, expires_at "
					 "FROM waybill.suppressions UNION ALL SELECT '*', domain, reason, event_id, "
					 "created_at, expires_at FROM waybill.dead_domains) AS s",
		 " WHERE (s.customer, s.recipient) IN (SELECT split_part(k, ' ', 1), substr(k, strpos(k, ' ') + 1) "
		 "FROM unnest($1::text[]) AS k)",
		 " ORDER BY s.customer COLLATE \"C\", s.recipient COLLATE \"C\"", suppression_record},
	[DIRECTORY_SENDERS] = {"SELECT s.name, s.logins FROM waybill.senders AS s", " WHERE s.name = ANY ($1::text[])",
			       "", senders_record},
	[DIRECTORY_RETURN_PATHS] = {"SELECT p.name, p.customer FROM waybill.return_paths AS p",
				    " WHERE p.name = ANY ($1::text[])", "", return_path_record},
};

static enum follow_answer write_row(struct follow_reader *reader, enum directory_kind kind,
				    const struct pg_result *rows, size_t row)
{
	reader->record.len = reader->list.len = 0;
	sources[kind].record(reader, rows, row);
	reader->why = directory_writer_put(reader->writer, kind, pg_field(rows, row, 0), buffer_view(&reader->record));
	reader->count++;
	return reader->why ? FOLLOW_WRITER : FOLLOW_DONE;
}

static enum follow_answer write_rows(struct follow_reader *reader, enum directory_kind kind,
				     const struct pg_result *rows)
{
	enum follow_answer answer = FOLLOW_DONE;
	for (size_t row = 0; row < pg_rows(rows) && answer == FOLLOW_DONE; row++)
		answer = write_row(reader, kind, rows, row);
	return answer;
}

/* A cursor, so that neither side holds a whole table in memory. */
static enum follow_answer read_all_of(struct follow_reader *reader, enum directory_kind kind)
{
	struct buffer sql = {0};
	struct pg_result *rows = NULL;
	enum follow_answer answer = FOLLOW_DONE;
	bool more = true;
	buffer_format(&sql, "DECLARE everything NO SCROLL CURSOR FOR %s%s", sources[kind].query, sources[kind].order);
	if (pg_script(reader->pg, buffer_string(&sql)) != PG_OK)
		answer = FOLLOW_POSTGRES;
	buffer_free(&sql);
	while (answer == FOLLOW_DONE && more) {
		if (pg_query(reader->pg, "FETCH " FETCH_ROWS " FROM everything", NULL, 0, &rows) != PG_OK)
			return FOLLOW_POSTGRES;
		more = pg_rows(rows) > 0;
		answer = write_rows(reader, kind, rows);
		pg_result_free(&rows);
	}
	if (answer == FOLLOW_DONE && pg_script(reader->pg, "CLOSE everything") != PG_OK)
		answer = FOLLOW_POSTGRES;
	return answer;
}

enum follow_answer follow_read_all(struct follow_reader *reader)
{
	enum follow_answer answer = FOLLOW_DONE;
	for (int kind = 0; kind < DIRECTORY_KIND_MAX && answer == FOLLOW_DONE; kind++)
		if (sources[kind].query)
			answer = read_all_of(reader, (enum directory_kind)kind);
	return answer;
}

/* What is gone from Postgres has no row that would overwrite it, so each entry is removed before it is read. */
enum follow_answer follow_read_some(struct follow_reader *reader, enum directory_kind kind, const char *keys,
				    const struct text *names, size_t count)
{
	struct buffer sql = {0};
	struct pg_result *rows = NULL;
	buffer_format(&sql, "%s%s", sources[kind].query, sources[kind].filter);
	enum pg_status asked = pg_query(reader->pg, buffer_string(&sql), &keys, 1, &rows);
	buffer_free(&sql);
	if (asked != PG_OK)
		return FOLLOW_POSTGRES;
	enum follow_answer answer = FOLLOW_DONE;
	for (size_t i = 0; i < count && answer == FOLLOW_DONE; i++) {
		reader->why = directory_writer_remove(reader->writer, kind, names[i]);
		answer = reader->why ? FOLLOW_WRITER : FOLLOW_DONE;
	}
	if (answer == FOLLOW_DONE)
		answer = write_rows(reader, kind, rows);
	pg_result_free(&rows);
	return answer;
}
