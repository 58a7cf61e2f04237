"""An HTTPS server that answers as badly as endpoints do. The first part of the path says how:

	/ok /status/N /retry-after/N /redirect/URL /hang /trickle /endless /headers /compressed /break /slow/SECONDS

What follows is the endpoint's name. Every POST is kept, whatever the answer."""

import collections
import dataclasses
import gzip
import http.server
import ssl
import threading
import time


@dataclasses.dataclass
class Post:
    path: str
    headers: dict
    body: bytes
    at: float
    source: str  # "address:port" of the connection


class Hostile:
    """The server: .posts(name) is what the endpoint of that name received, .answer[name] changes how it answers."""

    def __init__(self, certificate=None, host="127.0.0.1", port=0, client_ca=None):
        self.lock, self.received, self.answer = threading.Lock(), collections.defaultdict(list), {}
        self.ended = threading.Event()
        self.server = Server((host, port), type("BoundHandler", (Handler,), {"owner": self}))
        self.host, self.port, self.scheme = host, self.server.server_address[1], "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            if client_ca:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(client_ca)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
            self.scheme = "https"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def close(self):
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()

    def url(self, behaviour, name, host="localhost"):
        return f"{self.scheme}://{host}:{self.port}/{behaviour}/{name}"

    def posts(self, name):
        with self.lock:
            return list(self.received[name])

    def keep(self, name, post):
        with self.lock:
            self.received[name].append(post)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request, client_address):
        pass  # clients that give up on bad answers are the point


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner = None

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        *how, name = self.path.strip("/").split("/")
        post = Post(self.path, {k.lower(): v for k, v in self.headers.items()}, body, time.time(),
                    "%s:%s" % self.client_address[:2])
        self.owner.keep(name, post)
        how = self.owner.answer.get(name, "/".join(how)).split("/", 1)
        getattr(self, "do_" + how[0].replace("-", "_"))(*how[1:])

    def reply(self, status, body=b"", **headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_ok(self):
        self.reply(200, b'{"ok":true}')

    def do_status(self, status):
        self.reply(int(status), b"status \x00\xff " + status.encode())

    def do_retry_after(self, seconds):
        self.reply(429, Retry_After=seconds)

    def do_redirect(self, port):
        self.reply(302, Location=f"{self.owner.scheme}://localhost:{port}/ok/redirected")

    def do_hang(self):
        self.owner.ended.wait(60)

    def do_slow(self, seconds):
        self.owner.ended.wait(float(seconds))
        self.reply(200)

    def do_trickle(self):
        self.send_response(200)
        self.send_header("content-length", "1000")
        self.end_headers()
        while not self.owner.ended.wait(0.2):
            self.wfile.write(b"x")

    def do_endless(self):
        self.send_response(200)
        self.send_header("connection", "close")
        self.end_headers()
        while not self.owner.ended.is_set():
            self.wfile.write(b"e" * 65536)

    def do_headers(self):
        self.send_response(200)
        for i in range(10000):
            self.send_header(f"x-{i}", "h" * 100)
        self.end_headers()

    def do_compressed(self):
        self.reply(200, gzip.compress(b"\0" * 10_000_000), Content_Encoding="gzip")

    def do_break(self):
        self.send_response(200)
        self.send_header("content-length", "1000")
        self.end_headers()
        self.wfile.write(b"half")
        self.close_connection = True

    def log_message(self, form, *values):
        pass
