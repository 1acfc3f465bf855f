"""A server on this machine that gives the answers it was told to."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """What a request gets."""

    status: int
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()


Answering = Callable[[str, Mapping[str, str]], Answer]
"""From path and headers of a request to its answer."""


@contextlib.contextmanager
def answering(answer: Answering) -> Iterator[str]:
    """The address of a server that gives `answer`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            given = answer(self.path, dict(self.headers))
            self.send_response(given.status)
            for name, value in given.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(given.body.encode())))
            self.end_headers()
            self.wfile.write(given.body.encode())

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def ray_without_token(path: str, headers: Mapping[str, str]) -> Answer:
    """What a Ray head answers that runs everybody's jobs."""
    if path == "/api/version":
        return Answer(200, '{"version": "4", "ray_version": "2.60.0"}')
    return Answer(404, f"Job {path.rpartition('/')[2]} does not exist")


def ray_with_jobs(*jobs: Mapping[str, object]) -> Answering:
    """What a Ray head answers that runs everybody's jobs, and has these."""
    by_id = {job["submission_id"]: job for job in jobs}

    def answer(path: str, headers: Mapping[str, str]) -> Answer:
        name = path.removeprefix("/api/jobs/")
        if name in by_id:
            return Answer(200, json.dumps(by_id[name]))
        if name.removesuffix("/logs") in by_id:
            return Answer(200, json.dumps({"logs": f"log of {name.removesuffix('/logs')}\n"}))
        if path == "/api/jobs/":
            return Answer(200, json.dumps(list(jobs)))
        return ray_without_token(path, headers)

    return answer


def ray_with_token(token: str) -> Answering:
    """What a Ray head answers that was started with `token`."""

    def answer(path: str, headers: Mapping[str, str]) -> Answer:
        sent = headers.get("Authorization")
        if sent is None:
            return Answer(401, "Unauthorized: Missing authentication token")
        if sent != f"Bearer {token}":
            return Answer(403, "Forbidden: Invalid authentication token")
        return ray_without_token(path, headers)

    return answer
