"""Clients of streams: one that reads how old each event is, and many that only listen."""

import re
import selectors
import socket
import time
from contextlib import contextmanager

SENT_AT = re.compile(rb"@(\d+)@")
CONNECT_BATCH = 50


def post(path: str, headers: dict[str, str], body: str) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    head += [f"Content-Length: {len(body.encode())}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode()


def event_ages_ms(port: int, request: bytes, events: int) -> list[float]:
    """From the moment at which the upstream sent an event to its arrival here, for each event of one stream."""
    ages = []
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(request)
        rest = b""
        while len(ages) < events:
            received = connection.recv(65536)
            now = time.monotonic_ns()
            if not received:
                raise SystemExit(f"a stream ended after {len(ages)} of {events} events")
            text = rest + received
            found = list(SENT_AT.finditer(text))
            ages += [(now - int(match[1])) / 1e6 for match in found]
            rest = text[found[-1].end() if found else 0:]
    return ages


class Listeners:
    """Open streams whose bytes are thrown away."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.begun = 0
        self.received_bytes = 0

    def connect(self, port: int, request: bytes) -> None:
        connection = socket.create_connection(("127.0.0.1", port), 10)
        connection.sendall(request)
        connection.setblocking(False)
        self.selector.register(connection, selectors.EVENT_READ, [False])

    def listen(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            for key, _ in self.selector.select(left):
                self.receive(key)

    def receive(self, key: selectors.SelectorKey) -> None:
        received = key.fileobj.recv(65536)
        if not received:
            raise SystemExit("a stream ended before its time")
        if not key.data[0]:
            key.data[0] = True
            self.begun += 1
            if not received.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"a stream was refused: {received[:500]!r}")
        self.received_bytes += len(received)

    def close(self) -> None:
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()


@contextmanager
def open_streams(port: int, requests: list[bytes]):
    """All of these streams at once, opened in small groups so that no backlog overflows."""
    listeners = Listeners()
    try:
        for start in range(0, len(requests), CONNECT_BATCH):
            for request in requests[start:start + CONNECT_BATCH]:
                listeners.connect(port, request)
            listeners.listen(0.05)
        yield listeners
    finally:
        listeners.close()
