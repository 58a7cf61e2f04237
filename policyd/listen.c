/* Listening sockets: see listen.h. */

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/text.h"

#include "policyd/listen.h"

#define BACKLOG     1024 /* the kernel cuts it to net.core.somaxconn */
#define FOLDER_MODE 0750

union address {
	struct sockaddr any;
	struct sockaddr_un local;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static int failed(char **why, const char *address, const char *what)
{
	struct buffer b = {0};
	buffer_format(&b, "%s: %s", address, what);
	*why = text_copy(buffer_view(&b));
	buffer_free(&b);
	return -1;
}

static socklen_t parse_unix(struct text path, union address *out)
{
	out->local.sun_family = AF_UNIX;
	if (path.len < 2 || path.ptr[0] != '/' || !text_put(path, out->local.sun_path, sizeof out->local.sun_path))
		return 0;
	return sizeof out->local;
}

static socklen_t parse_inet(struct text t, union address *out)
{
	char host[64];
	uint64_t port;
	size_t colon = text_rfind(t, ':');
	if (colon == SIZE_MAX || text_uint(text_from(t, colon + 1), UINT16_MAX, &port))
		return 0;
	t = text_head(t, colon);
	bool v6 = t.len > 2 && t.ptr[0] == '[' && t.ptr[t.len - 1] == ']';
	if (!text_put(v6 ? text_head(text_from(t, 1), t.len - 2) : t, host, sizeof host))
		return 0;
	if (v6) {
		out->v6.sin6_family = AF_INET6;
		out->v6.sin6_port = htons((uint16_t)port);
		return inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1 ? sizeof out->v6 : 0;
	}
	out->v4.sin_family = AF_INET;
	out->v4.sin_port = htons((uint16_t)port);
	return inet_pton(AF_INET, host, &out->v4.sin_addr) == 1 ? sizeof out->v4 : 0;
}

static socklen_t parse(struct text t, union address *out)
{
	memset(out, 0, sizeof *out);
	if (text_starts(t, TEXT("unix:")))
		return parse_unix(text_from(t, 5), out);
	return text_starts(t, TEXT("inet:")) ? parse_inet(text_from(t, 5), out) : 0;
}

/* A socket file left behind by a killed process refuses connections. */
static int make_room(const struct listen_options *options, const union address *address, char **why)
{
	struct stat status;
	const char *path = address->local.sun_path;
	if (lstat(path, &status) != 0)
		return 0;
	if (!S_ISSOCK(status.st_mode))
		return failed(why, options->address, "there is something else than a socket; remove it");
	int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool served = connect(probe, &address->any, sizeof address->local) == 0;
	close(probe);
	if (served)
		return failed(why, options->address, "another process serves it already");
	return unlink(path) == 0 ? 0 : failed(why, options->address, strerror(errno));
}

static void make_folder(const char *path)
{
	char *folder = text_copy(text_head(text_of(path), text_rfind(text_of(path), '/')));
	if (*folder)
		mkdir(folder, FOLDER_MODE);
	free(folder);
}

static int set_owner(const struct listen_options *options, const char *path, char **why)
{
	if (options->group) {
		const struct group *group = getgrnam(options->group);
		if (!group)
			return failed(why, options->address,
				      "its group does not exist; create it or change socket_group");
		if (chown(path, (uid_t)-1, group->gr_gid) != 0)
			return failed(why, options->address, strerror(errno));
	}
	return chmod(path, (mode_t)options->mode) == 0 ? 0 : failed(why, options->address, strerror(errno));
}

static int bind_local(const struct listen_options *options, int fd, const union address *address, char **why)
{
	make_folder(address->local.sun_path);
	if (make_room(options, address, why) != 0)
		return -1;
	if (bind(fd, &address->any, sizeof address->local) != 0)
		return failed(why, options->address, strerror(errno));
	return set_owner(options, address->local.sun_path, why);
}

static int bind_inet(const struct listen_options *options, int fd, const union address *address, socklen_t len,
		     char **why)
{
	static const int on = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* accepted sockets inherit it */
	return bind(fd, &address->any, len) == 0 ? 0 : failed(why, options->address, strerror(errno));
}

int listen_open(const struct listen_options *options, char **why)
{
	union address address;
	socklen_t len = parse(text_of(options->address), &address);
	if (!len)
		return failed(why, options->address, "neither unix:/PATH nor inet:ADDRESS:PORT");
	int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return failed(why, options->address, strerror(errno));
	int status = address.any.sa_family == AF_UNIX ? bind_local(options, fd, &address, why)
						      : bind_inet(options, fd, &address, len, why);
	if (status == 0 && listen(fd, BACKLOG) != 0)
		status = failed(why, options->address, strerror(errno));
	if (status == 0)
		return fd;
	close(fd);
	return -1;
}

void listen_close(const struct listen_options *options, int fd)
{
	union address address;
	close(fd);
	if (parse(text_of(options->address), &address) && address.any.sa_family == AF_UNIX)
		unlink(address.local.sun_path);
}
