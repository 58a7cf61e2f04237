#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/counters_script.h"
#include "common/counters_stand_in.h"
#include "common/directory_writer.h"
#include "common/log.h"
#include "common/memory.h"

#include "tests/unit/policyd/world.h"

#define MANY        64
#define WORDS_MAX   16
#define KEYS_MAX    256
#define CHARGES_MAX 8

#define COUNTERS_FILE "/counters.mdb"

struct customer {
	char *name, *why;
	bool suspended;
	int64_t until_s, max_recipients;
	enum takeover_action takeover;
	struct buffer offsets;
};

struct login {
	char *name, *customer;
	bool disabled, suspended;
	int64_t created_s, expires_s;
	struct buffer rights, networks, limits, destinations;
};

struct world {
	char folder[64], path[96];
	struct directory_writer *writer;
	struct directory *directory;
	bool changed, trouble;
	struct customer customers[MANY];
	struct login logins[MANY];
	size_t customer_count, login_count;
	struct counters_async *counters;
};

/* Stands in for common/counters_async.c: the same arithmetic, without Redis. */
struct counters_async {
	bool away, uncounted;
	struct counters_local *stand_in; /* counts while Redis is away; NULL: nothing does */
	struct facts {
		char login[64];
		struct takeover_facts facts;
	} facts[MANY];
	size_t facts_count;
	size_t count;
	struct {
		char key[COUNTERS_KEY_MAX + 1];
		struct limit_state state;
	} keys[KEYS_MAX];
	struct receipt {
		char name[256]; /* "QUEUE-ID INSTANCE"; empty: given back */
		bool held;
		size_t count;
		struct charge {
			struct limit_state *state;
			struct limit_spec spec;
			int64_t cost, window_start;
		} charges[CHARGES_MAX];
	} receipts[KEYS_MAX];
	size_t receipt_count;
};

static int64_t clock_s;
static char last_log[4096];

int64_t world_now_s(void)
{
	return clock_s;
}

static struct limit_state *state_of(struct counters_async *counters, const struct counters_request *request,
				    size_t item)
{
	char key[COUNTERS_KEY_MAX + 1];
	key[counters_script_key(request, item, key)] = '\0';
	size_t i = 0;
	while (i < counters->count && strcmp(counters->keys[i].key, key) != 0)
		i++;
	if (i == counters->count) {
		snprintf(counters->keys[i].key, sizeof counters->keys[i].key, "%s", key);
		counters->count++;
	}
	return &counters->keys[i].state;
}

/* The receipt of a question; NULL when it was not charged before. */
static const struct receipt *find_receipt(const struct counters_async *counters, const char *name)
{
	for (size_t i = 0; i < counters->receipt_count; i++)
		if (strcmp(counters->receipts[i].name, name) == 0)
			return &counters->receipts[i];
	return NULL;
}

static int64_t fill_of(const struct counters_item *item, const struct limit_state *state)
{
	if (limit_is_quota(item->limit.spec.period))
		return limit_check(&item->limit.spec, state, 0, clock_s * 1000000, item->window_start, item->window_end)
			.used;
	int64_t backlog_us = state->tat_us - clock_s * 1000000;
	return backlog_us > 0 ? backlog_us : 0;
}

static void charge_one(const struct charge *charge, int64_t cost)
{
	limit_charge(&charge->spec, charge->state, cost, clock_s * 1000000, charge->window_start);
}

static void charge_all(struct counters_async *counters, const struct counters_request *request,
		       const struct counters_result *result, struct receipt *receipt)
{
	for (size_t i = 0; i < request->count && i < CHARGES_MAX; i++) {
		const struct counters_item *item = &request->items[i];
		if (!result->usage[i].allowed)
			continue;
		struct charge *charge = &receipt->charges[receipt->count++];
		*charge = (struct charge){state_of(counters, request, i), item->limit.spec, item->cost,
					  item->window_start};
		charge_one(charge, charge->cost);
	}
}

void counters_async_refund(struct counters_async *counters, struct text customer, struct text node,
			   struct text queue_id)
{
	(void)customer;
	(void)node;
	for (size_t i = 0; i < counters->receipt_count; i++) {
		struct receipt *receipt = &counters->receipts[i];
		struct text name = text_of(receipt->name);
		if (!text_equal(text_head(name, text_find(name, ' ')), queue_id))
			continue;
		for (size_t n = 0; n < receipt->count; n++)
			charge_one(&receipt->charges[n], -receipt->charges[n].cost);
		*receipt = (struct receipt){0};
	}
}

static void answer_while_away(struct counters_async *counters, const struct counters_request *request,
			      struct counters_result *result)
{
	static const enum counters_unavailable all_local[LIMIT_SCOPE_MAX];
	if (counters->stand_in)
		counters_stand_in(counters->stand_in, all_local, request, result);
}

/* What is known of a login; nothing until a line tells it. */
static struct takeover_facts *facts_of(struct counters_async *counters, struct text login)
{
	size_t i = 0;
	while (i < counters->facts_count && !text_equal(login, text_of(counters->facts[i].login)))
		i++;
	if (i == counters->facts_count) {
		text_put(login, counters->facts[i].login, sizeof counters->facts[i].login);
		counters->facts_count++;
	}
	return &counters->facts[i].facts;
}

void counters_async_suspend(struct counters_async *counters, struct text customer, struct text login, int64_t since)
{
	(void)customer;
	(void)since;
	facts_of(counters, login)->suspended = true;
}

void counters_async_flush(struct counters_async *counters)
{
	(void)counters;
}

void counters_async_charge(struct counters_async *counters, const struct counters_request *request, counters_done *done,
			   void *context)
{
	struct counters_expected expected;
	struct counters_result result = {.answer = COUNTERS_UNAVAILABLE,
					 .rule = counters->uncounted ? COUNTERS_FALL_ACCEPT : COUNTERS_FALL_DEFER};
	int64_t fill[COUNTERS_MAX_ITEMS];
	char name[256];
	snprintf(name, sizeof name, "%.*s %.*s", TEXT_ARG(request->queue_id), TEXT_ARG(request->instance));
	const struct receipt *receipt = counters->away ? NULL : find_receipt(counters, name);
	if (receipt) {
		result.answer = COUNTERS_REPEATED;
		result.held = receipt->held;
	} else if (!counters->away) {
		counters_script_expect(request, &expected);
		for (size_t i = 0; i < request->count; i++)
			fill[i] = fill_of(&request->items[i], state_of(counters, request, i));
		counters_script_judge(&expected, clock_s * 1000000, fill, &result);
	}
	if (counters->away) {
		answer_while_away(counters, request, &result);
	} else if (result.answer == COUNTERS_CHARGED) {
		struct receipt *next = &counters->receipts[counters->receipt_count++];
		charge_all(counters, request, &result, next);
		text_put(text_of(name), next->name, sizeof next->name);
		next->held = result.held;
	}
	result.watched = !counters->away && request->watch.login.len;
	if (result.watched)
		result.takeover = *facts_of(counters, request->watch.login);
	done(context, &result);
}

static void note(const char *format, va_list arguments) __attribute__((format(printf, 1, 0)));
static void note(const char *format, va_list arguments)
{
	vsnprintf(last_log, sizeof last_log, format, arguments);
}

#define LOG_STAND_IN(NAME)                   \
	void NAME(const char *format, ...)   \
	{                                    \
		va_list arguments;           \
		va_start(arguments, format); \
		note(format, arguments);     \
		va_end(arguments);           \
	}
LOG_STAND_IN(log_error)
LOG_STAND_IN(log_warning)
LOG_STAND_IN(log_info)
LOG_STAND_IN(log_debug)

bool log_wants(enum log_level level)
{
	return level < LOG_LEVEL_MAX;
}

const char *world_log(void)
{
	return last_log;
}

struct world *world_new(void)
{
	static const struct directory_writer_options options = {.mode = 0600, .group = (gid_t)-1, .map_bytes = 1 << 24};
	struct world *w = memory_zero(1, sizeof *w);
	w->counters = memory_zero(1, sizeof *w->counters);
	snprintf(w->folder, sizeof w->folder, "/tmp/waybill-policy-XXXXXX");
	if (!mkdtemp(w->folder))
		abort();
	snprintf(w->path, sizeof w->path, "%s/directory.mdb", w->folder);
	if (directory_writer_open(w->path, &options, &w->writer))
		abort();
	w->directory = directory_new(w->path);
	w->changed = true;
	return w;
}

static void remove_files(struct world *w)
{
	static const char *const endings[] = {"", "-lock", ".writer", ".new", ".aside"};
	for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
		char path[128];
		snprintf(path, sizeof path, "%s%s", w->path, endings[i]);
		unlink(path);
		snprintf(path, sizeof path, "%s" COUNTERS_FILE "%s", w->folder, endings[i]);
		unlink(path);
	}
	rmdir(w->folder);
}

void world_free(struct world **world)
{
	struct world *w = *world;
	for (size_t i = 0; i < w->customer_count; i++) {
		free(w->customers[i].name);
		free(w->customers[i].why);
		buffer_free(&w->customers[i].offsets);
	}
	for (size_t i = 0; i < w->login_count; i++) {
		free(w->logins[i].name);
		free(w->logins[i].customer);
		buffer_free(&w->logins[i].rights);
		buffer_free(&w->logins[i].networks);
		buffer_free(&w->logins[i].limits);
		buffer_free(&w->logins[i].destinations);
	}
	directory_free(&w->directory);
	directory_writer_close(&w->writer);
	counters_local_free(&w->counters->stand_in);
	remove_files(w);
	free(w->counters);
	free(w);
	*world = NULL;
}

static struct login *find_login(struct world *w, const char *name)
{
	for (size_t i = 0; i < w->login_count; i++)
		if (strcmp(w->logins[i].name, name) == 0)
			return &w->logins[i];
	return NULL;
}

static int64_t time_of(const char *word)
{
	struct tm tm = {0};
	return strptime(word, "%Y-%m-%dT%H:%M:%SZ", &tm) ? timegm(&tm) : -1;
}

static int word_of(const char *word, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
		if (strcmp(word, names[i]) == 0)
			return i;
	return -1;
}

static const char *take_customer(struct world *w, char **words, int count)
{
	struct customer *c = &w->customers[w->customer_count++];
	c->name = text_copy(text_of(words[1]));
	for (int i = 2; i < count; i++) {
		if (strcmp(words[i], "suspended") == 0 && i + 1 < count) {
			c->suspended = true;
			c->why = text_copy(text_of(words[++i]));
		} else if (strcmp(words[i], "until") == 0 && i + 1 < count) {
			c->until_s = time_of(words[++i]);
		} else if (strcmp(words[i], "recipients") == 0 && i + 1 < count) {
			c->max_recipients = strtol(words[++i], NULL, 10);
		} else if (strcmp(words[i], "takeover") == 0 && i + 1 < count) {
			int action = word_of(words[++i], takeover_action_names, TAKEOVER_ACTION_MAX);
			if (action < 0)
				return "takeover off|alert|hold|suspend";
			c->takeover = (enum takeover_action)action;
		} else if (strcmp(words[i], "offset") == 0 && i + 1 < count) {
			directory_offset_add(&c->offsets, (struct directory_offset){
								  .offset = (int32_t)strtol(words[++i], NULL, 10)});
		} else {
			return "after a customer's name: suspended WHY, until TIME, offset SECONDS, recipients N, "
			       "takeover ACTION";
		}
	}
	return NULL;
}

static const char *take_login(struct world *w, char **words, int count)
{
	struct login *l = &w->logins[w->login_count++];
	if (count < 3)
		return "login NAME CUSTOMER";
	l->name = text_copy(text_of(words[1]));
	l->customer = text_copy(text_of(words[2]));
	for (int i = 3; i < count; i++) {
		struct network net;
		if (strcmp(words[i], "disabled") == 0)
			l->disabled = true;
		else if (strcmp(words[i], "suspended") == 0)
			l->suspended = true;
		else if (strcmp(words[i], "created") == 0 && i + 1 < count)
			l->created_s = time_of(words[++i]);
		else if (strcmp(words[i], "expires") == 0 && i + 1 < count)
			l->expires_s = time_of(words[++i]);
		else if (strcmp(words[i], "network") == 0 && i + 1 < count && !network_parse(text_of(words[++i]), &net))
			directory_network_add(&l->networks, &net);
		else if (strcmp(words[i], "destination") == 0 && i + 1 < count)
			directory_right_add(&l->destinations, (struct right){true, text_of(words[++i])});
		else
			return "after a login's customer: disabled, suspended, created TIME, expires TIME, network "
			       "NET, destination "
			       "PATTERN";
	}
	return NULL;
}

static const char *take_right(struct world *w, char **words, int count)
{
	struct login *l = count == 3 ? find_login(w, words[1]) : NULL;
	if (!l)
		return "allow|deny LOGIN PATTERN, of a login above";
	directory_right_add(&l->rights, (struct right){words[0][0] == 'a', text_of(words[2])});
	return NULL;
}

/* limit LOGIN ID SCOPE UNIT ACTION SPEC… */
static const char *take_limit(struct world *w, char **words, int count)
{
	struct login *l = count >= 7 ? find_login(w, words[1]) : NULL;
	struct limit limit = {0};
	char spec[128] = "";
	size_t at;
	if (!l)
		return "limit LOGIN ID SCOPE UNIT ACTION SPEC, of a login above";
	int scope = word_of(words[3], limit_scope_names, LIMIT_SCOPE_MAX);
	int unit = word_of(words[4], limit_unit_names, LIMIT_UNIT_MAX);
	int action = word_of(words[5], limit_action_names, LIMIT_ACTION_MAX);
	if (scope < 0 || unit < 0 || action < 0)
		return "no such scope, unit or action";
	for (int i = 6; i < count; i++)
		snprintf(spec + strlen(spec), sizeof spec - strlen(spec), "%s ", words[i]);
	limit.id = text_of(words[2]);
	limit.scope = (enum limit_scope)scope;
	limit.unit = (enum limit_unit)unit;
	limit.action = (enum limit_action)action;
	const char *why = limit_spec_parse(text_of(spec), &limit.spec, &at);
	if (!why)
		directory_limit_add(&l->limits, &limit);
	return why;
}

static void put(struct world *w, enum directory_kind kind, struct text name, struct buffer *record)
{
	if (directory_writer_put(w->writer, kind, name, buffer_view(record)))
		abort();
	buffer_free(record);
}

static void put_customer(struct world *w, const struct customer *c)
{
	struct buffer record = {0};
	struct directory_customer customer = {.name = text_of(c->name),
					      .status = c->suspended ? DIRECTORY_SUSPENDED : DIRECTORY_ACTIVE,
					      .status_reason = text_of(c->why),
					      .status_until = c->until_s,
					      .offsets = {buffer_view(&c->offsets)},
					      .max_recipients = c->max_recipients,
					      .takeover = c->takeover};
	directory_customer_encode(&customer, &record);
	put(w, DIRECTORY_CUSTOMERS, customer.name, &record);
}

static void put_login(struct world *w, const struct login *l)
{
	struct buffer record = {0};
	struct directory_login login = {.name = text_of(l->name),
					.customer = text_of(l->customer),
					.enabled = !l->disabled,
					.created_at = l->created_s,
					.expires_at = l->expires_s,
					.suspended_at = l->suspended ? clock_s : 0,
					.rights = {buffer_view(&l->rights)},
					.networks = {buffer_view(&l->networks)},
					.limits = {buffer_view(&l->limits)},
					.destinations = {buffer_view(&l->destinations)}};
	directory_login_encode(&login, &record);
	put(w, DIRECTORY_LOGINS, login.name, &record);
}

static void commit(struct world *w)
{
	for (size_t i = 0; i < w->customer_count; i++)
		put_customer(w, &w->customers[i]);
	for (size_t i = 0; i < w->login_count; i++)
		put_login(w, &w->logins[i]);
	if (directory_writer_commit(w->writer, &(struct directory_state){.source = TEXT("test")}))
		abort();
	w->changed = false;
}

static void begin(struct world *w)
{
	bool first = !directory_writer_has_snapshot(w->writer);
	if (first ? directory_writer_build(w->writer) : directory_writer_begin(w->writer))
		abort();
}

static const char *take_domain(struct world *w, char **words, int count)
{
	struct buffer record = {0};
	if (count != 3)
		return "domain DOMAIN CUSTOMER";
	begin(w);
	directory_domain_encode(&(struct directory_domain){.name = text_of(words[1]), .customer = text_of(words[2])},
				&record);
	put(w, DIRECTORY_DOMAINS, text_of(words[1]), &record);
	commit(w);
	return NULL;
}

static const char *take_suppression(struct world *w, char **words, int count)
{
	struct buffer name = {0}, record = {0};
	struct directory_suppression suppression = {0};
	if (count != 4 && count != 6)
		return "suppress CUSTOMER ADDRESS REASON [expires TIME]";
	suppression.reason = text_of(words[3]);
	if (count == 6)
		suppression.expires_at = time_of(words[5]);
	begin(w);
	buffer_format(&name, "%s %s", words[1], words[2]);
	directory_suppression_encode(&suppression, &record);
	put(w, DIRECTORY_SUPPRESSIONS, buffer_view(&name), &record);
	buffer_free(&name);
	commit(w);
	return NULL;
}

static const char *take_facts(struct world *w, char **words, int count)
{
	struct takeover_facts *facts = facts_of(w->counters, text_of(words[1]));
	const struct {
		const char *word;
		int64_t *value;
	} values[] = {
		{"networks", &facts->networks},  {"usually", &facts->networks_usual},
		{"volume", &facts->volume},      {"before", &facts->volume_before},
		{"usual", &facts->volume_usual}, {"bounces", &facts->bad_mailboxes},
	};
	*facts = (struct takeover_facts){.suspended = facts->suspended};
	for (int i = 2; i + 1 < count; i += 2) {
		size_t v = 0;
		while (v < sizeof values / sizeof *values && strcmp(words[i], values[v].word) != 0)
			v++;
		if (v == sizeof values / sizeof *values)
			return "facts LOGIN networks N usually N volume N before N usual N bounces N";
		*values[v].value = strtoll(words[i + 1], NULL, 10);
	}
	return NULL;
}

/* nodes N */
static const char *take_nodes(struct world *w, char **words, int count)
{
	char path[96];
	snprintf(path, sizeof path, "%s" COUNTERS_FILE, w->folder);
	counters_local_free(&w->counters->stand_in);
	int nodes = count == 2 ? (int)strtol(words[1], NULL, 10) : 0;
	if (nodes > 0)
		w->counters->stand_in = counters_local_new(
			&(struct counters_local_options){.path = path, .nodes = nodes, .stand_in = true});
	return nodes > 0 ? NULL : "nodes N";
}

static const char *take_setting(struct world *w, char **words, int count)
{
	if (count != 2)
		return "one word must follow";
	if (strcmp(words[0], "now") == 0)
		return (clock_s = time_of(words[1])) < 0 ? "now YYYY-MM-DDTHH:MM:SSZ" : NULL;
	if (strcmp(words[0], "counters") == 0)
		w->counters->away = strcmp(words[1], "away") == 0;
	else if (strcmp(words[0], "directory") == 0)
		w->trouble = strcmp(words[1], "away") == 0;
	else if (strcmp(words[0], "uncounted") == 0)
		w->counters->uncounted = strcmp(words[1], "accept") == 0;
	return NULL;
}

static const struct {
	const char *word;
	const char *(*take)(struct world *, char **, int);
} kinds[] = {
	{"customer", take_customer}, {"login", take_login},       {"allow", take_right},          {"deny", take_right},
	{"limit", take_limit},       {"domain", take_domain},     {"suppress", take_suppression}, {"now", take_setting},
	{"counters", take_setting},  {"directory", take_setting}, {"uncounted", take_setting},    {"facts", take_facts},
	{"nodes", take_nodes},
};

const char *world_line(struct world *w, const char *line)
{
	char *copy = text_copy(text_of(line)), *words[WORDS_MAX], *save = NULL;
	int count = 0;
	const char *why = "no such line";
	for (char *word = strtok_r(copy, " \t", &save); word && count < WORDS_MAX; word = strtok_r(NULL, " \t", &save))
		words[count++] = word;
	w->changed = true;
	for (size_t i = 0; count > 1 && i < sizeof kinds / sizeof *kinds; i++)
		if (strcmp(words[0], kinds[i].word) == 0)
			why = kinds[i].take(w, words, count);
	free(copy);
	return why;
}

struct directory *world_directory(struct world *w)
{
	static struct directory *nowhere;
	if (w->changed) {
		begin(w);
		commit(w);
	}
	if (!w->trouble)
		return w->directory;
	directory_free(&nowhere);
	nowhere = directory_new("/nonexistent/directory.mdb");
	return nowhere;
}

struct counters_async *world_counters(struct world *w)
{
	return w->counters;
}
