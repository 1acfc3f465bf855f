"""Serve the site over HTTP, on the loopback address only."""

from __future__ import annotations

import errno
import io
import os
import re
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.wiki.output import NAME

HOST = "127.0.0.1"

_NAMES = ("127.0.0.1", "localhost")

_RANGE = re.compile(r"bytes=(?=\d|-\d)(\d{0,4000})-(\d{0,4000})", re.ASCII)
"""One range of bytes (RFC 9110, section 14): programs read single columns of Parquet so."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Loads nothing from other origins. Bars and pictures have inline styles."""


def site_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Return a server of a site, bound to the loopback address, but not yet serving.

    Args:
        port: 0 for a free port, see `server_port`.

    Raises:
        InvalidInput: there is no site, or the port cannot be used.
    """
    if not (folder / "index.html").is_file() or not (folder / NAME).is_file():
        raise InvalidInput("holds no wiki", where=str(folder), fix="build one: acdc wiki build")
    try:
        return ThreadingHTTPServer((HOST, port), partial(_Pages, directory=str(folder)))
    except OverflowError:
        raise InvalidInput(f"{port} is not a port", field="--port", allowed="0 to 65535") from None
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise InvalidInput(
            f"{port} cannot be used: {error.strerror}",
            field="--port",
            fix="choose another, or 0 for any that is free",
        ) from error


class _Pages(SimpleHTTPRequestHandler):
    """Serves the files of one folder to requests for `localhost`.

    Requests for other host names are refused: another site could let its own name point to this
    machine (DNS rebinding) and read the answers.
    """

    protocol_version = "HTTP/1.1"
    server_version = "acdc"
    sys_version = ""

    def send_head(self) -> Any:
        if not self._is_local_request():
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "this server answers to localhost only")
            return None
        is_hidden = any(part.startswith(".") for part in self.path.split("?")[0].split("/"))
        if is_hidden or not self._is_inside(self.translate_path(self.path)):
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
        if wanted is not None and all(wanted.groups()) and int(wanted[2]) < int(wanted[1]):
            wanted = None  # invalid, and ignored (section 14.1.1)
        path = Path(self.translate_path(self.path))
        # a client that would accept a part of this file only if unchanged gets all of it
        is_whole = self.command != "GET" or "If-Range" in self.headers or not path.is_file()
        if wanted is None or is_whole:
            return super().send_head()
        return self._send_part(path, *wanted.groups())

    def _send_part(self, path: Path, first: str, last: str) -> Any:
        """Answer a request for bytes `first` to `last` of a file, or for its last `last` bytes."""
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = int(first) if first else max(0, size - int(last))
            end = min(size, int(last) + 1) if first and last else size
            if start >= end:
                self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
                self.send_header("Content-Range", f"bytes */{size}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return None
            file.seek(start)
            part = file.read(end - start)
        self.send_response(HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        return io.BytesIO(part)

    def _is_inside(self, name: str) -> bool:
        """Return whether a path is a file or folder of the site, not a link out of it."""
        if "\0" in name:
            return False
        path, folder = Path(name), Path(self.directory)
        try:
            inside = path.resolve().is_relative_to(folder.resolve())
            return inside and (path.is_file() or path.is_dir())
        except (OSError, RuntimeError):  # a name too long for a file, a loop of links
            return False

    def list_directory(self, path: Any) -> None:
        self.send_error(HTTPStatus.NOT_FOUND)

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        # the site may be rebuilt at any time
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def _is_local_request(self) -> bool:
        name, _, port = self.headers.get("Host", "").partition(":")
        ours = cast("ThreadingHTTPServer", self.server).server_port
        return name.lower() in _NAMES and (port or "80") == str(ours)
