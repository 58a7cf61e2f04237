/* What Postgres allows waybill-webhookd at best: the leases and records of an outbox full of deliveries, in the same
 * statements and batches, bodies made from the events, and no POST in between.
 *
 *	outbox_loop CONNINFO WEBHOOK_KEY_FILE        prints deliveries per second */

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>

#include "common/seal.h"

#include "bouncer/outbox.h"

/* As in bouncer/clerk.c and the settings' defaults. */
#define BATCH_MAX    1000
#define ENDPOINT_MAX 512
#define LEASE_MS     60000
#define TIMEOUT_MS   15000
#define FAILURES     5

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void none_is_disabled(const char *customer, const char *endpoint, const char *reason)
{
	fprintf(stderr, "%s %s: %s\n", customer, endpoint, reason);
}

/* As after a POST that was answered 200 within a millisecond. */
static void answer_all(const struct delivery_list *list)
{
	for (struct delivery *d = list->head; d; d = d->next) {
		d->state = DELIVERY_POSTED;
		d->status = 200;
		d->started_us = (int64_t)time(NULL) * 1000000;
		d->duration_ms = 1;
		buffer_text(&d->answer, TEXT("ok"));
		delivery_judge(d, 0);
	}
}

/* Deliveries recorded; 0 when nothing was due; -1 on an error. */
static long round_trip(struct outbox *outbox)
{
	struct delivery_list list = {0};
	enum pg_status status = outbox_lease(outbox, BATCH_MAX, TEXT("{}"), now_ms(), &list);
	long count = (long)list.count;
	answer_all(&list);
	if (status == PG_OK && count)
		status = outbox_record(outbox, &list);
	delivery_list_free(&list);
	if (status != PG_OK)
		fprintf(stderr, "%s\n", outbox_error(outbox));
	return status == PG_OK ? count : -1;
}

int main(int argc, char **argv)
{
	char *error = NULL;
	if (argc != 3)
		return EX_USAGE;
	struct seal *seal = seal_open(argv[2], &error);
	if (!seal) {
		fprintf(stderr, "%s\n", error);
		free(error);
		return EX_CONFIG;
	}
	struct outbox *outbox = outbox_new(&(struct outbox_settings){.postgres = argv[1],
								     .seal = seal,
								     .lease_ms = LEASE_MS,
								     .timeout_ms = TIMEOUT_MS,
								     .endpoint_max = ENDPOINT_MAX,
								     .breaker_failures = FAILURES,
								     .disabled = none_is_disabled});
	long total = 0, count = -1;
	int64_t start = now_ms();
	if (outbox_listen(outbox) == PG_OK)
		while ((count = round_trip(outbox)) > 0)
			total += count;
	if (count == 0)
		printf("%.0f\n", (double)total * 1000 / (double)(now_ms() - start));
	outbox_free(&outbox);
	seal_close(&seal);
	return count == 0 ? 0 : EX_UNAVAILABLE;
}
