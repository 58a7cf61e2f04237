"""Free ports and addresses on loopback."""

import random
import socket

HOST = "127.0.0.1"


def free_port(host=HOST):
    """A port that nobody listens on, below those that the system gives to clients: it is still free a moment later."""
    for _ in range(100):
        port = random.randint(15000, 32000)
        if can_bind(host, port):
            return port
    raise OSError(f"no free port on {host}")


def can_connect(host, port):
    """Does something listen there?"""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def own_address():
    """An address of 127.0.0.0/8 for this stack alone: there its DNS server can have port 53, the only one that
    resolv.conf knows, and the mail exchangers are other hosts than the relay."""
    for _ in range(100):
        address = f"127.{random.randint(64, 254)}.{random.randint(0, 254)}.{random.randint(1, 254)}"
        if can_bind(address, 53):
            return address
    raise OSError("no loopback address has port 53 free: does a DNS server listen on 0.0.0.0:53?")


def can_bind(address, port):
    """Are TCP and UDP port PORT of ADDRESS free, and may we have them?"""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:  # as servers do, so that connections just closed do not count
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True
