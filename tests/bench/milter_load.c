/* milter-load: plays a mail server with many sessions to a milter, and measures it.
 *
 *	milter_load SOCKET [connections=20] [messages=4000] [body=4096] [recipients=1] [domains=1] [login=app] [domain=d%d.test]
 *
 * One epoll loop. As Postfix does, each session sends a command and waits for its answer unless the milter waived it, and
 * sends several waived ones at once. Domains are taken in turn. Prints one line, name=value: messages, seconds, per_s,
 * p50_us, p99_us (from MAIL to the final answer), signed (messages with a DKIM-Signature), signatures, refused.
 * Packets and their letters: libmilter's mfdef.h. */

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/memory.h"
#include "common/text.h"

#define PROTOCOL_VERSION 6
#define ALL_ACTIONS      0x1ffU
#define ALL_STEPS        0x1fffffU
#define MAX_CHUNK        65535
#define IN_SIZE          65536

static const struct command {
	char letter;
	unsigned long unwanted, waived; /* the bits of its step in the negotiation */
} commands[] = {
	{'C', 0x1, 0x1000},    {'H', 0x2, 0x2000}, {'M', 0x4, 0x4000},   {'R', 0x8, 0x8000},
	{'T', 0x200, 0x10000}, {'L', 0x20, 0x80},  {'N', 0x40, 0x40000}, {'B', 0x10, 0x80000},
};

struct options {
	const char *socket;
	long connections, messages, body, recipients, domains;
	const char *login, *domain;
};

struct connection {
	int fd;
	unsigned long steps;
	bool greeted; /* connect and helo were sent */
	struct buffer out;
	size_t sent;
	size_t *waits; /* offsets in OUT behind which an answer must come */
	size_t wait_count, wait_room, wait;
	char in[IN_SIZE];
	size_t in_used;
	int64_t began_us;
	bool signed_message;
};

struct bench {
	struct options options;
	char *body;
	int epoll;
	long started, finished, signed_messages, signatures, refused;
	double *latencies_us;
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int64_t now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void add_packet(struct connection *c, char letter, struct text data)
{
	uint32_t length = htonl((uint32_t)data.len + 1);
	buffer_add(&c->out, &length, sizeof length);
	buffer_char(&c->out, letter);
	buffer_text(&c->out, data);
}

/* A command, unless its step is not wanted; remembers whether an answer comes. */
static void add_command(struct connection *c, char letter, struct text data)
{
	unsigned long waived = 0;
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		if (commands[i].letter != letter)
			continue;
		if (c->steps & commands[i].unwanted)
			return;
		waived = c->steps & commands[i].waived;
	}
	add_packet(c, letter, data);
	if (waived)
		return;
	if (c->wait_count == c->wait_room) {
		c->wait_room = c->wait_room * 2 + 16;
		c->waits = memory_resize(c->waits, c->wait_room, sizeof *c->waits);
	}
	c->waits[c->wait_count++] = c->out.len;
}

/* WORDS of a packet or of macros: each with its NUL; ends with NULL. */
static void add_words(struct buffer *data, const char *const *words)
{
	for (; *words; words++)
		buffer_add(data, *words, strlen(*words) + 1);
}

static void add_command_words(struct connection *c, char letter, const char *const *words)
{
	struct buffer data = {0};
	add_words(&data, words);
	add_command(c, letter, buffer_view(&data));
	buffer_free(&data);
}

static void add_macros(struct connection *c, char stage, const char *const *words)
{
	struct buffer data = {0};
	buffer_char(&data, stage);
	add_words(&data, words);
	add_packet(c, 'D', buffer_view(&data));
	buffer_free(&data);
}

static void add_greeting(struct connection *c)
{
	if (c->greeted)
		return;
	c->greeted = true;
	if (!(c->steps & 0x1)) {
		static const char address[] = "client.test\0"
					      "4\x9c\x40"
					      "127.0.0.1";
		add_macros(c, 'C', (const char *[]){"j", "relay.test", "{daemon_name}", "submission", NULL});
		add_command(c, 'C', text_at(address, sizeof address));
	}
	if (!(c->steps & 0x2))
		add_command_words(c, 'H', (const char *[]){"client.test", NULL});
}

static void add_envelope(struct bench *b, struct connection *c, const char *sender, const char *id)
{
	char path[320];
	snprintf(path, sizeof path, "<%s>", sender);
	add_macros(c, 'M',
		   (const char *[]){"i", id, "{mail_addr}", sender, "{auth_type}", "PLAIN", "{auth_authen}",
				    b->options.login, NULL});
	add_command_words(c, 'M', (const char *[]){path, NULL});
	for (long i = 0; i < b->options.recipients; i++) {
		snprintf(path, sizeof path, "<recipient%ld@example.net>", i);
		add_macros(c, 'R', (const char *[]){"i", id, NULL});
		add_command_words(c, 'R', (const char *[]){path, NULL});
	}
}

static void add_header(struct connection *c, const char *sender, const char *id)
{
	char from[320], message_id[320];
	snprintf(from, sizeof from, "A Sender <%s>", sender);
	snprintf(message_id, sizeof message_id, "<%s.%s>", id, sender);
	const char *const fields[][2] = {
		{"Received", "from client.test (localhost [127.0.0.1])\n\tby relay.test with ESMTPSA; Sat, 21 Nov 2026 "
			     "10:00:00 +0000"},
		{"From", from},
		{"To", "A Recipient <recipient0@example.net>"},
		{"Subject", "A message that is sent many times"},
		{"Date", "Sat, 21 Nov 2026 10:00:00 +0000"},
		{"Message-ID", message_id},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "7bit"},
		{"X-Mailer", "milter_load"},
		{"List-Unsubscribe", "<https://example.com/unsubscribe/0123456789>"},
		{"List-Unsubscribe-Post", "List-Unsubscribe=One-Click"},
	};
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		add_command_words(c, 'L', (const char *[]){fields[i][0], fields[i][1], NULL});
}

static void add_message(struct bench *b, struct connection *c)
{
	char domain[128], sender[160], id[32];
	long number = b->started++;
	const char *percent = strstr(b->options.domain, "%d");
	snprintf(domain, sizeof domain, "%.*s%ld%s", percent ? (int)(percent - b->options.domain) : 0,
		 b->options.domain, number % b->options.domains, percent ? percent + 2 : "");
	snprintf(sender, sizeof sender, "sender@%s", percent ? domain : b->options.domain);
	snprintf(id, sizeof id, "4%010lX", number);
	c->out.len = c->sent = c->wait_count = c->wait = 0;
	add_greeting(c);
	add_envelope(b, c, sender, id);
	if (!(c->steps & 0x200))
		add_macros(c, 'T', (const char *[]){"i", id, NULL});
	add_command(c, 'T', TEXT(""));
	add_header(c, sender, id);
	add_command(c, 'N', TEXT(""));
	for (long at = 0; at < b->options.body; at += MAX_CHUNK)
		add_command(c, 'B', text_head(text_at(b->body + at, (size_t)(b->options.body - at)), MAX_CHUNK));
	add_macros(c, 'E', (const char *[]){"i", id, "{auth_authen}", b->options.login, NULL});
	add_command(c, 'E', TEXT(""));
}

static void send_until_wait(struct connection *c)
{
	while (c->sent < c->waits[c->wait]) {
		ssize_t part = send(c->fd, c->out.ptr + c->sent, c->waits[c->wait] - c->sent, MSG_NOSIGNAL);
		if (part < 0)
			fail("send");
		c->sent += (size_t)part;
	}
}

static void start_message(struct bench *b, struct connection *c)
{
	if (b->started == b->options.messages)
		return;
	add_message(b, c);
	c->signed_message = false;
	c->began_us = now_us();
	send_until_wait(c);
}

static void end_message(struct bench *b, struct connection *c, bool accepted)
{
	b->latencies_us[b->finished++] = (double)(now_us() - c->began_us);
	b->signed_messages += c->signed_message;
	b->refused += !accepted;
	start_message(b, c);
}

static void negotiated(struct bench *b, struct connection *c, struct text data)
{
	uint32_t words[3];
	if (data.len < sizeof words)
		fail("negotiation");
	memcpy(words, data.ptr, sizeof words);
	c->steps = ntohl(words[2]);
	start_message(b, c);
}

static void inserted(struct bench *b, struct connection *c, char letter, struct text data)
{
	struct text name = text_from(data, letter == 'i' ? 4 : 0);
	if (!text_starts_fold(name, TEXT("DKIM-Signature")))
		return;
	b->signatures++;
	c->signed_message = true;
}

static void take_answer(struct bench *b, struct connection *c, char letter, struct text data)
{
	bool last = c->wait + 1 == c->wait_count;
	switch (letter) {
	case 'O': negotiated(b, c, data); break;
	case 'h':
	case 'i': inserted(b, c, letter, data); break;
	case 'a':
	case 'c':
	case 's':
		if (last || letter == 'a') {
			end_message(b, c, true);
			break;
		}
		c->wait++;
		send_until_wait(c);
		break;
	case 'r':
	case 't':
	case 'y':
	case 'd': end_message(b, c, false); break;
	}
}

static void receive(struct bench *b, struct connection *c)
{
	ssize_t part = recv(c->fd, c->in + c->in_used, sizeof c->in - c->in_used, 0);
	size_t at = 0;
	if (part <= 0)
		fail("the milter closed the connection");
	c->in_used += (size_t)part;
	while (c->in_used - at >= 5) {
		uint32_t length;
		memcpy(&length, c->in + at, sizeof length);
		length = ntohl(length);
		if (c->in_used - at < 4 + length)
			break;
		take_answer(b, c, c->in[at + 4], text_at(c->in + at + 5, length - 1));
		at += 4 + length;
	}
	memmove(c->in, c->in + at, c->in_used - at);
	c->in_used -= at;
}

static void open_connection(struct bench *b, struct connection *c)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	uint32_t words[3] = {htonl(PROTOCOL_VERSION), htonl(ALL_ACTIONS), htonl(ALL_STEPS)};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
	text_put(text_of(b->options.socket), address.sun_path, sizeof address.sun_path);
	c->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0)
		fail(b->options.socket);
	epoll_ctl(b->epoll, EPOLL_CTL_ADD, c->fd, &event);
	add_command(c, 'O', text_at(words, sizeof words));
	send_until_wait(c);
}

static void make_body(struct bench *b)
{
	b->body = memory_new((size_t)b->options.body + 2);
	for (long i = 0; i < b->options.body; i++)
		b->body[i] = i % 72 == 70 ? '\r' : i % 72 == 71 ? '\n' : i % 7 == 6 ? ' ' : (char)('a' + i * 5 % 26);
	if (b->options.body >= 2)
		memcpy(b->body + b->options.body - 2, "\r\n", 2);
}

static void run(struct bench *b)
{
	struct epoll_event events[64];
	while (b->finished < b->options.messages) {
		int count = epoll_wait(b->epoll, events, 64, 30000);
		if (count <= 0)
			fail("the milter does not answer");
		for (int i = 0; i < count; i++)
			receive(b, events[i].data.ptr);
	}
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void report(struct bench *b, int64_t took_us)
{
	long n = b->options.messages;
	qsort(b->latencies_us, (size_t)n, sizeof *b->latencies_us, by_size);
	printf("messages=%ld seconds=%.3f per_s=%.0f p50_us=%.0f p99_us=%.0f signed=%ld signatures=%ld refused=%ld\n",
	       n, (double)took_us / 1e6, (double)n * 1e6 / (double)took_us, b->latencies_us[n / 2],
	       b->latencies_us[n * 99 / 100], b->signed_messages, b->signatures, b->refused);
}

static void read_options(int argc, char **argv, struct options *o)
{
	const struct {
		const char *name;
		long *number;
		const char **text;
	} rows[] = {
		{"connections=", &o->connections, NULL}, {"messages=", &o->messages, NULL}, {"body=", &o->body, NULL},
		{"recipients=", &o->recipients, NULL},   {"domains=", &o->domains, NULL},   {"login=", NULL, &o->login},
		{"domain=", NULL, &o->domain},
	};
	o->socket = argv[1];
	for (int i = 2; i < argc; i++) {
		for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
			size_t len = strlen(rows[row].name);
			if (strncmp(argv[i], rows[row].name, len) != 0)
				continue;
			if (rows[row].number)
				*rows[row].number = strtol(argv[i] + len, NULL, 10);
			else
				*rows[row].text = argv[i] + len;
		}
	}
}

int main(int argc, char **argv)
{
	struct bench b = {.options = {.connections = 20,
				      .messages = 4000,
				      .body = 4096,
				      .recipients = 1,
				      .domains = 1,
				      .login = "app",
				      .domain = "d%d.test"}};
	if (argc < 2)
		return 64;
	read_options(argc, argv, &b.options);
	make_body(&b);
	b.latencies_us = memory_zero((size_t)b.options.messages, sizeof *b.latencies_us);
	b.epoll = epoll_create1(0);
	struct connection *connections = memory_zero((size_t)b.options.connections, sizeof *connections);
	int64_t began = now_us();
	for (long i = 0; i < b.options.connections; i++)
		open_connection(&b, &connections[i]);
	run(&b);
	report(&b, now_us() - began);
	for (long i = 0; i < b.options.connections; i++) {
		close(connections[i].fd);
		buffer_free(&connections[i].out);
		free(connections[i].waits);
	}
	free(connections);
	free(b.latencies_us);
	free(b.body);
	return 0;
}
