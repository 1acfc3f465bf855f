from __future__ import annotations

from tests.command_line import acdc


def test_doctor_finds_this_installation_well(capsys, store_url):
    found = acdc(capsys, "doctor", "--json")
    assert found.code == 0, found.out
    findings = {finding["what"]: finding for finding in found.document["findings"]}
    assert findings["engine"]["status"] == "ok"
    assert "ioi" in findings["tasks"]["found"]
    assert store_url in findings["store"]["found"]


def test_doctor_names_a_store_that_cannot_be_used_and_fails(capsys, tmp_path):
    (tmp_path / "file").touch()
    found = acdc(capsys, "doctor", "--store", tmp_path / "file")
    assert found.code == 3
    assert "PROBLEM" in found.out
    assert "--store" in found.out
