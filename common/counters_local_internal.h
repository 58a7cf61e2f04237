#ifndef COMMON_COUNTERS_LOCAL_INTERNAL_H
#define COMMON_COUNTERS_LOCAL_INTERNAL_H

/* What the files of the local store share: counters_local.c, the limits; counters_local_watch.c, the takeover guard. */

#include <pthread.h>

#include <lmdb.h>

#include "common/counters_local.h"

#define COUNTERS_LOCAL_KEY_MAX 511 /* LMDB's, compiled in */

struct counters_local {
	char *path;
	int nodes;
	bool stand_in;
	int64_t epoch_us;     /* 1970 by the monotonic clock: a step of the wall clock moves nothing */
	pthread_mutex_t lock; /* guards what follows until the file is open */
	MDB_env *env;
	MDB_dbi dbi;
	int64_t retry_at_ms;
	bool complained;
	char sweep[COUNTERS_LOCAL_KEY_MAX]; /* where the next sweep begins; guarded by LMDB's own lock */
	size_t sweep_len;
};

/* The key of LEN bytes at KEY, as long as LMDB takes it. */
MDB_val counters_local_key(char *key, size_t len);
/* The SIZE bytes of an entry, zeros when there is none, and back; it is removed some time after EXPIRES_S. 0, or LMDB's
 * error. */
int counters_local_read(struct counters_local *local, MDB_txn *txn, MDB_val key, void *out, size_t size);
int counters_local_write(struct counters_local *local, MDB_txn *txn, MDB_val key, const void *in, size_t size,
			 int64_t expires_s);

/* Calls ACT within a transaction, which is kept unless it returns an error of LMDB's. 0 or -1. */
typedef int counters_local_act(struct counters_local *local, MDB_txn *txn, int64_t now_s, void *context);
int counters_local_within(struct counters_local *local, counters_local_act *act, void *context);

/* The takeover guard's part of a question whose limits are answered: tells RESULT, and *COUNTED whether anything was
 * written. 0, or LMDB's error. */
int counters_local_watch(struct counters_local *local, MDB_txn *txn, const struct counters_request *request,
			 int64_t now_s, struct counters_result *result, bool *counted);

#endif
