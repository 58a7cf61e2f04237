"""An HTTPS server that speaks HTTP/2 (python3-h2): every POST is answered 200; .streams counts them by connection."""

import collections
import socket
import ssl
import threading

import h2.config
import h2.connection
import h2.events


class Http2:
    def __init__(self, certificate):
        self.lock, self.streams, self.bodies = threading.Lock(), collections.Counter(), []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.set_alpn_protocols(["h2"])
        self.listener = context.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True,
                                            do_handshake_on_connect=False)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.close()

    def url(self, name):
        return f"https://localhost:{self.port}/{name}"

    def _accept(self):
        while True:
            try:
                peer, address = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer, address[1]), daemon=True).start()

    def _serve(self, peer, name):
        try:
            peer.do_handshake()
            self._talk(peer, name)
        except (OSError, h2.exceptions.ProtocolError):
            pass
        finally:
            peer.close()

    def _talk(self, peer, name):
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        peer.sendall(connection.data_to_send())
        bodies = collections.defaultdict(bytes)
        while data := peer.recv(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] += event.data
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    with self.lock:
                        self.streams[name] += 1
                        self.bodies.append(bodies.pop(event.stream_id))
                    connection.send_headers(event.stream_id, [(":status", "200")], end_stream=True)
            peer.sendall(connection.data_to_send())
