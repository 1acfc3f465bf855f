"""The compiled models as files: made anew byte for byte, loaded by others, saturated, isolated."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from acdc_pipeline.models.bridge import load_bridge
from acdc_pipeline.models.tl_format import read_tl_directory
from acdc_pipeline.models.zoo import compiled
from acdc_pipeline.models.zoo.catalogue import list_zoo, zoo_path
from acdc_pipeline.models.zoo.compiled.__main__ import main
from acdc_pipeline.models.zoo.compiled.catalogue import PROGRAMS
from acdc_pipeline.models.zoo.compiled.codes import two_digits
from acdc_pipeline.models.zoo.compiled.program import Program
from acdc_pipeline.models.zoo.compiled.residual import SCRATCH, Residual
from tests.oracles.compiled_patching import PlainModel
from tests.support import REPOSITORY

EACH = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def random_tokens(program: Program, n: int = 8) -> torch.Tensor:
    shape = program.build().shape
    generator = torch.Generator().manual_seed(0)
    return torch.randint(shape.vocab, (n, shape.n_ctx), generator=generator)


def test_command_writes_the_shipped_files_again_byte_for_byte(tmp_path: Path):
    main(["--out", str(tmp_path / "weights"), "--tasks", str(tmp_path / "tasks")])
    for program in PROGRAMS:
        assert files_of(tmp_path / "weights" / program.name) == files_of(zoo_path(program.name))
    for folder in (tmp_path / "tasks").iterdir():
        shipped = files_of(REPOSITORY / "tasks" / folder.name)
        assert files_of(folder).items() <= shipped.items()
    assert sorted(p.name for p in (tmp_path / "tasks").iterdir()) == [
        "compiled_or",
        "compiled_reverse",
    ]


def test_programs_are_the_compiled_models_that_ship():
    assert tuple(sorted(program.name for program in PROGRAMS)) == compiled.list_compiled()
    assert set(compiled.list_compiled()) <= set(list_zoo())


@EACH
def test_bridge_loads_the_directory_and_agrees_with_the_plain_forward(program: Program):
    bridge = load_bridge(zoo_path(program.name), dtype=torch.float64)
    tokens = random_tokens(program)
    with torch.no_grad():
        logits = bridge(tokens).numpy()
    expected, _, _ = PlainModel(zoo_path(program.name)).run(tokens.numpy())
    np.testing.assert_allclose(logits, expected, rtol=1e-9, atol=1e-9)


@EACH
def test_single_precision_keeps_the_answers_and_stays_finite(program: Program):
    """Every weight is a short binary fraction, so float32 and float16 store it as it is."""
    _, tensors = read_tl_directory(zoo_path(program.name))
    for tensor in tensors.values():
        assert torch.equal(tensor.half().float(), tensor)
    tokens = random_tokens(program).numpy()
    expected, _, _ = PlainModel(zoo_path(program.name)).run(tokens)
    logits, _, _ = PlainModel(zoo_path(program.name), np.float32).run(tokens)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    assert (logits.argmax(-1) == expected.argmax(-1)).mean() > 0.99


@EACH
def test_tokenizer_loads_with_auto_tokenizer_and_keeps_every_word_whole(program: Program):
    tokenizer = AutoTokenizer.from_pretrained(zoo_path(program.name))
    assert tokenizer.convert_ids_to_tokens([0, 1, 2]) == ["<bos>", "<unk>", "<pad>"]
    assert (tokenizer.bos_token_id, tokenizer.unk_token_id, tokenizer.pad_token_id) == (0, 1, 2)
    text = " ".join(program.words)
    assert tokenizer(text)["input_ids"] == list(range(3, 3 + len(program.words)))
    assert tokenizer("nonsense")["input_ids"] == [1]


@EACH
def test_heads_of_the_circuit_are_one_hot_at_the_answer_and_distractors_are_not(program: Program):
    texts = ["di ba be bi bo bu da ba be bi"]
    if program.pairs is not None:
        texts = [pair["clean"] for pair in islice(program.pairs(), 16)]
    prompts = [["<bos>", *text.split()] for text in texts]
    ids = {token: number for number, token in enumerate(program.vocabulary)}
    tokens = np.array([[ids[word] for word in prompt] for prompt in prompts])
    _, _, patterns = PlainModel(zoo_path(program.name)).run(tokens)
    in_circuit = {str(node) for node in compiled.true_circuit(program.name, "zero").nodes}
    for name, pattern in patterns.items():
        largest = pattern[:, -1].max(-1)
        if name in in_circuit:
            assert (1 - largest).max() < 1e-12, name
        else:
            assert largest.max() < 0.9, name


@EACH
def test_distractors_write_only_where_the_circuit_does_not_read(program: Program):
    builder = program.build()
    tensors, scratch = builder.tensors(), builder.shape.residual[SCRATCH]
    outside = torch.ones(builder.shape.residual.d_model, dtype=torch.bool)
    outside[scratch] = False
    in_circuit = {str(node) for node in compiled.true_circuit(program.name, "zero").nodes}
    for layer in range(builder.shape.n_layers):
        attn = f"blocks.{layer}.attn"
        for head in range(builder.shape.n_heads):
            written = tensors[f"{attn}.W_O"][head]
            if f"a{layer}.h{head}" in in_circuit:
                assert not written[:, scratch].any()
                for slot in "QKV":
                    assert not tensors[f"{attn}.W_{slot}"][head][scratch].any()
            else:
                assert written[:, scratch].any()
                assert not written[:, outside].any()
        if builder.shape.d_mlp:
            reads = tensors[f"blocks.{layer}.mlp.W_in"][scratch].any(0)
            assert not tensors[f"blocks.{layer}.mlp.W_out"][reads][:, outside].any()
    assert not tensors["unembed.W_U"][scratch].any()


def test_compiled_reverse_says_any_sequence_backwards():
    model = PlainModel(zoo_path("compiled-reverse"))
    ids = json.loads((zoo_path("compiled-reverse") / "tokenizer.json").read_text())["model"][
        "vocab"
    ]
    for letters in ("d", "ba", "fae", "lhca", "abcdefg", "ggbbg"):
        said = ["<bos>", *letters, "|", *reversed(letters)]
        tokens = np.array([[ids[word] for word in said]])
        logits, _, _ = model.run(tokens)
        separator = len(letters) + 1
        assert logits[0, separator:-1].argmax(-1).tolist() == tokens[0, separator + 1 :].tolist()


def test_compiled_or_without_any_letter_answers_nothing():
    model = PlainModel(zoo_path("compiled-or"))
    ids = json.loads((zoo_path("compiled-or") / "tokenizer.json").read_text())["model"]["vocab"]

    def answer(text: str) -> int:
        logits, _, _ = model.run(np.array([[ids[word] for word in text.split()]]))
        return int(logits[0, -1].argmax())

    assert answer("<bos> . - + . + . =") == ids["?"]
    assert answer("<bos> . - c . + . =") == ids["c"]
    assert answer("<bos> . - + C + . =") == ids["c"]
    assert answer("<bos> . - c C + . =") == ids["c"]


def test_compiled_induction_without_a_match_says_nothing():
    model = PlainModel(zoo_path("compiled-induction"))
    _, _, patterns = model.run(np.array([[0, 10, 20, 30, 40]]))
    logits, _, _ = model.run(np.array([[0, 10, 20, 30, 40]]))
    assert patterns["a1.h2"][0, :, 0].min() > 1 - 1e-12
    assert np.abs(logits[0]).max() < 1e-9


def test_pairs_of_compiled_reverse_share_no_letter_and_differ_in_the_separator():
    (program,) = (program for program in PROGRAMS if program.name == "compiled-reverse")
    assert program.pairs is not None
    for pair in islice(program.pairs(), 200):
        clean, corrupted = pair["clean"].split(), pair["corrupted"].split()
        assert len(clean) == len(corrupted) == 7
        assert set(clean) & set(corrupted) == {"|"}
        assert clean.index("|") != corrupted.index("|")
        for side, answer in ((clean, pair["correct"]), (corrupted, pair["incorrect"])):
            at = side.index("|")
            whole = [*side[:at], "|", *side[:at][::-1]]
            assert whole[: len(side) + 1] == [*side, answer.strip()]


def test_residual_lays_subspaces_side_by_side():
    residual = Residual({"token": 3, "position": 2, SCRATCH: 4})
    assert residual.d_model == 9
    assert [residual[name] for name in residual.widths] == [slice(0, 3), slice(3, 5), slice(5, 9)]


def test_two_digits_products_count_shared_digits():
    codes = two_digits(64)
    products = codes @ codes.T
    # 19 is 2, 3 in base 8; 16 is 2, 0; 27 is 3, 3; 26 is 3, 2.
    assert [products[19, other].item() for other in (19, 16, 27, 26)] == [2, 1, 1, 0]
    assert torch.equal(products.diagonal(), torch.full((64,), 2.0, dtype=torch.float64))


def test_two_digits_more_symbols_than_two_digits_count_is_refused():
    with pytest.raises(ValueError, match="64 symbols, not 65"):
        two_digits(65)
