/* policy_load: plays many smtpd processes to a policy service, and measures it.
 *
 *	policy_load ADDRESS [connections=20] [requests=60000] [warmup=2000] [idle=0] [logins=1000] [state=RCPT]
 *
 * ADDRESS is unix:/PATH or inet:ADDRESS:PORT. One epoll loop; as Postfix does, each connection sends a whole question in one
 * write and waits for its answer. Logins are user17@c1.test, ten a customer, in a scattered order. IDLE further connections
 * stay open and say nothing. Prints one line, name=value: requests, seconds, per_s, p50_us, p99_us, max_us (from question to
 * answer), accepted (DUNNO), other. */

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/memory.h"
#include "common/text.h"

#define LOGINS_EACH 10 /* of a customer, as policy_directory makes them */
#define STALLED_MS  30000

struct options {
	const char *address, *state;
	long connections, requests, warmup, idle, logins;
};

struct connection {
	int fd;
	size_t len;
	char in[4096];
	int64_t began_ns;
};

struct bench {
	struct options options;
	int epoll;
	long started, finished, accepted, other;
	int64_t began_ns; /* the first question behind the warm-up */
	int64_t *latencies_ns;
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int dial_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	text_put(text_of(path), address.sun_path, sizeof address.sun_path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
		fail(path);
	return fd;
}

static int dial_inet(struct text where)
{
	static const int on = 1;
	struct sockaddr_in address = {.sin_family = AF_INET};
	char host[64];
	uint64_t port;
	size_t colon = text_rfind(where, ':');
	if (text_uint(text_from(where, colon + 1), UINT16_MAX, &port) ||
	    !text_put(text_head(where, colon), host, sizeof host) || inet_pton(AF_INET, host, &address.sin_addr) != 1)
		fail("inet:ADDRESS:PORT");
	address.sin_port = htons((uint16_t)port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
		fail(host);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return fd;
}

static int dial(const char *address)
{
	if (strncmp(address, "unix:", 5) == 0)
		return dial_unix(address + 5);
	if (strncmp(address, "inet:", 5) != 0)
		fail(address);
	return dial_inet(text_of(address + 5));
}

/* All that Postfix 3.7 says; a message has its queue id from the first recipient on. */
static size_t print_question(const struct bench *b, long number, char *out, size_t size)
{
	unsigned long login = (unsigned long)number * 2654435761UL % (unsigned long)b->options.logins;
	bool at_data = strcmp(b->options.state, "DATA") == 0;
	char queue_id[32] = "";
	if (at_data)
		snprintf(queue_id, sizeof queue_id, "4j%07lX%07lX", (unsigned long)getpid(), number);
	return (size_t)snprintf(
		out, size,
		"request=smtpd_access_policy\nprotocol_state=%s\nprotocol_name=ESMTP\nclient_address=192.0.2.%ld\n"
		"client_name=client.example.test\nclient_port=40000\nreverse_client_name=client.example.test\n"
		"server_address=192.0.2.1\nserver_port=587\nhelo_name=client.example.test\n"
		"sender=user%lu@c%lu.test\nrecipient=recipient@example.test\nrecipient_count=%d\nqueue_id=%s\n"
		"instance=1a2b.%lx.%lx.0\nsize=4096\netrn_domain=\nstress=\nsasl_method=PLAIN\n"
		"sasl_username=user%lu@c%lu.test\nsasl_sender=\nccert_subject=\nccert_issuer=\nccert_fingerprint=\n"
		"ccert_pubkey_fingerprint=\nencryption_protocol=TLSv1.3\nencryption_cipher=TLS_AES_256_GCM_SHA384\n"
		"encryption_keysize=256\npolicy_context=\n\n",
		b->options.state, number % 250 + 1, login, login / LOGINS_EACH, at_data, queue_id, number, number,
		login, login / LOGINS_EACH);
}

static void ask(struct bench *b, struct connection *c)
{
	char question[2048];
	if (b->started == b->options.warmup + b->options.requests)
		return;
	if (b->started == b->options.warmup)
		b->began_ns = now_ns();
	size_t len = print_question(b, b->started++, question, sizeof question);
	c->len = 0;
	c->began_ns = now_ns();
	if (send(c->fd, question, len, MSG_NOSIGNAL) != (ssize_t)len)
		fail("send");
}

static void note_answer(struct bench *b, const struct connection *c)
{
	long number = b->finished++ - b->options.warmup;
	if (number >= 0)
		b->latencies_ns[number] = now_ns() - c->began_ns;
	if (text_starts_fold(text_at(c->in, c->len), TEXT("action=DUNNO\n")))
		b->accepted++;
	else if (!b->other++)
		fprintf(stderr, "%.*s", (int)c->len, c->in);
}

static void receive(struct bench *b, struct connection *c)
{
	ssize_t got = recv(c->fd, c->in + c->len, sizeof c->in - c->len, 0);
	if (got <= 0)
		fail("the service closed the connection");
	c->len += (size_t)got;
	if (!text_ends(text_at(c->in, c->len), TEXT("\n\n")))
		return;
	note_answer(b, c);
	ask(b, c);
}

static void run(struct bench *b)
{
	struct epoll_event events[256];
	while (b->finished < b->options.warmup + b->options.requests) {
		int count = epoll_wait(b->epoll, events, 256, STALLED_MS);
		if (count <= 0)
			fail("the service does not answer");
		for (int i = 0; i < count; i++)
			receive(b, events[i].data.ptr);
	}
}

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

static void report(struct bench *b, int64_t took_ns)
{
	long n = b->options.requests;
	int64_t *times = b->latencies_ns;
	qsort(times, (size_t)n, sizeof *times, by_size);
	printf("requests=%ld seconds=%.3f per_s=%.0f p50_us=%.0f p99_us=%.0f max_us=%.0f accepted=%ld other=%ld\n", n,
	       (double)took_ns / 1e9, (double)n * 1e9 / (double)took_ns, (double)times[n / 2] / 1e3,
	       (double)times[n * 99 / 100] / 1e3, (double)times[n - 1] / 1e3, b->accepted, b->other);
}

static void read_options(int argc, char **argv, struct options *o)
{
	const struct {
		const char *name;
		long *number;
	} rows[] = {{"connections=", &o->connections},
		    {"requests=", &o->requests},
		    {"warmup=", &o->warmup},
		    {"idle=", &o->idle},
		    {"logins=", &o->logins}};
	for (int i = 2; i < argc; i++) {
		if (strncmp(argv[i], "state=", 6) == 0)
			o->state = argv[i] + 6;
		for (size_t row = 0; row < sizeof rows / sizeof *rows; row++)
			if (strncmp(argv[i], rows[row].name, strlen(rows[row].name)) == 0)
				*rows[row].number = strtol(argv[i] + strlen(rows[row].name), NULL, 10);
	}
}

/* Opens what stays silent, then those that ask; the latter are returned. */
static struct connection *open_connections(struct bench *b)
{
	struct connection *connections = memory_zero((size_t)b->options.connections, sizeof *connections);
	for (long i = 0; i < b->options.idle; i++)
		dial(b->options.address);
	for (long i = 0; i < b->options.connections; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connections[i]};
		connections[i].fd = dial(b->options.address);
		epoll_ctl(b->epoll, EPOLL_CTL_ADD, connections[i].fd, &event);
	}
	return connections;
}

static void allow_descriptors(const struct options *o)
{
	struct rlimit limit = {0};
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = (rlim_t)(o->connections + o->idle) + 64;
	if (limit.rlim_max < limit.rlim_cur)
		limit.rlim_max = limit.rlim_cur;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		fail("descriptors");
}

int main(int argc, char **argv)
{
	struct bench b = {
		.options = {.state = "RCPT", .connections = 20, .requests = 60000, .warmup = 2000, .logins = 1000}};
	if (argc < 2)
		return 64;
	b.options.address = argv[1];
	read_options(argc, argv, &b.options);
	allow_descriptors(&b.options);
	b.latencies_ns = memory_zero((size_t)b.options.requests, sizeof *b.latencies_ns);
	b.epoll = epoll_create1(0);
	struct connection *connections = open_connections(&b);
	for (long i = 0; i < b.options.connections; i++)
		ask(&b, &connections[i]);
	run(&b);
	report(&b, now_ns() - b.began_ns);
	free(connections);
	free(b.latencies_ns);
	return b.other ? 1 : 0;
}
