/* The Lua calls of the counters: see counters_script.h. Redis' protocol (RESP) is written here rather than by a client
 * library, so that both shells send the same bytes and a call can be sent again. Numbers are written by hand: a charge
 * has some thirty of them. */

#include <string.h>

#include "common/network.h"

#include "common/counters_script.h"

#define DAY_S          INT64_C(86400)
#define PART_MAX       200                          /* bytes of one part of a key; the rest is hashed */
#define EXPIRE_LATER_S (2 * DAY_S)                  /* a quota's key outlives its window, for whoever looks at it */
#define EASTMOST_S     (14 * 3600 - 1)              /* see window_day() */
#define FNV_OFFSET     UINT64_C(0xcbf29ce484222325) /* FNV-1a of 64 bits, draft-eastlake-fnv */
#define FNV_PRIME      UINT64_C(0x100000001b3)
#define DIGITS_MAX     24
#define SUSPENDED_S    (7 * DAY_S) /* until the directory says so: longer than anybody leaves Postgres away */

enum { ITEM_ARGUMENTS = 4, FIXED_ARGUMENTS = 3, WATCH_ARGUMENTS = 3 };
/* The guard's keys in the order of the script's. */
static const char watch_keys[] = {'s', 'b', 'x', 'n', 'h'};

static size_t decimal(int64_t value, char out[DIGITS_MAX])
{
	char reversed[DIGITS_MAX];
	size_t count = 0, len = 0;
	uint64_t rest = value < 0 ? (uint64_t)-value : (uint64_t)value;
	do
		reversed[count++] = (char)('0' + rest % 10);
	while (rest /= 10);
	if (value < 0)
		out[len++] = '-';
	while (count)
		out[len++] = reversed[--count];
	return len;
}

/* "*COUNT" opens a command, "$LEN" a string. */
static void head(struct buffer *out, char kind, size_t number)
{
	char line[DIGITS_MAX + 3] = {kind};
	size_t len = 1 + decimal((int64_t)number, line + 1);
	line[len++] = '\r';
	line[len++] = '\n';
	buffer_add(out, line, len);
}

static void bulk(struct buffer *out, struct text t)
{
	head(out, '$', t.len);
	buffer_text(out, t);
	buffer_add(out, "\r\n", 2);
}

static void bulk_number(struct buffer *out, int64_t value)
{
	char digits[DIGITS_MAX];
	bulk(out, text_at(digits, decimal(value, digits)));
}

struct key {
	char *bytes;
	size_t len;
};

static void add(struct key *key, struct text t)
{
	memcpy(key->bytes + key->len, t.ptr, t.len);
	key->len += t.len;
}

static void add_hex(struct key *key, uint64_t value, int digits)
{
	while (digits--)
		key->bytes[key->len++] = "0123456789ABCDEF"[value >> (4 * digits) & 15];
}

static void add_decimal(struct key *key, int64_t value, size_t width)
{
	char digits[DIGITS_MAX];
	size_t len = decimal(value, digits);
	for (size_t i = len; i < width; i++)
		key->bytes[key->len++] = '0';
	add(key, text_at(digits, len));
}

static bool is_plain(char c)
{
	if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
		return true;
	return c == '.' || c == '_' || c == '@' || c == '+' || c == '-' || c == '/' || c == '=' || c == '*';
}

static uint64_t fnv(struct text t)
{
	uint64_t hash = FNV_OFFSET;
	for (size_t i = 0; i < t.len; i++)
		hash = (hash ^ (unsigned char)t.ptr[i]) * FNV_PRIME;
	return hash;
}

/* One part of a key: plain bytes as they are, others as %XX; "~" stands only before the hash of a cut part. */
static void add_part(struct key *key, struct text t)
{
	size_t start = key->len;
	for (size_t i = 0; i < t.len; i++) {
		if (key->len - start >= PART_MAX) {
			key->bytes[key->len++] = '~';
			add_hex(key, fnv(t), 16);
			return;
		}
		if (is_plain(t.ptr[i])) {
			key->bytes[key->len++] = t.ptr[i];
		} else {
			key->bytes[key->len++] = '%';
			add_hex(key, (unsigned char)t.ptr[i], 2);
		}
	}
}

/* The day on which a window starts. The start is local midnight, and moves by an hour within one window when daylight
 * saving time begins or ends; counted from 14 hours east of Greenwich (less a second, for zones just on a boundary) the
 * day stays the same in every zone that has such a change. */
static void add_window_day(struct key *key, int64_t window_start)
{
	int64_t year;
	int month, day;
	limit_date((window_start + EASTMOST_S) / DAY_S, &year, &month, &day);
	add_decimal(key, year, 4);
	add_decimal(key, month, 2);
	add_decimal(key, day, 2);
}

size_t counters_script_key(const struct counters_request *request, size_t item, char out[COUNTERS_KEY_MAX])
{
	const struct counters_item *it = &request->items[item];
	struct key key = {out, 0};
	add(&key, TEXT("wb:{"));
	add_part(&key, it->limit.scope == LIMIT_RELAY ? TEXT("*") : request->customer);
	add(&key, TEXT("}:l:"));
	add_part(&key, it->limit.id);
	add(&key, TEXT(":"));
	add_part(&key, it->subject);
	if (limit_is_quota(it->limit.spec.period)) {
		add(&key, TEXT(":"));
		add_window_day(&key, it->window_start);
	}
	return key.len;
}

size_t counters_script_receipt_key(struct text customer, struct text node, struct text queue_id,
				   char out[COUNTERS_KEY_MAX])
{
	struct key key = {out, 0};
	add(&key, TEXT("wb:{"));
	add_part(&key, customer);
	add(&key, TEXT("}:r:"));
	add_part(&key, node);
	add(&key, TEXT(":"));
	add_part(&key, queue_id);
	return key.len;
}

struct text counters_script_watch_key(struct text customer, struct text login, char kind, char out[COUNTERS_KEY_MAX])
{
	struct key key = {out, 0};
	add(&key, TEXT("wb:{"));
	add_part(&key, customer);
	add(&key, TEXT("}:t:"));
	add_part(&key, login);
	add(&key, TEXT(":"));
	add(&key, text_at(&kind, 1));
	return text_at(out, key.len);
}

static void begin_call(struct buffer *out, enum counters_script script, size_t keys, size_t arguments)
{
	head(out, '*', 3 + keys + arguments);
	bulk(out, TEXT("EVALSHA"));
	bulk(out, text_of(counters_scripts[script].sha1));
	bulk_number(out, (int64_t)keys);
}

/* The rate of a speed, as its state and its receipt have it: " N PERIOD". */
static void rate_argument(struct buffer *out, const struct limit_spec *spec)
{
	char rate[2 * DIGITS_MAX];
	struct key words = {rate, 0};
	add(&words, TEXT(" "));
	add_decimal(&words, spec->amount, 0);
	add(&words, TEXT(" "));
	add_decimal(&words, limit_period_us(spec->period), 0);
	bulk(out, text_at(rate, words.len));
}

static void item_arguments(struct buffer *out, const struct counters_item *item)
{
	const struct limit_spec *spec = &item->limit.spec;
	bool quota = limit_is_quota(spec->period);
	const char what[] = {quota ? 'q' : 's',
			     item->limit.action == LIMIT_SHADOW ? '0'
			     : item->limit.action == LIMIT_HOLD ? '2'
								: '1',
			     item->settles ? '1' : '0'};
	bulk(out, text_at(what, sizeof what));
	bulk_number(out, limit_cost(spec, item->cost));
	bulk_number(out, limit_room(spec));
	if (quota)
		bulk_number(out, item->window_end + EXPIRE_LATER_S);
	else
		rate_argument(out, spec);
}

static void watch_arguments(struct buffer *out, const struct counters_watch *watch)
{
	char who[DIGITS_MAX + 1 + NETWORK_TEXT_MAX];
	struct key words = {who, 0};
	add_decimal(&words, watch->since, 0);
	add(&words, TEXT(" "));
	add(&words, watch->network.len ? text_head(watch->network, NETWORK_TEXT_MAX) : TEXT("-"));
	bulk(out, text_at(who, words.len));
	bulk_number(out, watch->utc_offset);
	if (watch->looks)
		bulk(out, TEXT(""));
	else
		bulk_number(out, watch->recipients);
}

static void charge_keys(struct buffer *out, const struct counters_request *request)
{
	char key[COUNTERS_KEY_MAX];
	for (size_t i = 0; i < request->count; i++)
		bulk(out, text_at(key, counters_script_key(request, i, key)));
	if (request->queue_id.len)
		bulk(out, text_at(key, counters_script_receipt_key(request->customer, request->node, request->queue_id,
								   key)));
	for (size_t i = 0; request->watch.login.len && i < sizeof watch_keys; i++)
		bulk(out, counters_script_watch_key(request->customer, request->watch.login, watch_keys[i], key));
}

void counters_script_charge(const struct counters_request *request, struct buffer *out)
{
	char key[COUNTERS_KEY_MAX];
	bool receipt = request->queue_id.len > 0, watched = request->watch.login.len > 0;
	begin_call(out, COUNTERS_SCRIPT_CHARGE, request->count + receipt + (watched ? sizeof watch_keys : 0),
		   FIXED_ARGUMENTS + request->count * ITEM_ARGUMENTS + (watched ? WATCH_ARGUMENTS : 0));
	charge_keys(out, request);
	struct key instance = {key, 0};
	add_part(&instance, request->instance);
	/* A receipt of a nameless question: "-", since the empty argument means none. */
	struct text name = instance.len ? text_at(key, instance.len) : TEXT("-");
	bulk(out, receipt ? name : TEXT(""));
	bulk_number(out, COUNTERS_RECEIPT_TTL);
	bulk(out, request->begins ? TEXT("1") : TEXT("0"));
	for (size_t i = 0; i < request->count; i++)
		item_arguments(out, &request->items[i]);
	if (watched)
		watch_arguments(out, &request->watch);
}

void counters_script_bounces(struct text customer, struct text login, int64_t count, struct buffer *out)
{
	char key[COUNTERS_KEY_MAX];
	begin_call(out, COUNTERS_SCRIPT_BOUNCES, 1, 1);
	bulk(out, counters_script_watch_key(customer, login, 'b', key));
	bulk_number(out, count);
}

void counters_script_suspend(struct text customer, struct text login, int64_t since, struct buffer *out)
{
	char key[COUNTERS_KEY_MAX];
	head(out, '*', 5);
	bulk(out, TEXT("SET"));
	bulk(out, counters_script_watch_key(customer, login, 'x', key));
	bulk_number(out, since);
	bulk(out, TEXT("EX"));
	bulk_number(out, SUSPENDED_S);
}

void counters_script_refund(struct text customer, struct text node, struct text queue_id, struct buffer *out)
{
	char key[COUNTERS_KEY_MAX];
	begin_call(out, COUNTERS_SCRIPT_REFUND, 1, 0);
	bulk(out, text_at(key, counters_script_receipt_key(customer, node, queue_id, key)));
}

/* What stands behind the next line of RESP. */
static struct text behind_line(struct text t)
{
	return text_from(t, text_find(t, '\n') + 1);
}

void counters_script_spell_out(enum counters_script script, struct text call, struct buffer *out)
{
	struct text count = text_head(call, text_find(call, '\n') + 1), rest = behind_line(call);
	for (int lines = 0; lines < 4; lines++) /* the length and the word EVALSHA, the length and the hash */
		rest = behind_line(rest);
	buffer_text(out, count);
	bulk(out, TEXT("EVAL"));
	bulk(out, counters_scripts[script].source);
	buffer_text(out, rest);
}

void counters_script_load(enum counters_script script, struct buffer *out)
{
	head(out, '*', 3);
	bulk(out, TEXT("SCRIPT"));
	bulk(out, TEXT("LOAD"));
	bulk(out, counters_scripts[script].source);
}

void counters_script_auth(const char *password, struct buffer *out)
{
	head(out, '*', 2);
	bulk(out, TEXT("AUTH"));
	bulk(out, text_of(password));
}

void counters_script_expect(const struct counters_request *request, struct counters_expected *out)
{
	out->count = request->count;
	out->watched = request->watch.login.len > 0;
	for (size_t i = 0; i < request->count; i++) {
		const struct counters_item *item = &request->items[i];
		out->items[i].spec = item->limit.spec;
		out->items[i].cost = item->cost;
		out->items[i].window_end = item->window_end;
		out->items[i].action = item->limit.action;
	}
}

/* Of the limits without room of one kind, the one that waits longest. */
struct longest {
	size_t item;
	int64_t us;
	bool found;
};

static void find_longest(struct longest *longest, size_t item, int64_t retry_after_us)
{
	if (!longest->found || retry_after_us > longest->us)
		*longest = (struct longest){item, retry_after_us, true};
}

void counters_script_judge(const struct counters_expected *expected, int64_t now_us, const int64_t *fill,
			   struct counters_result *out)
{
	struct longest refuses = {0}, holds = {0};
	*out = (struct counters_result){.answer = COUNTERS_CHARGED, .count = expected->count};
	for (size_t i = 0; i < expected->count; i++) {
		enum limit_action action = expected->items[i].action;
		struct limit_usage usage = limit_usage_of(&expected->items[i].spec, fill[i], expected->items[i].cost,
							  now_us, expected->items[i].window_end);
		out->usage[i] = usage;
		if (usage.allowed)
			continue;
		if (action == LIMIT_SHADOW)
			out->shadowed = true;
		else
			find_longest(action == LIMIT_HOLD ? &holds : &refuses, i, usage.retry_after_us);
	}
	if (refuses.found)
		out->answer = COUNTERS_REFUSED;
	out->held = holds.found && !refuses.found;
	out->binding = refuses.found ? refuses.item : holds.item;
}

/* The facts as the script tells them: a string of some, then the REST. */
static const char *read_facts(struct text facts, const int64_t rest[COUNTERS_SCRIPT_FACTS], struct counters_result *out)
{
	struct takeover_facts *to = &out->takeover;
	int64_t *const numbers[] = {&to->volume, &to->volume_before, &to->volume_usual, &to->networks,
				    &to->networks_usual};
	struct text word;
	uint64_t value;
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		if (!text_take(&facts, ' ', &word) || text_uint(word, INT64_MAX, &value))
			return "not an answer of the charge script";
		*numbers[i] = (int64_t)value;
	}
	to->bad_mailboxes = rest[0];
	to->suspended = rest[1] != 0;
	out->watched = true;
	return NULL;
}

/* The first integer of the script's answer. */
enum { ANSWER_CHARGED, ANSWER_REPEATED, ANSWER_REFUSED, ANSWER_REPEATED_HELD };

static const char *read_charge(const struct counters_expected *expected, const int64_t *values, size_t count,
			       struct counters_result *out)
{
	if (count == 2 && (values[0] == ANSWER_REPEATED || values[0] == ANSWER_REPEATED_HELD)) {
		out->answer = COUNTERS_REPEATED;
		out->held = values[0] == ANSWER_REPEATED_HELD;
		return NULL;
	}
	if (count != 2 + expected->count || (values[0] != ANSWER_CHARGED && values[0] != ANSWER_REFUSED))
		return "not an answer of the charge script";
	counters_script_judge(expected, values[1], values + 2, out);
	bool refused = values[0] == ANSWER_REFUSED;
	return refused == (out->answer == COUNTERS_REFUSED) ? NULL : "the charge script and the limits disagree";
}

const char *counters_script_result(const struct counters_expected *expected, const int64_t *values, size_t count,
				   struct text facts, struct counters_result *out)
{
	size_t rest = expected->watched ? COUNTERS_SCRIPT_FACTS : 0;
	const char *why = "not an answer of the charge script";
	*out = (struct counters_result){.answer = COUNTERS_UNAVAILABLE};
	if (count >= 2 + rest)
		why = read_charge(expected, values, count - rest, out);
	if (!why && rest)
		why = read_facts(facts, values + count - rest, out);
	if (why)
		*out = (struct counters_result){.answer = COUNTERS_UNAVAILABLE};
	return why;
}
