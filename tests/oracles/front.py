"""A TLS front before a host, which keeps what goes through it.

Why there is one before Mono, whose HttpListener can speak TLS: it listens either on one address, and then takes requests for that
address's own name alone, or on every address of the machine. The front has the name that the operator asks for, and asks the host by
the host's own, as a load balancer does. It stands before CXF too, so that what was answered is kept of both in the same way.
"""

import http.client
import io
import socket
import ssl
import threading
from dataclasses import dataclass

# Of one request, on a busy machine.
DEADLINE_S = 60
# Requests and answers here have some kilobytes.
SIZE_MAX = 1 << 20
# Headers that the front writes itself.
OWN = (b"host:", b"connection:", b"content-length:")


@dataclass
class Answer:
    status: int
    reason: str
    content_type: str
    body: bytes


@dataclass
class Exchange:
    path: str
    request: bytes
    answer: Answer | None = None


class _Bytes:
    """What http.client reads an answer from."""

    def __init__(self, data):
        self.data = data

    def makefile(self, *_):
        return io.BytesIO(self.data)


def parse(data):
    answer = http.client.HTTPResponse(_Bytes(data))
    answer.begin()
    return Answer(answer.status, answer.reason, answer.getheader("Content-Type", ""), answer.read())


def ask(port, head, body, deadline_s=DEADLINE_S):
    """Sends one request to a host on loopback, and gives the bytes of its answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=deadline_s) as host:
        host.sendall(head + body)
        answer = b""
        while piece := host.recv(65536):
            answer += piece
            if len(answer) > SIZE_MAX:
                raise OSError("the answer is too large")
        return answer


def _read_request(stream):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline(65536)
        head += line
        if not line or len(head) > SIZE_MAX:
            return None, b""
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return head, stream.read(min(length, SIZE_MAX))


class Front:
    """`rewrite` changes the body of a request on its way, if given."""

    def __init__(self, host_port, certificate, key, rewrite=None):
        self.exchanges = []
        self._rewrite = rewrite or (lambda body: body)
        self._host_port = host_port
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate, key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        # Daemons: they end with the program, whatever they wait for.
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        client.settimeout(DEADLINE_S)
        try:
            with self._tls.wrap_socket(client, server_side=True) as client:
                head, body = _read_request(client.makefile("rb"))
                if head is None:
                    return
                exchange = Exchange(head.split(b" ")[1].decode(), body)
                self.exchanges.append(exchange)
                body = self._rewrite(body)
                lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(OWN)]
                lines[1:1] = [b"Host: 127.0.0.1:%d" % self._host_port, b"Connection: close", b"Content-Length: %d" % len(body)]
                answer = ask(self._host_port, b"\r\n".join(lines), body)
                # Before it goes out: who has it may look here at once.
                exchange.answer = parse(answer)
                client.sendall(answer)
        except OSError:
            # The operator finds a connection that broke off, and the case fails by its verdict.
            pass
