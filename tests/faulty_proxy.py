"""A way to a server that can be cut: forwards bytes, and asks at every request what to do."""

from __future__ import annotations

import re
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Literal

Verdict = Literal["pass", "pass alone", "lose the answer", "go away"]
"""What becomes of a request: forwarded; forwarded when no other that has to be alone is on its way;
forwarded, but its answer never comes back; nothing, and from then on nobody answers."""

_REQUEST = re.compile(rb"(GET|PUT|POST|HEAD|DELETE) (\S+) HTTP/1\.[01]\r\n")
_INTERIM = b"HTTP/1.1 100"


class FaultyProxy:
    """Listens on a free port of this machine and forwards to `target`.

    Args:
        target: `http://HOST:PORT` of the server.
        decide: asked with method and path of each request, in a thread of its connection: it may
            wait, and so hold a request back.
    """

    def __init__(self, target: str, decide: Callable[[str, str], Verdict]) -> None:
        host, port = target.removeprefix("http://").split(":")
        self.target = (host, int(port))
        self.decide = decide
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.gone = threading.Event()
        self.open: set[socket.socket] = set()
        self.alone = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def go_away(self) -> None:
        """Ends all connections, and takes no more."""
        self.gone.set()
        with suppress(OSError):
            # a thread in accept() notices a shutdown, but no close
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in list(self.open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self.gone.is_set():
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self.target) as server:
            self.open |= {client, server}
            try:
                self._forward(client, server)
            finally:
                self.open -= {client, server}

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        verdict: Verdict = "pass"
        with selectors.DefaultSelector() as both, ExitStack() as until_answered:
            both.register(client, selectors.EVENT_READ, server)
            both.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in both.select():
                    source, target = key.fileobj, key.data
                    assert isinstance(source, socket.socket)
                    data = source.recv(1 << 16)
                    if not data:
                        return
                    if source is client and (request := _REQUEST.match(data)):
                        verdict = self.decide(request[1].decode(), request[2].decode())
                        if verdict == "go away":
                            self.go_away()
                            return
                        if verdict == "pass alone":
                            until_answered.enter_context(self.alone)
                    if source is server and not data.startswith(_INTERIM):
                        if verdict == "lose the answer":
                            return
                        until_answered.close()
                    target.sendall(data)


@contextmanager
def faulty_proxy(target: str, decide: Callable[[str, str], Verdict]) -> Iterator[FaultyProxy]:
    """A proxy in front of `target`, gone afterwards."""
    proxy = FaultyProxy(target, decide)
    try:
        yield proxy
    finally:
        proxy.go_away()


def everything_passes(method: str, path: str) -> Verdict:
    """Decides that nothing goes wrong."""
    return "pass"


def at_marker(verdict: Verdict, *, times: int = 1) -> Callable[[str, str], Verdict]:
    """Decides that the first `times` attempts to put a commit marker end in `verdict`."""
    left = iter(range(times))

    def decide(method: str, path: str) -> Verdict:
        marker = method == "PUT" and path.endswith("/_COMMIT.json")
        return verdict if marker and next(left, None) is not None else "pass"

    return decide
