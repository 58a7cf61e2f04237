/* What the takeover guard remembers, in the local store: an entry a login (watch.h). */

#include "common/counters_script.h"
#include "common/watch.h"

#include "common/counters_local_internal.h"

static MDB_val key_of(struct text customer, struct text login, char store[COUNTERS_KEY_MAX])
{
	return counters_local_key(store, counters_script_watch_key(customer, login, 's', store).len);
}

int counters_local_watch(struct counters_local *local, MDB_txn *txn, const struct counters_request *request,
			 int64_t now_s, struct counters_result *result, bool *counted)
{
	const struct counters_watch *watch = &request->watch;
	char store[COUNTERS_KEY_MAX];
	struct watch_memory memory;
	MDB_val key = key_of(request->customer, watch->login, store);
	int error = counters_local_read(local, txn, key, &memory, sizeof memory);
	if (error)
		return error;
	*counted = !watch->looks && result->answer != COUNTERS_REPEATED;
	int64_t recipients = *counted && result->answer == COUNTERS_CHARGED ? watch->recipients : 0;
	result->takeover = watch_ask(&memory, watch, recipients, *counted, now_s);
	result->watched = true;
	return *counted ? counters_local_write(local, txn, key, &memory, sizeof memory, now_s + WATCH_LIFE_S) : 0;
}

/* What happened to a login: bounces, or its suspension. */
struct news {
	struct text customer, login;
	int64_t bounces, since;
	bool suspended;
};

static int tell(struct counters_local *local, MDB_txn *txn, int64_t now_s, void *context)
{
	const struct news *news = context;
	char store[COUNTERS_KEY_MAX];
	struct watch_memory memory;
	MDB_val key = key_of(news->customer, news->login, store);
	int error = counters_local_read(local, txn, key, &memory, sizeof memory);
	if (error)
		return error;
	if (news->suspended)
		watch_suspend(&memory, news->since);
	else
		watch_bounces(&memory, news->bounces, now_s);
	return counters_local_write(local, txn, key, &memory, sizeof memory, now_s + WATCH_LIFE_S);
}

int counters_local_bounces(struct counters_local *local, struct text customer, struct text login, int64_t count)
{
	return counters_local_within(local, tell,
				     &(struct news){.customer = customer, .login = login, .bounces = count});
}

int counters_local_suspend(struct counters_local *local, struct text customer, struct text login, int64_t since)
{
	struct news news = {.customer = customer, .login = login, .since = since, .suspended = true};
	return counters_local_within(local, tell, &news);
}
