"""A tunnel to a server on this machine, which can be cut while it is in use."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class Tunnel:
    """Passes bytes between whoever connects to `port` and a server.

    Attributes:
        port: where it begins.
    """

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._open: list[socket.socket] = []
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._start(self._accept)

    def cut(self) -> int:
        """Breaks every connection that is open, and says how many; new ones can be made."""
        broken, self._open = self._open, []
        for end in broken:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        return len(broken) // 2

    def close(self) -> None:
        """Ends it, with all connections."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            far = socket.create_connection(self._server)
            self._open += [near, far]
            self._ends += [near, far]
            self._start(_pass_on, near, far)
            self._start(_pass_on, far, near)

    def _start(self, work: object, *ends: socket.socket) -> None:
        assert callable(work)
        self._threads.append(threading.Thread(target=work, args=ends))
        self._threads[-1].start()


@contextlib.contextmanager
def tunnel(url: str) -> Iterator[tuple[str, Tunnel]]:
    """A tunnel to the server at `url`, and the URL of its beginning."""
    host, _, port = url.removeprefix("http://").partition(":")
    made = Tunnel((host, int(port)))
    try:
        yield f"http://127.0.0.1:{made.port}", made
    finally:
        made.close()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(65536):
            sink.sendall(part)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        source.shutdown(socket.SHUT_RDWR)
