"""Redis on a unix socket, nothing kept on disk."""

import shutil

import redis


class Redis:
    def __init__(self, home, processes):
        self.folder, self.processes = home / "redis", processes
        self.socket, self.log = self.folder / "redis.sock", home / "log" / "redis.log"

    def start(self):
        self.folder.mkdir(exist_ok=True)
        shutil.chown(self.folder, "redis", "redis")
        self.processes.start(
            "redis",
            [
                "redis-server",
                "--port",
                "0",
                "--unixsocket",
                self.socket,
                "--unixsocketperm",
                "777",
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
                self.folder,
            ],
            self.log,
            account="redis",
        )
        self.processes.ready("redis", self._answers, self.log)

    def stop(self):
        self.processes.stop("redis")

    def client(self):
        """A connection for looking at counters."""
        return redis.Redis(unix_socket_path=str(self.socket), decode_responses=True)

    def _answers(self):
        try:
            return self.client().ping()
        except redis.RedisError:
            return False
