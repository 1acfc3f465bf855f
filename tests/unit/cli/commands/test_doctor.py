from __future__ import annotations

from pathlib import Path

from tests.command_line import acdc


def test_doctor_finds_this_installation_well(capsys, store_url):
    found = acdc(capsys, "doctor", "--json")
    assert found.code == 0, found.out
    findings = {finding["what"]: finding for finding in found.document["findings"]}
    assert findings["engine"]["status"] == "ok"
    assert "ioi" in findings["tasks"]["found"]
    assert store_url in findings["store"]["found"]
    assert {"ray cluster", "tokens", "browser"} <= set(findings)


def test_doctor_says_which_optional_packages_are_there_and_where_conversions_are_kept(
    capsys, cache: Path, without_package
):
    (cache / "models" / "one").mkdir(parents=True)
    (cache / "models" / "one" / "model.safetensors").write_bytes(bytes(2**20))
    without_package("peft")
    found = acdc(capsys, "doctor", "--json")
    findings = {finding["what"]: finding for finding in found.document["findings"]}
    assert "no peft (merges LoRA adapters: pip install peft)" in findings["extras"]["found"]
    assert findings["cache"]["found"].startswith(f"{cache}: 1 converted model, 0.0 GiB")
    assert "ACDC_CACHE" in findings["cache"]["found"]


def test_doctor_names_a_store_that_cannot_be_used_and_fails_without_telling_secrets(
    capsys, monkeypatch, tmp_path
):
    monkeypatch.setenv("RAY_ADDRESS", "host:6379")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "sesame-0f1e")
    monkeypatch.setenv("HF_TOKEN", "sesame-2d3c")
    (tmp_path / "file").touch()
    found = acdc(capsys, "doctor", "--store", tmp_path / "file")
    assert found.code == 3
    assert "PROBLEM" in found.out
    assert "choose another store" in found.out
    assert "host:6379" in found.out
    assert "Hugging Face: set, Ray: set" in found.out
    assert "sesame" not in found.out + found.err
