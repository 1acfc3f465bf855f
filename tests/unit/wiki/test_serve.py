from __future__ import annotations

import http.client
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.wiki.output import NAME
from acdc_pipeline.wiki.serve import site_server


@contextmanager
def serving(site: Path) -> Iterator[int]:
    with site_server(site, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def port(tiny_site: Path) -> Iterator[int]:
    with serving(tiny_site) as port:
        yield port


def ask(
    port: int, path: str, host: str | None = None, method: str = "GET"
) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest(method, path, skip_host=True)
    if host != "":
        connection.putheader("Host", host or f"127.0.0.1:{port}")
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode("utf-8", "replace")
    connection.close()
    return answer.status, text, dict(answer.getheaders())


def test_server_gives_the_pages_with_a_policy_that_allows_nothing_from_elsewhere(port: int):
    status, text, headers = ask(port, "/")
    assert status == 200
    assert "What every attention head does" in text
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "http" not in headers["Content-Security-Policy"]
    assert ask(port, "/m/zoo-attn-2l/a0.h0.html", host=f"localhost:{port}")[0] == 200


@pytest.mark.parametrize("host", ["example.org", "example.org:80", "127.0.0.1.example.org", ""])
def test_server_refuses_who_asks_for_another_host(port: int, host: str):
    """What a page elsewhere would send after pointing its own name at this machine."""
    status, text, _ = ask(port, "/", host=host)
    assert status == 421
    assert "attention head" not in text


def test_server_refuses_its_own_name_under_another_port(port: int):
    assert ask(port, "/", host="127.0.0.1:1")[0] == 421


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        f"/{NAME}",
        "/data/",
        "/nothing.html",
        "/%00",
        f"/{'a' * 300}",
    ],
)
def test_server_gives_nothing_but_files_of_the_site(port: int, path: str):
    status, text, _ = ask(port, path)
    assert status == 404
    assert "root:" not in text


def test_server_follows_no_link_out_of_the_site_and_waits_for_no_pipe(tmp_path: Path):
    site, outside = tmp_path / "site", tmp_path / "secret.html"
    site.mkdir()
    outside.write_text("secret")
    for name in ("index.html", NAME):
        (site / name).write_text("{}")
    (site / "link.html").symlink_to(outside)
    (site / "up").symlink_to(tmp_path)
    os.mkfifo(site / "pipe.html")
    with serving(site) as port:
        assert ask(port, "/index.html")[0] == 200
        for path in ("/link.html", "/up/secret.html", "/pipe.html"):
            assert ask(port, path)[0] == 404


def test_server_changes_nothing(port: int):
    assert ask(port, "/index.html", method="DELETE")[0] == 501
    assert ask(port, "/index.html", method="PUT")[0] == 501


def test_server_without_a_site_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(InvalidInput, match="holds no wiki") as caught:
        site_server(tmp_path, 0)
    assert caught.value.fix is not None
    assert "acdc wiki build" in caught.value.fix


def test_server_on_a_taken_port_says_so(tiny_site: Path, port: int):
    with pytest.raises(InvalidInput, match=str(port)) as caught:
        site_server(tiny_site, port)
    assert caught.value.field == "--port"


@pytest.mark.parametrize(
    ("wanted", "status", "part"),
    [
        ("bytes=0-3", 206, slice(0, 4)),
        ("bytes=10-", 206, slice(10, None)),
        ("bytes=-8", 206, slice(-8, None)),
        ("bytes=5-99999999", 206, slice(5, None)),
        ("bytes=0-99999999999999999999999", 206, slice(0, None)),
        ("bytes=-99999999999999999999999", 206, slice(0, None)),
        ("bytes=99999999-", 416, slice(0, 0)),
        ("bytes=99999999999999999999999-", 416, slice(0, 0)),
        ("bytes=-0", 416, slice(0, 0)),
        ("bytes=5-2", 200, slice(None)),  # not valid, and so ignored
        ("bytes=0-1,4-5", 200, slice(None)),  # several ranges: allowed to be answered with all
        ("lines=1-2", 200, slice(None)),
    ],
)
def test_server_sends_the_range_that_was_asked_for(
    port: int, tiny_site: Path, wanted: str, status: int, part: slice
):
    whole = (tiny_site / "data" / "all.scores.parquet").read_bytes()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for _ in range(2):  # on one connection
        connection.request("GET", "/data/all.scores.parquet", headers={"Range": wanted})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (status, whole[part])
        assert answer.getheader("Accept-Ranges") == "bytes"
        if status == 206:
            start, end, _ = part.indices(len(whole))
            assert answer.getheader("Content-Range") == f"bytes {start}-{end - 1}/{len(whole)}"
    connection.request(
        "GET", "/data/all.scores.parquet", headers={"Range": wanted, "If-Range": "x"}
    )
    assert connection.getresponse().read() == whole
    connection.close()
