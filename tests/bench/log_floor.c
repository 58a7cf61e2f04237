/* The least that a reader of Postfix's log must do: take lines apart into daemon, process and queue id, and deliveries into
 * recipient, relay, delay, code and status. It remembers nothing and believes everything. Prints its microseconds of CPU.
 *
 *	log_floor FILE */

#include "log_reader.h"

struct counts {
	uint64_t sum, deliveries, statuses[4];
};

/* What stands behind KEY, up to STOP; moves *AT behind it. */
static size_t value(const char **at, const char *end, const char *key, size_t key_len, char stop)
{
	const char *start = memmem(*at, (size_t)(end - *at), key, key_len);
	if (!start)
		return 0;
	start += key_len;
	const char *last = memchr(start, stop, (size_t)(end - start));
	*at = last ? last : end;
	return (size_t)(*at - start);
}
#define VALUE(at, end, key, stop) value(&(at), (end), (key), sizeof(key) - 1, (stop))

static void delivery(struct counts *c, const char *at, const char *end)
{
	c->deliveries++;
	c->sum += VALUE(at, end, "to=<", '>') + VALUE(at, end, "relay=", ',') + VALUE(at, end, "delay=", ',') +
		  VALUE(at, end, "dsn=", ',');
	const char *status = memmem(at, (size_t)(end - at), "status=", 7);
	if (status && status + 8 < end)
		c->statuses[status[7] == 's' ? 0 : status[7] == 'b' ? 1 : status[7] == 'd' ? 2 : 3]++;
}

static void take(void *context, const char *line, size_t len)
{
	struct counts *c = context;
	const char *end = line + len, *at = len > 30 ? memchr(line + 16, ' ', len - 16) : NULL;
	const char *pid = at ? memchr(at, '[', (size_t)(end - at)) : NULL;
	const char *colon = pid ? memchr(pid, ':', (size_t)(end - pid)) : NULL;
	if (!colon || end - colon < 8)
		return;
	for (const char *digit = pid + 1; *digit != ']' && digit < colon; digit++)
		c->sum += (uint64_t)(*digit - '0');
	const char *id = colon + 2, *behind = id;
	while (behind < end && ((*behind >= '0' && *behind <= '9') || (*behind >= 'A' && *behind <= 'F')))
		behind++;
	if (behind == id || end - behind < 6 || *behind != ':')
		return;
	c->sum += (uint64_t)(behind - id);
	if (memcmp(behind + 2, "to=<", 4) == 0)
		delivery(c, behind + 2, end);
}

int main(int argc, char **argv)
{
	struct counts c = {0};
	if (argc != 2)
		return 64;
	double start = log_cpu_s();
	uint64_t lines = log_each(argv[1], take, &c);
	double spent = log_cpu_s() - start;
	fprintf(stderr, "%ju lines, %ju deliveries, %ju sent, %ju bounced, %ju deferred (%ju)\n", (uintmax_t)lines,
		(uintmax_t)c.deliveries, (uintmax_t)c.statuses[0], (uintmax_t)c.statuses[1], (uintmax_t)c.statuses[2],
		(uintmax_t)c.sum);
	printf("%.0f\n", spent * 1e6);
	return 0;
}
