"""Every class that the installed libraries list is supported, or refused for a reason."""

from __future__ import annotations

import pytest

from acdc_pipeline.models.architectures import SUPPORTED, coverage
from acdc_pipeline.models.architectures.coverage import Coverage, Listing, measure_coverage
from acdc_pipeline.models.architectures.refused import REFUSED
from acdc_pipeline.models.directory import NATIVE


def test_measure_coverage_reads_the_names_that_the_libraries_themselves_hold():
    from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES
    from transformers.models.auto import modeling_auto as auto

    expected: set[str] = set()
    tables = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES
    for names in (*tables[0].values(), *tables[1].values()):
        expected |= {names} if isinstance(names, str) else set(names)
    of_transformers, of_transformer_lens = measure_coverage().listings
    assert of_transformers.classes == tuple(sorted(expected))
    assert of_transformer_lens.classes == tuple(sorted(SUPPORTED_ARCHITECTURES))


def test_every_class_of_the_installed_libraries_is_supported_or_refused_for_a_reason():
    """A new class: read its modeling file, then support it or name it in `refused.py`."""
    assert measure_coverage().unknown == ()


def test_every_class_is_counted_once():
    found = measure_coverage()
    names = {name for listing in found.listings for name in listing.classes}
    groups = [*found.reproduced, *found.refused, *found.unknown]
    assert sorted(groups) == sorted(names)
    assert sorted(name for names in found.by_reason().values() for name in names) == sorted(
        found.refused
    )


def test_every_supported_class_is_listed_by_a_library():
    listed = {name for listing in measure_coverage().listings for name in listing.classes}
    assert SUPPORTED.keys() <= listed | {NATIVE}


def test_coverage_of_a_class_that_nobody_has_looked_at_is_unknown(monkeypatch, tmp_path):
    package = tmp_path / "transformers"
    (package / "models" / "auto").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "models" / "auto" / "modeling_auto.py").write_text(
        "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES = OrderedDict([('a', 'NewForCausalLM'),"
        " ('b', ('LlamaForCausalLM', 'MambaForCausalLM'))])\n"
        "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES = OrderedDict([('c', 'GitForCausalLM')])\n"
        "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES = OrderedDict("
        "[*list(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.items()), ('d', 'BlipsForAll')])\n"
    )
    _pretend_installed(monkeypatch, package)
    found = measure_coverage()
    assert found.unknown == ("BlipsForAll", "NewForCausalLM")
    assert found.reproduced == {"LlamaForCausalLM": "Llama"}
    assert found.refused == {name: REFUSED[name] for name in ("GitForCausalLM", "MambaForCausalLM")}


@pytest.mark.parametrize("source", ["", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES = read()", "def ("])
def test_coverage_of_a_library_without_the_table_names_the_problem(monkeypatch, tmp_path, source):
    package = tmp_path / "transformers"
    (package / "models" / "auto").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "models" / "auto" / "modeling_auto.py").write_text(source)
    _pretend_installed(monkeypatch, package)
    (of_transformers,) = measure_coverage().listings
    assert of_transformers.classes == ()
    assert "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES" in str(of_transformers.problem)


def test_coverage_of_a_library_that_is_absent_names_the_problem(monkeypatch):
    monkeypatch.setattr(coverage, "_TABLES", (("no-such-library", "a.py", "NAMES"),))
    assert measure_coverage() == Coverage(
        (Listing("no-such-library", None, problem="it is not installed"),), {}, {}, ()
    )


def _pretend_installed(monkeypatch, package):
    """Let `package` be what is found as transformers, and nothing as TransformerLens."""
    spec = coverage.find_spec("transformers")
    assert spec is not None
    monkeypatch.setattr(spec, "submodule_search_locations", [str(package)])
    monkeypatch.setattr(coverage, "find_spec", lambda name: spec)
    monkeypatch.setattr(coverage, "_TABLES", coverage._TABLES[:1])
