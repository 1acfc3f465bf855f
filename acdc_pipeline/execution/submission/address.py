"""The address of the job API of a cluster."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from acdc_pipeline.errors import InvalidInput

PORT = 8265
"""Default port of Ray's dashboard, which serves the job API."""

FORMS = "http://HOST:PORT or https://HOST of the cluster's dashboard"

_GCS_PORT = 6379
_RAY_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True)
class ClusterAddress:
    """The address of a job API.

    Args:
        url: scheme, host, and if given port and path, without a final `/`.
        host: name or IP address, without brackets.
    """

    url: str
    host: str

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine, or a tunnel from it."""
        number = _ip_address(self.host)
        return self.host == "localhost" or (number is not None and number.is_loopback)


def find_address(given: str | None, source: str, environment: Mapping[str, str]) -> ClusterAddress:
    """Return the `given` address, else that of Ray's variables.

    Raises:
        InvalidInput: there is none, or it is not the address of a job API.
    """
    if given is not None:
        return parse_address(given, source)
    for name in _RAY_VARIABLES:
        if environment.get(name):
            return parse_address(environment[name], name)
    raise InvalidInput(
        "no cluster is named",
        field=source,
        allowed=FORMS,
        fix="--address URL, ACDC_ADDRESS, or a line 'address: URL' in acdc.yaml",
    )


def parse_address(text: str, source: str) -> ClusterAddress:
    """Return the address in `text`, the value of `source` (an option, a variable).

    Without a scheme, `HOST:PORT` means http, and `HOST` alone the default port. A fragment after
    `#`, as in an address copied from a browser, is ignored.

    Raises:
        InvalidInput: it is not the address of a job API.
    """
    written = text.strip()
    scheme, separator, rest = written.partition("://")
    if not separator:
        scheme, rest = "http", written
    try:
        parts = urlsplit(f"http://{rest}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _refusal(written, "is not an address", source) from None
    if parts.username is not None:
        raise InvalidInput(
            "holds a user name or a password, which would show up in logs",
            field=source,
            allowed=FORMS,
            fix="leave it out; a protected cluster takes a token (RAY_AUTH_TOKEN)",
        )
    _check_form(written, scheme.lower(), host, source)
    if not separator and port == _GCS_PORT:
        raise _refusal(written, "is where nodes of the cluster meet", source, host)
    if parts.query or not (_HOST_NAME.fullmatch(host) or _ip_address(host)):
        raise _refusal(written, "is not an address", source)
    if not separator and port is None:
        port = PORT
    place = f"[{host}]" if ":" in host else host
    ending = "" if port is None else f":{port}"
    return ClusterAddress(f"{scheme.lower()}://{place}{ending}{parts.path.rstrip('/')}", host)


def _check_form(written: str, scheme: str, host: str, source: str) -> None:
    if not written:
        raise InvalidInput("the address is empty", field=source, allowed=FORMS)
    if written in ("auto", "local"):
        raise _refusal(written, "means something to programs on the cluster only", source)
    if scheme == "ray":
        raise _refusal(written, "is for Ray Client, which takes no jobs", source, host)
    if scheme not in ("http", "https"):
        raise _refusal(written, f"begins with {scheme}://", source)
    if any(c.isspace() or not c.isprintable() for c in written):
        raise _refusal(written, "is not an address", source)


def _refusal(written: str, problem: str, source: str, host: str = "127.0.0.1") -> InvalidInput:
    place = f"[{host}]" if ":" in host else host
    return InvalidInput(
        f"{written!r} {problem}",
        field=source,
        allowed=FORMS,
        fix=f"http://{place}:{PORT}, unless the dashboard has another port",
    )


def _ip_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host)
    return None
