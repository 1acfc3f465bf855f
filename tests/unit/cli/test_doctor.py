from __future__ import annotations

from tests.command_line import acdc


def test_doctor_finds_this_installation_well(capsys, store_url):
    found = acdc(capsys, "doctor", "--json")
    assert found.code == 0, found.out
    findings = {finding["what"]: finding for finding in found.document["findings"]}
    assert findings["engine"]["status"] == "ok"
    assert "ioi" in findings["tasks"]["found"]
    assert store_url in findings["store"]["found"]
    assert {"ray cluster", "tokens", "browser"} <= set(findings)


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
    assert "--store" in found.out
    assert "host:6379" in found.out
    assert "Hugging Face: set, Ray: set" in found.out
    assert "sesame" not in found.out + found.err
