from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acdc_pipeline.errors import SpecError
from acdc_pipeline.specs import ModelRef

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
        ("org/name", "did you mean 'hf:org/name'?"),
        ("zo:gpt2-4l-s0", "did you mean 'zoo:gpt2-4l-s0'?"),
        ("gpt2", "did you mean 'hf:openai-community/gpt2'?"),
        ("GPT2-XL", "did you mean 'hf:openai-community/gpt2-xl'?"),
        ("pythia-70m", "did you mean 'hf:EleutherAI/pythia-70m'?"),
        ("hf:gpt2", "did you mean 'hf:openai-community/gpt2'?"),
        ("hf:nothing", None),
        ("hf:../x", None),
        ("hf:a/b..c@..", None),
        ("zoo:../secrets", None),
        ("zoo:", None),
        ("dir:", None),
        ("dir: ", None),
        ("gguf:", None),
        ("models/tiny.Q8_0.gguf", "did you mean 'gguf:models/tiny.Q8_0.gguf'?"),
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
