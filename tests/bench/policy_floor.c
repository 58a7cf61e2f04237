/* policy_floor: the least that a policy service can do. Answers DUNNO to each question, whatever it says.
 *
 *	policy_floor unix:/PATH | inet:ADDRESS:PORT
 *
 * One epoll loop, one recv() and one send() a question, nothing parsed but its end. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/memory.h"

#include "policyd/listen.h"

struct connection {
	int fd;
	size_t len;
	char in[8192];
};

static void watch(int epoll, int fd, void *what)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
		abort();
}

static void take_connection(int epoll, int listening)
{
	struct connection *c = memory_zero(1, sizeof *c);
	c->fd = accept(listening, NULL, NULL);
	if (c->fd < 0)
		abort();
	watch(epoll, c->fd, c);
}

static void take_question(struct connection *c)
{
	static const char answer[] = "action=DUNNO\n\n";
	ssize_t got = recv(c->fd, c->in + c->len, sizeof c->in - c->len, 0);
	if (got <= 0) {
		close(c->fd);
		free(c);
		return;
	}
	c->len += (size_t)got;
	if (c->len < 2 || memcmp(c->in + c->len - 2, "\n\n", 2) != 0)
		return;
	c->len = 0;
	if (send(c->fd, answer, sizeof answer - 1, MSG_NOSIGNAL) < 0)
		return; /* recv() will tell */
}

int main(int argc, char **argv)
{
	struct epoll_event events[256];
	struct listen_options options = {.address = argc > 1 ? argv[1] : "", .mode = 0666};
	char *why = NULL;
	int listening = listen_open(&options, &why), epoll = epoll_create1(EPOLL_CLOEXEC);
	if (listening < 0) {
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	watch(epoll, listening, NULL);
	for (;;) {
		int count = epoll_wait(epoll, events, 256, -1);
		for (int i = 0; i < count; i++) {
			if (events[i].data.ptr)
				take_question(events[i].data.ptr);
			else
				take_connection(epoll, listening);
		}
	}
}
