"""The compiled models as files: made anew byte for byte, loaded by others, saturated, isolated."""

from __future__ import annotations

import json
import re
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from acdc_pipeline.models.bridge import load_bridge
from acdc_pipeline.models.zoo import compiled, list_zoo, zoo_path
from acdc_pipeline.models.zoo.compiled.builder import SCRATCH, Residual, one_hot, signs
from acdc_pipeline.models.zoo.compiled.catalogue import PROGRAMS
from acdc_pipeline.models.zoo.compiled.program import Program
from acdc_pipeline.models.zoo.compiled.single_heads import find_next
from acdc_pipeline.specs.catalogue import find_task
from benchmarks.zoo.attention_only import read_tl_directory
from benchmarks.zoo.compiled import main
from tests.compiled_prompts import compiled_prompts
from tests.oracles.compiled_patching import PlainModel, log_softmax
from tests.support import REPOSITORY

EACH = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def random_tokens(program: Program, n: int = 8) -> torch.Tensor:
    shape = program.build().shape
    generator = torch.Generator().manual_seed(0)
    return torch.randint(shape.vocab, (n, shape.n_ctx), generator=generator)


def ids_of(program: Program, words: list[str]) -> np.ndarray:
    ids = {token: number for number, token in enumerate(program.vocabulary)}
    return np.array([[ids[word] for word in words]])


def said_next(program: Program, words: list[str]) -> str:
    """The most probable word after `words`."""
    logits, _, _ = PlainModel(zoo_path(program.name)).run(ids_of(program, words))
    return program.vocabulary[int(logits[0, -1].argmax())]


def called(name: str) -> Program:
    (program,) = (program for program in PROGRAMS if program.name == name)
    return program


def test_command_writes_the_shipped_files_again_byte_for_byte(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    shutil.copy(REPOSITORY / "docs" / "compiled-models.md", tmp_path / "docs")
    given = (f"--{what}={tmp_path / what}" for what in ("out", "tasks", "docs"))
    main(list(given))
    for program in PROGRAMS:
        assert files_of(tmp_path / "out" / program.name) == files_of(zoo_path(program.name))
    for folder in (tmp_path / "tasks").iterdir():
        shipped = files_of(REPOSITORY / "tasks" / folder.name)
        assert files_of(folder).items() <= shipped.items()
    assert sorted(p.name for p in (tmp_path / "tasks").iterdir()) == sorted(
        program.task for program in PROGRAMS if program.name != "compiled-induction"
    )
    page, pictures = Path("docs/compiled-models.md"), Path("docs/compiled-models")
    assert (tmp_path / page).read_bytes() == (REPOSITORY / page).read_bytes()
    assert files_of(tmp_path / pictures) == files_of(REPOSITORY / pictures)


def test_compiled_models_stay_small_enough_to_travel_in_the_package():
    for program in PROGRAMS:
        sizes = {name: len(data) for name, data in files_of(zoo_path(program.name)).items()}
        assert sum(sizes.values()) < 200_000, program.name


EXAMPLE = re.compile(r'"([^"]+)" -> "([^"]+)"')


@EACH
def test_example_of_the_program_is_what_the_model_says(program: Program):
    match = EXAMPLE.match(program.behaviour)
    assert match is not None
    assert said_next(program, match[1].split()) == match[2]


@EACH
def test_example_of_the_task_is_what_the_model_says(program: Program):
    if not program.has_own_task:
        return
    match = EXAMPLE.match(find_task(program.task, REPOSITORY).behaviour)
    assert match is not None
    assert said_next(program, ["<bos>", *match[1].split()]) == match[2]


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
def test_half_precision_holds_every_weight_and_single_precision_answers_alike(program: Program):
    tensors = program.build().tensors()
    _, shipped = read_tl_directory(zoo_path(program.name))
    for name, tensor in tensors.items():
        assert torch.equal(shipped[name], tensor), name
    tokens = random_tokens(program).numpy()
    expected, _, _ = PlainModel(zoo_path(program.name)).run(tokens)
    logits, _, _ = PlainModel(zoo_path(program.name), np.float32).run(tokens)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    # Logits of a few hundred keep four digits behind the point in single precision.
    chances, expected_chances = np.exp(log_softmax(logits)), np.exp(log_softmax(expected))
    np.testing.assert_allclose(chances, expected_chances, atol=1e-3)


@EACH
def test_tokenizer_loads_with_auto_tokenizer_and_keeps_every_word_whole(program: Program):
    tokenizer = AutoTokenizer.from_pretrained(zoo_path(program.name))
    assert tokenizer.convert_ids_to_tokens([0, 1, 2]) == ["<bos>", "<unk>", "<pad>"]
    assert (tokenizer.bos_token_id, tokenizer.unk_token_id, tokenizer.pad_token_id) == (0, 1, 2)
    text = " ".join(program.words)
    assert tokenizer(text)["input_ids"] == list(range(3, 3 + len(program.words)))
    assert tokenizer("nonsense")["input_ids"] == [1]


@EACH
def test_heads_of_the_circuit_are_one_hot_or_uniform_at_the_answer_and_distractors_neither(
    program: Program,
):
    drawn = compiled_prompts(program.name, 16)
    _, _, patterns = PlainModel(zoo_path(program.name)).run(drawn.clean)
    in_circuit = {str(node) for node in compiled.true_circuit(program.name, "zero").nodes}
    known = {str(node): kinds for node, kinds in compiled.head_kinds(program.name).items()}
    for name, pattern in patterns.items():
        at_answer = pattern[np.arange(16), drawn.answer_pos]
        if "uniform" in known.get(name, ()):
            visible = drawn.answer_pos + 1
            np.testing.assert_allclose(at_answer.max(-1), 1 / visible, rtol=1e-12)
        elif name in in_circuit:
            assert (1 - at_answer.max(-1)).max() < 1e-12, name
        elif name not in known:
            assert at_answer.max() < 0.9, name


@EACH
def test_distractors_write_only_where_the_circuit_does_not_read(program: Program):
    builder = program.build()
    tensors, scratch = builder.tensors(), builder.shape.residual[SCRATCH]
    outside = torch.ones(builder.shape.residual.d_model, dtype=torch.bool)
    outside[scratch] = False
    in_circuit = {str(node) for node in compiled.true_circuit(program.name, "zero").nodes}
    known = {str(node): kinds for node, kinds in compiled.head_kinds(program.name).items()}
    for layer in range(builder.shape.n_layers):
        attn = f"blocks.{layer}.attn"
        for head in range(builder.shape.n_heads):
            name, written = f"a{layer}.h{head}", tensors[f"{attn}.W_O"][head]
            if name in in_circuit:
                assert not written[:, scratch].any()
                for slot in "QKV":
                    assert not tensors[f"{attn}.W_{slot}"][head][scratch].any()
            else:
                assert not written[:, outside].any()
                assert written[:, scratch].any() == ("idle" not in known.get(name, ()))
        if builder.shape.d_mlp:
            reads = tensors[f"blocks.{layer}.mlp.W_in"][scratch].any(0)
            assert not tensors[f"blocks.{layer}.mlp.W_out"][reads][:, outside].any()
    assert not tensors["unembed.W_U"][scratch].any()


def test_compiled_sort_says_any_list_to_its_end():
    program = called("compiled-sort")
    for numbers in ("5", "90", "3142", "7654321", "0918273"):
        said = ["<bos>", *numbers, "="]
        for digit in sorted(numbers):
            assert said_next(program, said) == digit
            said.append(digit)


def test_pairs_of_compiled_sort_lead_elsewhere_by_every_slot_of_the_head():
    program = called("compiled-sort")
    assert program.pairs is not None
    for pair in islice(program.pairs(), 200):
        clean, corrupted = pair["clean"].split(), pair["corrupted"].split()
        assert len(clean) == len(corrupted) == 7
        answer = pair["correct"].strip()
        assert clean[find_next(clean[-1], clean)] == answer
        assert clean[find_next(corrupted[-1], clean)] != answer
        assert clean[find_next(clean[-1], corrupted)] != answer
        assert corrupted[find_next(clean[-1], clean)] != answer


def test_compiled_sum_adds_every_pair_of_digits():
    program = called("compiled-sum")
    for left in range(6):
        for right in range(6):
            words = ["<bos>", str(left), "+", str(right), "="]
            assert said_next(program, words) == str(left + right)


def test_compiled_majority_sees_a_lead_of_one_in_any_order_and_length():
    program = called("compiled-majority")
    for said, ahead in (("a", "a"), ("abb", "b"), ("bbaaa", "a"), ("bababab", "b")):
        assert said_next(program, ["<bos>", *said]) == ahead
    assert not program.build().tensors()["pos_embed.W_pos"].any()


def test_compiled_negative_says_the_name_said_once_in_any_order():
    program = called("compiled-negative")
    for said in ("akk", "kak", "kka"):
        assert said_next(program, ["<bos>", *said, "="]) == "a"


def test_compiled_lookup_finds_every_key():
    program = called("compiled-lookup")
    listed = {"be": "ki", "da": "lo", "fu": "ga"}
    said = [word for pair in listed.items() for word in pair]
    for key, value in listed.items():
        assert said_next(program, ["<bos>", *said, key, "="]) == value


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


def test_signs_products_count_shared_digits_twice_over():
    codes = signs(64)
    products = codes @ codes.T
    # 19 is 010011 in base 2; 18 differs in one digit, 16 in two, 44 = 101100 in all six.
    assert [products[19, other].item() for other in (19, 18, 16, 44)] == [6, 4, 2, -6]
    assert torch.equal(products.diagonal(), torch.full((64,), 6.0, dtype=torch.float64))


def test_signs_need_one_coordinate_more_from_each_power_of_two_on():
    assert [signs(n).shape[1] for n in (2, 8, 9, 16, 17, 128)] == [1, 3, 4, 4, 5, 7]
    assert torch.equal(one_hot(3) @ one_hot(3).T, torch.eye(3, dtype=torch.float64))
