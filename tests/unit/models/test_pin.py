"""A plan pins a model of the hub without downloading it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from acdc_pipeline.models.location import locate, pin
from acdc_pipeline.specs import ModelRef
from tests.support import REPOSITORY
from tests.sweeps import write_shape

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextlib.contextmanager
def hub(config: bytes, asked: list[str]) -> Iterator[str]:
    """The address of a hub that has one `config.json`; what is asked of it is written down."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            known = self.path == "/org/name/resolve/main/config.json"
            self.send_response(200 if known else 404)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", '"abc"')
            self.send_header("Content-Length", str(len(config) if known else 0))
            self.end_headers()
            if known and self.command == "GET":
                self.wfile.write(config)

        do_HEAD = do_GET  # noqa: N815  (the name that the server looks for)

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


def fetch(code: str, home: Path, address: str) -> subprocess.CompletedProcess[str]:
    """Runs `code` in a process whose hub is at `address`, and whose cache of it is in `home`."""
    hub_there = {"HF_HOME": str(home), "HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0"}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env={**os.environ, **hub_there, "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_pin_of_a_hub_model_fetches_its_config_and_nothing_else(tmp_path: Path):
    config = (write_shape(tmp_path / "shape") / "config.json").read_bytes()
    code = (
        "import json; from acdc_pipeline.models.location import pin; "
        "from acdc_pipeline.models.describe import describe_located; "
        "from acdc_pipeline.specs import ModelRef; "
        "ref = ModelRef.parse('hf:org/name'); found = describe_located(ref, pin(ref)); "
        "print(json.dumps([found.revision, found.n_layers]))"
    )
    asked: list[str] = []
    with hub(config, asked) as address:
        result = fetch(code, tmp_path / "home", address)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == [COMMIT, 2]
    assert set(asked) == {"/org/name/resolve/main/config.json"}


def test_pin_of_a_directory_is_where_it_lies(tmp_path: Path):
    ref = ModelRef.parse(f"dir:{write_shape(tmp_path / 'm')}")
    assert pin(ref) == locate(ref)


def test_locate_of_a_quantised_hub_model_is_refused_before_its_weights_are_fetched(tmp_path: Path):
    config = json.loads((write_shape(tmp_path / "shape") / "config.json").read_text())
    quantised = json.dumps(config | {"quantization_config": {"quant_method": "awq", "bits": 4}})
    code = (
        "from acdc_pipeline.models.location import locate; "
        "from acdc_pipeline.specs import ModelRef; locate(ModelRef.parse('hf:org/name'))"
    )
    asked: list[str] = []
    with hub(quantised.encode(), asked) as address:
        result = fetch(code, tmp_path / "home", address)
    assert "UnsupportedModel: hf:org/name: its weights are quantised with AWQ (4 bits)" in (
        result.stderr
    )
    assert set(asked) == {"/org/name/resolve/main/config.json"}
