/* Counters in a file: see counters_local.h. One write transaction a question; LMDB's lock puts them in order over threads
 * and processes. Entries carry their expiry in front; each transaction looks at a few of all entries in turn and removes
 * those whose time is over, so that the file stays as large as what is in use. */

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <lmdb.h>

#include "common/counters_receipt.h"
#include "common/counters_script.h"
#include "common/log.h"
#include "common/memory.h"

#include "common/counters_local_internal.h"

#define MAP_BYTES    ((size_t)4 << 30) /* address space; the file is as large as what is in it */
#define FILE_MODE    0660              /* whatever the umask: the daemons of one group have accounts of their own */
#define SWEEP        4                 /* entries looked at by each transaction */
#define RETRY_MS     1000
#define SPARE_S      60 /* an entry outlives its use by this */
#define SECOND_US    INT64_C(1000000)
#define SHARE_TENTHS 12 /* limit / nodes * 1.2 */

static int64_t clock_us(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * SECOND_US + now.tv_nsec / 1000;
}

static int64_t now_us(const struct counters_local *local)
{
	return local->epoch_us + clock_us(CLOCK_MONOTONIC);
}

struct counters_local *counters_local_new(const struct counters_local_options *options)
{
	struct counters_local *local = memory_zero(1, sizeof *local);
	local->path = text_copy(text_of(options->path));
	local->nodes = options->nodes > 0 ? options->nodes : 1;
	local->stand_in = options->stand_in;
	local->epoch_us = clock_us(CLOCK_REALTIME) - clock_us(CLOCK_MONOTONIC);
	pthread_mutex_init(&local->lock, NULL);
	return local;
}

void counters_local_free(struct counters_local **local)
{
	struct counters_local *l = *local;
	if (!l)
		return;
	if (l->env)
		mdb_env_close(l->env);
	pthread_mutex_destroy(&l->lock);
	free(l->path);
	free(l);
	*local = NULL;
}

struct counters_local *counters_local_of(const struct counters_options *options)
{
	struct counters_local_options local = {
		.path = options->local_path, .nodes = options->nodes, .stand_in = !options->only_local};
	return options->local_path ? counters_local_new(&local) : NULL;
}

static int open_dbi(MDB_env *env, MDB_dbi *dbi)
{
	MDB_txn *txn;
	int error = mdb_txn_begin(env, NULL, 0, &txn);
	if (error)
		return error;
	error = mdb_dbi_open(txn, NULL, 0, dbi);
	if (error) {
		mdb_txn_abort(txn);
		return error;
	}
	return mdb_txn_commit(txn);
}

/* Only its owner can, and so whoever made it does. */
static void share_files(const struct counters_local *local, MDB_env *env)
{
	mdb_filehandle_t fd;
	struct buffer lock = {0};
	buffer_format(&lock, "%s-lock", local->path);
	if (mdb_env_get_fd(env, &fd) == 0)
		fchmod(fd, FILE_MODE);
	chmod(buffer_string(&lock), FILE_MODE);
	buffer_free(&lock);
}

static int open_file(struct counters_local *local)
{
	MDB_env *env;
	int error = mdb_env_create(&env);
	if (!error)
		error = mdb_env_set_mapsize(env, MAP_BYTES);
	if (!error)
		error = mdb_env_open(env, local->path, MDB_NOSUBDIR | MDB_NOSYNC | MDB_NOTLS | MDB_NORDAHEAD,
				     FILE_MODE);
	if (!error)
		share_files(local, env);
	if (!error)
		error = open_dbi(env, &local->dbi);
	if (error)
		mdb_env_close(env);
	else
		local->env = env;
	return error;
}

/* A power cut may leave a file that is none: counters can be counted anew. */
static int open_or_replace(struct counters_local *local)
{
	int error = open_file(local);
	if (error != MDB_INVALID && error != MDB_CORRUPTED && error != MDB_VERSION_MISMATCH &&
	    error != MDB_PAGE_NOTFOUND)
		return error;
	log_warning("%s: %s; counting begins anew", local->path, mdb_strerror(error));
	unlink(local->path);
	return open_file(local);
}

static void complain(struct counters_local *local, int error)
{
	if (!local->complained)
		log_error("%s: %s: limits cannot be counted on this host; it is tried again every second", local->path,
			  mdb_strerror(error));
	local->complained = true;
}

static bool ready(struct counters_local *local)
{
	int64_t now_ms = clock_us(CLOCK_MONOTONIC) / 1000;
	pthread_mutex_lock(&local->lock);
	if (!local->env && now_ms >= local->retry_at_ms) {
		local->retry_at_ms = now_ms + RETRY_MS;
		int error = open_or_replace(local);
		if (error)
			complain(local, error);
	}
	bool is_ready = local->env != NULL;
	pthread_mutex_unlock(&local->lock);
	return is_ready;
}

/* LMDB's keys are shorter than Redis': the tail of a longer one is kept, where subject and queue id stand apart. */
MDB_val counters_local_key(char *key, size_t len)
{
	size_t cut = len > COUNTERS_LOCAL_KEY_MAX ? len - COUNTERS_LOCAL_KEY_MAX : 0;
	return (MDB_val){len - cut, key + cut};
}

static int get(struct counters_local *local, MDB_txn *txn, MDB_val key, struct text *out)
{
	MDB_val value;
	int error = mdb_get(txn, local->dbi, &key, &value);
	*out = error ? TEXT("") : text_at(value.mv_data, value.mv_size);
	return error == MDB_NOTFOUND ? 0 : error;
}

int counters_local_read(struct counters_local *local, MDB_txn *txn, MDB_val key, void *out, size_t size)
{
	struct text bytes;
	int error = get(local, txn, key, &bytes);
	if (!error && bytes.len == sizeof(int64_t) + size)
		memcpy(out, bytes.ptr + sizeof(int64_t), size);
	else
		memset(out, 0, size);
	return error;
}

int counters_local_write(struct counters_local *local, MDB_txn *txn, MDB_val key, const void *in, size_t size,
			 int64_t expires_s)
{
	MDB_val value = {sizeof expires_s + size, NULL};
	int error = mdb_put(txn, local->dbi, &key, &value, MDB_RESERVE);
	if (error)
		return error;
	memcpy(value.mv_data, &expires_s, sizeof expires_s);
	memcpy((char *)value.mv_data + sizeof expires_s, in, size);
	return 0;
}

static int get_state(struct counters_local *local, MDB_txn *txn, MDB_val key, struct limit_state *out)
{
	return counters_local_read(local, txn, key, out, sizeof *out);
}

static int put_state(struct counters_local *local, MDB_txn *txn, MDB_val key, const struct limit_state *state,
		     int64_t expires_s)
{
	return counters_local_write(local, txn, key, state, sizeof *state, expires_s + SPARE_S);
}

/* One question while its transaction is open. */
struct work {
	struct counters_local *local;
	MDB_txn *txn;
	const struct counters_request *request;
	int64_t now_us;
	struct counters_item items[COUNTERS_MAX_ITEMS]; /* with this host's share of the limits */
	struct limit_state states[COUNTERS_MAX_ITEMS];
	int64_t fill[COUNTERS_MAX_ITEMS], held[COUNTERS_MAX_ITEMS];
	struct buffer receipt;
	bool is_held; /* by a hold limit; of a repeated question: the first time */
	int error;
};

static int64_t share(const struct counters_local *local, int64_t units)
{
	int64_t part = units / 10 * SHARE_TENTHS / local->nodes + units % 10 * SHARE_TENTHS / 10 / local->nodes;
	return part || !units ? part : 1;
}

static MDB_val item_key(const struct work *work, size_t i, char store[COUNTERS_KEY_MAX])
{
	return counters_local_key(store, counters_script_key(work->request, i, store));
}

static MDB_val receipt_key(struct text customer, struct text node, struct text queue_id, char store[COUNTERS_KEY_MAX])
{
	return counters_local_key(store, counters_script_receipt_key(customer, node, queue_id, store));
}

/* A cost on a receipt at the limit's rate of today. */
static int64_t cost_today(const struct limit_spec *spec, const struct counters_receipt_line *line, int64_t now)
{
	struct limit_state then = {.tat_us = now + line->cost, .amount = line->amount, .period_us = line->period_us};
	return line->kind == COUNTERS_RECEIPT_SPEED ? limit_fill(spec, &then, now, 0) : line->cost;
}

/* Takes what the receipt holds for item I out of it. */
static int64_t take_held(struct work *work, size_t i)
{
	char store[COUNTERS_KEY_MAX];
	MDB_val key = item_key(work, i, store);
	struct text rest = buffer_view(&work->receipt), name = text_at(key.mv_data, key.mv_size);
	struct buffer others = {0};
	struct counters_receipt_line line;
	int64_t held = 0;
	while (counters_receipt_next(&rest, &line)) {
		if (line.kind != COUNTERS_RECEIPT_INSTANCE && text_equal(line.name, name))
			held += cost_today(&work->items[i].limit.spec, &line, work->now_us);
		else
			counters_receipt_add(&others, &line);
	}
	buffer_free(&work->receipt);
	work->receipt = others;
	return held;
}

static void read_item(struct work *work, size_t i)
{
	char store[COUNTERS_KEY_MAX];
	struct counters_item *item = &work->items[i];
	struct limit_spec *spec = &item->limit.spec;
	*item = work->request->items[i];
	if (work->local->stand_in) {
		spec->amount = share(work->local, spec->amount);
		spec->burst = share(work->local, spec->burst);
	}
	work->error = get_state(work->local, work->txn, item_key(work, i, store), &work->states[i]);
	work->fill[i] = limit_fill(spec, &work->states[i], work->now_us, item->window_start);
	work->held[i] = item->settles && spec->amount ? take_held(work, i) : 0;
	if (work->held[i] > work->fill[i])
		work->held[i] = work->fill[i];
	work->fill[i] -= work->held[i];
}

/* Reads the receipt; true when this very question was charged before. */
static bool is_repeated(struct work *work)
{
	char store[COUNTERS_KEY_MAX];
	const struct counters_request *request = work->request;
	struct text bytes;
	struct counters_receipt_line line;
	work->error = get(work->local, work->txn,
			  receipt_key(request->customer, request->node, request->queue_id, store), &bytes);
	bytes = text_from(bytes, sizeof(int64_t));
	for (struct text rest = bytes; counters_receipt_next(&rest, &line);)
		if (line.kind == COUNTERS_RECEIPT_INSTANCE && text_equal(line.name, request->instance)) {
			work->is_held = line.cost != 0;
			return true;
		}
	if (!request->begins)
		buffer_text(&work->receipt, bytes);
	return false;
}

static void write_item(struct work *work, size_t i)
{
	char store[COUNTERS_KEY_MAX];
	const struct counters_item *item = &work->items[i];
	const struct limit_spec *spec = &item->limit.spec;
	int64_t cost = limit_cost(spec, item->cost);
	bool quota = limit_is_quota(spec->period);
	if (!cost && !work->held[i])
		return;
	MDB_val key = item_key(work, i, store);
	limit_refill(spec, &work->states[i], work->fill[i] + cost, work->now_us, item->window_start);
	int64_t expires_s = quota ? item->window_end : work->states[i].tat_us / SECOND_US;
	work->error = put_state(work->local, work->txn, key, &work->states[i], expires_s);
	counters_receipt_add(&work->receipt, &(struct counters_receipt_line){
						     .kind = quota ? COUNTERS_RECEIPT_QUOTA : COUNTERS_RECEIPT_SPEED,
						     .name = text_at(key.mv_data, key.mv_size),
						     .cost = cost,
						     .amount = spec->amount,
						     .period_us = limit_period_us(spec->period),
					     });
}

static void write_receipt(struct work *work)
{
	char store[COUNTERS_KEY_MAX];
	const struct counters_request *request = work->request;
	struct buffer value = {0};
	int64_t expires_s = work->now_us / SECOND_US + COUNTERS_RECEIPT_TTL;
	counters_receipt_add(&work->receipt,
			     &(struct counters_receipt_line){.name = request->instance, .cost = work->is_held});
	buffer_add(&value, &expires_s, sizeof expires_s);
	buffer_text(&value, buffer_view(&work->receipt));
	MDB_val key = receipt_key(request->customer, request->node, request->queue_id, store),
		data = {value.len, value.ptr};
	work->error = mdb_put(work->txn, work->local->dbi, &key, &data, 0);
	buffer_free(&value);
}

/* Looks at the next few entries; begins again at the end. */
static void sweep(struct work *work)
{
	MDB_cursor *cursor;
	struct counters_local *local = work->local;
	MDB_val key = {local->sweep_len, local->sweep}, value;
	if (mdb_cursor_open(work->txn, local->dbi, &cursor))
		return;
	int error = mdb_cursor_get(cursor, &key, &value, local->sweep_len ? MDB_SET_RANGE : MDB_FIRST);
	for (int i = 0; i < SWEEP && !error; i++) {
		int64_t expires_s = 0;
		if (value.mv_size >= sizeof expires_s)
			memcpy(&expires_s, value.mv_data, sizeof expires_s);
		if (expires_s < work->now_us / SECOND_US)
			mdb_cursor_del(cursor, 0);
		error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	local->sweep_len = 0;
	if (!error && key.mv_size <= sizeof local->sweep) {
		memcpy(local->sweep, key.mv_data, key.mv_size);
		local->sweep_len = key.mv_size;
	}
	mdb_cursor_close(cursor);
}

static void judge(struct work *work, struct counters_result *result)
{
	struct counters_request shared = *work->request;
	struct counters_expected expected;
	memcpy(shared.items, work->items, shared.count * sizeof *work->items);
	counters_script_expect(&shared, &expected);
	counters_script_judge(&expected, work->now_us, work->fill, result);
}

static void charge(struct work *work, struct counters_result *result)
{
	size_t count = work->request->count;
	bool receipt = work->request->queue_id.len > 0;
	if (receipt && is_repeated(work)) {
		result->answer = COUNTERS_REPEATED;
		result->held = work->is_held;
		return;
	}
	for (size_t i = 0; i < count && !work->error; i++)
		read_item(work, i);
	if (work->error)
		return;
	judge(work, result);
	work->is_held = result->held;
	for (size_t i = 0; i < count && result->answer == COUNTERS_CHARGED && !work->error; i++)
		if (result->usage[i].allowed)
			write_item(work, i);
	if (receipt && result->answer == COUNTERS_CHARGED && !work->error)
		write_receipt(work);
}

static void finish(struct work *work, bool keep)
{
	if (keep && !work->error)
		sweep(work);
	if (keep && !work->error)
		work->error = mdb_txn_commit(work->txn);
	else
		mdb_txn_abort(work->txn);
	buffer_free(&work->receipt);
}

/* Errors are told once, a recovery once. */
static void note(struct counters_local *local, int error)
{
	pthread_mutex_lock(&local->lock);
	if (error)
		complain(local, error);
	else if (local->complained)
		log_info("%s: limits are counted again", local->path);
	if (!error)
		local->complained = false;
	pthread_mutex_unlock(&local->lock);
}

void counters_local_charge(struct counters_local *local, const struct counters_request *request,
			   struct counters_result *result)
{
	struct work work = {.local = local, .request = request};
	*result = (struct counters_result){.answer = COUNTERS_UNAVAILABLE};
	if (!ready(local))
		return;
	work.error = mdb_txn_begin(local->env, NULL, 0, &work.txn);
	work.now_us = now_us(local);
	if (!work.error) {
		charge(&work, result);
		bool counted = false;
		if (!work.error && request->watch.login.len && !local->stand_in)
			work.error = counters_local_watch(local, work.txn, request, work.now_us / SECOND_US, result,
							  &counted);
		finish(&work, counted || result->answer == COUNTERS_CHARGED);
	}
	if (work.error)
		*result = (struct counters_result){.answer = COUNTERS_UNAVAILABLE};
	note(local, work.error);
}

/* Gives back one line of a receipt, at the rate at which the state stands today. */
static void give_back(struct work *work, const struct counters_receipt_line *line)
{
	struct limit_state state;
	MDB_val key = {line->name.len, (void *)(uintptr_t)line->name.ptr};
	work->error = get_state(work->local, work->txn, key, &state);
	if (work->error || line->kind == COUNTERS_RECEIPT_INSTANCE)
		return;
	int64_t expires_s = work->now_us / SECOND_US;
	if (line->kind == COUNTERS_RECEIPT_QUOTA) {
		state.used = state.used > line->cost ? state.used - line->cost : 0;
		expires_s = state.window_start + 31 * 86400;
	} else {
		/* What was charged before the limit was edited stays charged: it is gone within one burst. */
		if (state.amount == line->amount && state.period_us == line->period_us)
			state.tat_us -= line->cost;
		expires_s = state.tat_us / SECOND_US;
	}
	work->error = put_state(work->local, work->txn, key, &state, expires_s);
}

static void give_all_back(struct work *work, MDB_val key)
{
	struct text bytes, rest;
	struct counters_receipt_line line;
	work->error = get(work->local, work->txn, key, &bytes);
	if (work->error || !bytes.len)
		return;
	/* The bytes in the map move when something is written. */
	buffer_text(&work->receipt, text_from(bytes, sizeof(int64_t)));
	rest = buffer_view(&work->receipt);
	while (!work->error && counters_receipt_next(&rest, &line))
		give_back(work, &line);
	if (!work->error)
		work->error = mdb_del(work->txn, work->local->dbi, &key, NULL);
}

int counters_local_refund(struct counters_local *local, struct text customer, struct text node, struct text queue_id)
{
	char store[COUNTERS_KEY_MAX];
	struct work work = {.local = local};
	if (!ready(local))
		return -1;
	work.error = mdb_txn_begin(local->env, NULL, 0, &work.txn);
	work.now_us = now_us(local);
	if (!work.error) {
		give_all_back(&work, receipt_key(customer, node, queue_id, store));
		finish(&work, true);
	}
	note(local, work.error);
	return work.error ? -1 : 0;
}

int counters_local_within(struct counters_local *local, counters_local_act *act, void *context)
{
	struct work work = {.local = local};
	if (!ready(local))
		return -1;
	work.error = mdb_txn_begin(local->env, NULL, 0, &work.txn);
	work.now_us = now_us(local);
	if (!work.error) {
		work.error = act(local, work.txn, work.now_us / SECOND_US, context);
		finish(&work, true);
	}
	note(local, work.error);
	return work.error ? -1 : 0;
}
