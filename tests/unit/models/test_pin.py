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

import pytest

from acdc_pipeline.errors import InvalidInput
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


def test_pin_of_a_hub_that_cannot_be_reached_is_one_message_and_no_retries(tmp_path: Path):
    code = (
        "from acdc_pipeline.cli.main import main; import sys; "
        "code = main(['discover', 'ioi', 'gpt2', '--store', sys.argv[1]]); "
        "print({'torch', 'transformers'} & set(sys.modules), code)"
    ).replace("sys.argv[1]", repr(str(tmp_path / "store")))
    result = fetch(code, tmp_path / "home", "http://127.0.0.1:1")
    assert result.stdout == "set() 2\n"
    first, fix = result.stderr.splitlines()
    assert first.startswith("acdc: hf:openai-community/gpt2 is not in the local Hugging Face cache")
    assert fix.startswith("      fix: check the network")


@pytest.mark.parametrize("unreachable", [False, True])
def test_locate_of_a_hub_model_without_its_weights_in_the_cache(
    unreachable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    snapshot = tmp_path / "models--org--name" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    config = write_shape(tmp_path / "shape") / "config.json"
    config.rename(snapshot / "config.json")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", not unreachable)
    tried: list[bool] = []

    def connect() -> bool:
        tried.append(unreachable)
        return unreachable

    monkeypatch.setattr("acdc_pipeline.models.location.is_unreachable", connect)
    ref = ModelRef.parse(f"hf:org/name@{COMMIT}")
    with pytest.raises(InvalidInput, match=r"the weights of hf:org/name@.* are not in the local"):
        locate(ref)
    assert tried == [unreachable]
    (snapshot / "pytorch_model.bin").touch()
    with pytest.raises(InvalidInput, match="no safetensors weights") as caught:
        locate(ref)
    assert f"hf download org/name --revision {COMMIT} --local-dir name && " in str(caught.value)


def test_hash_of_large_weights_is_kept_until_the_file_changes(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    directory = write_shape(tmp_path / "m")
    weights = directory / "model.safetensors"
    weights.write_bytes(b"a" * 100)
    os.utime(weights, (1e9, 1e9))
    ref = ModelRef.parse(f"dir:{directory}")
    plain = locate(ref).revision
    assert not (cache / "hashes").exists()
    monkeypatch.setattr("acdc_pipeline.models.location._LARGE_FILE", 1)
    monkeypatch.setattr("acdc_pipeline.models.conversion.cache._SETTLED_NS", -1)
    assert locate(ref).revision == plain
    notes = (cache / "hashes").iterdir()
    (note,) = (note for note in notes if json.loads(note.read_text())["path"] == str(weights))
    # the second time the note is read, not the file
    changed = json.loads(note.read_text())
    changed["sha256"] = "0" * 64
    note.write_text(json.dumps(changed))
    assert locate(ref).revision != plain
    weights.write_bytes(b"b" * 100)
    changed_weights = locate(ref).revision
    weights.write_bytes(b"a" * 100)
    assert locate(ref).revision == plain != changed_weights


def test_hash_of_large_weights_needs_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    directory = write_shape(tmp_path / "m")
    (directory / "model.safetensors").write_bytes(b"a" * 100)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ACDC_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("acdc_pipeline.models.location._LARGE_FILE", 1)
    monkeypatch.setattr("acdc_pipeline.models.conversion.cache._SETTLED_NS", -1)
    assert locate(ModelRef.parse(f"dir:{directory}"))
