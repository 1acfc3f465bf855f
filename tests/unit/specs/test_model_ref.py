from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acdc_pipeline.errors import SpecError
from acdc_pipeline.specs import ModelRef
from acdc_pipeline.specs.model_ref import full_name

NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,12}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("zoo:gpt2-4l-s0", ModelRef("zoo", "gpt2-4l-s0")),
        ("hf:openai-community/gpt2", ModelRef("hf", "openai-community/gpt2")),
        ("hf:org/name@main", ModelRef("hf", "org/name", "main")),
        ("hf:org/name@refs/pr/1", ModelRef("hf", "org/name", "refs/pr/1")),
        ("dir:../models/a b", ModelRef("dir", "../models/a b")),
        ("dir:/x@y", ModelRef("dir", "/x@y")),
        ("gguf:~/models/a b.Q4_1.gguf", ModelRef("gguf", "~/models/a b.Q4_1.gguf")),
    ],
)
def test_model_reference_of_each_form_parses_and_prints_back(text: str, expected: ModelRef):
    assert ModelRef.parse(text) == expected
    assert str(expected) == text


@given(NAMES, NAMES, st.none() | NAMES)
def test_model_reference_round_trips(org: str, name: str, revision: str | None):
    for ref in (ModelRef("zoo", name), ModelRef("hf", f"{org}/{name}", revision)):
        assert ModelRef.parse(str(ref)) == ref


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("gpt2-4l-s0", "did you mean 'zoo:gpt2-4l-s0'"),
        ("gpt2-small", "did you mean 'hf:openai-community/gpt2'?"),
        ("gpt3-tiny", "'acdc models list' shows the zoo; a model of the Hugging Face hub is 'hf:"),
        ("zo:gpt2-4l-s0", "did you mean 'zoo:gpt2-4l-s0'?"),
        ("hf:nothing", None),
        ("gpt2@", None),
        ("gpt2@a@b", None),
        ("org/../name", None),
        ("./org/name", None),
        ("hf:../x", None),
        ("hf:a/b..c@..", None),
        ("zoo:../secrets", None),
        ("zoo:", None),
        ("dir:", None),
        ("dir: ", None),
        ("gguf:", None),
        ("models/tiny.Q8_0.gguf", "did you mean 'gguf:models/tiny.Q8_0.gguf'?"),
        ("toy.pth", "acdc models convert toy.pth OUT"),
        ("ggf:tiny.gguf", "did you mean 'gguf:tiny.gguf'?"),
        ("", None),
        ("Zoo:x\n", "did you mean 'zoo:x\n'?"),
    ],
)
def test_model_reference_of_no_form_is_rejected_with_a_guess(text: str, fix: str | None):
    with pytest.raises(SpecError, match="is not a model reference") as raised:
        ModelRef.parse(text)
    assert raised.value.allowed == "zoo:NAME, hf:ORG/NAME[@REVISION], dir:PATH, gguf:FILE"
    assert (raised.value.fix or "").startswith(fix or "")
    assert (raised.value.fix is None) == (fix is None)


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("org/name", "hf:org/name"),
        ("EleutherAI/pythia-70m", "hf:EleutherAI/pythia-70m"),
        ("EleutherAI/pythia-70m@step1000", "hf:EleutherAI/pythia-70m@step1000"),
        ("gpt2", "hf:openai-community/gpt2"),
        ("GPT2-XL", "hf:openai-community/gpt2-xl"),
        ("hf:gpt2", "hf:openai-community/gpt2"),
        ("distilgpt2@main", "hf:distilbert/distilgpt2@main"),
        ("pythia-70m", "hf:EleutherAI/pythia-70m"),
        ("opt-125m", "hf:facebook/opt-125m"),
    ],
)
def test_name_of_a_hub_model_alone_means_that_model(text: str, full: str):
    assert str(ModelRef.parse(text)) == full
    assert full_name(text) == full


@pytest.mark.parametrize("name", ["gpt2", "org/name"])
def test_name_of_a_hub_model_that_is_also_a_folder_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match=f"'{name}' is a folder, and the name of") as raised:
        ModelRef.parse(name)
    assert raised.value.fix is not None
    assert raised.value.fix.startswith(f"did you mean 'dir:{name}'? The hub model is 'hf:")
    assert ModelRef.parse(f"dir:{name}") == ModelRef("dir", name)


@pytest.mark.parametrize("text", ["zoo:*", "attn-2l", "dir:x", ""])
def test_full_name_of_other_text_is_that_text(text: str):
    assert full_name(text) == text
