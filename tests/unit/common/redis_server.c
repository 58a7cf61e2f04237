#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#include "tests/unit/common/redis_server.h"

#define TRIES  500
#define TRY_US 10000

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void await_answer(struct redis_server *server)
{
	for (int i = 0; i < TRIES; i++) {
		redisContext *redis = redisConnectUnix(server->socket);
		redisReply *reply = redis && !redis->err ? redisCommand(redis, "PING") : NULL;
		int answered = reply && reply->type != REDIS_REPLY_NIL;
		if (reply)
			freeReplyObject(reply);
		if (redis)
			redisFree(redis);
		if (answered)
			return;
		usleep(TRY_US);
	}
	fail("redis-server does not answer");
}

static void start(struct redis_server *server)
{
	server->pid = fork();
	if (server->pid < 0)
		fail("fork");
	if (server->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execlp("redis-server", "redis-server", "--port", "0", "--save", "", "--appendonly", "no", "--dir",
		       server->folder, "--unixsocket", server->socket, "--logfile", "/dev/null", "--requirepass",
		       server->password, (char *)NULL);
		fail("redis-server");
	}
	await_answer(server);
}

void redis_server_start(struct redis_server *server, const char *password)
{
	snprintf(server->password, sizeof server->password, "%s", password);
	snprintf(server->folder, sizeof server->folder, "/tmp/waybill-redis-XXXXXX");
	if (!mkdtemp(server->folder))
		fail("mkdtemp");
	snprintf(server->socket, sizeof server->socket, "%s/redis.sock", server->folder);
	start(server);
}

void redis_server_restart(struct redis_server *server)
{
	redis_server_stop(server);
	start(server);
}

void redis_server_stop(struct redis_server *server)
{
	if (server->pid <= 0)
		return;
	kill(server->pid, SIGCONT);
	kill(server->pid, SIGKILL);
	waitpid(server->pid, NULL, 0);
	unlink(server->socket);
	server->pid = 0;
}

void redis_server_remove(struct redis_server *server)
{
	redis_server_stop(server);
	rmdir(server->folder);
}
