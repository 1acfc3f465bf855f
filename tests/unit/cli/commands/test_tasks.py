"""`acdc tasks`."""

from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.cli.commands.tasks import write_task_folder
from acdc_pipeline.prompts import make_prompts
from acdc_pipeline.specs import find_task
from tests.command_line import acdc
from tests.specs_text import write_task
from tests.tokenizers import gpt2_tokenizer


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_tasks_list_names_those_that_ship_and_ones_own(capsys, tmp_path):
    write_task(tmp_path / "tasks", "Indirect object identification", "Of my own")
    listed = acdc(capsys, "tasks", "list")
    assert listed.code == 0
    assert "Of my own" in listed.out
    assert "Induction on random tokens" in listed.out
    document = acdc(capsys, "tasks", "list", "--json").document
    tasks = {task["name"]: task for task in document["tasks"]}
    assert tasks["ioi"]["path"] == str(tmp_path / "tasks" / "ioi")
    assert tasks["docstring"]["reference_circuit"] is True


def test_tasks_show_says_what_the_task_is(capsys, tmp_path):
    shown = acdc(capsys, "tasks", "show", write_task(tmp_path))
    assert shown.code == 0
    for part in ("Wang et al. 2022", "4 names, 2 places, 2 objects", "S: A or B", "{IO}, not {S}"):
        assert part in shown.out


def test_tasks_show_with_a_model_shows_prompts_as_its_tokenizer_sees_them(capsys):
    shown = acdc(
        capsys, "tasks", "show", "compiled_or", "--model", "zoo:compiled-or", "--prompts", "2",
        "--json",
    )  # fmt: skip
    assert shown.code == 0
    prompts = shown.document["prompts"]
    assert len(prompts) == 2
    for prompt in prompts:
        assert len(prompt["clean"].split()) == len(prompt["corrupted"].split())
        assert prompt["clean"] != prompt["corrupted"]


def test_tasks_show_marks_the_spans_of_prompts(capsys):
    shown = acdc(
        capsys, "tasks", "show", "compiled_sort", "--model", "zoo:compiled-sort", "--prompts", "2"
    )
    assert "spans      bos next numbers equals sorted END\n" in shown.out
    first, second = (line for line in shown.out.splitlines() if line.startswith("spans      ["))
    assert first.endswith("[bos <bos>] [next 6] [numbers 0 3 9] [equals =] [sorted 0] [END 3]")
    assert second.endswith("[bos <bos>] [numbers 8 3 5] [next 0] [numbers 9 6] [END =]")


def test_tasks_show_as_json_has_the_positions_of_spans(capsys):
    shown = acdc(
        capsys, "tasks", "show", "compiled_sum", "--model", "zoo:compiled-sum", "--prompts", "1",
        "--json",
    )  # fmt: skip
    assert shown.document["spans"] == ["bos", "left", "rest", "right", "END"]
    (prompt,) = shown.document["prompts"]
    assert prompt["spans"] == {"bos": [0], "left": [1], "rest": [2], "right": [3], "END": [4]}


def test_tasks_show_of_prompts_without_spans_has_none(capsys, tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"clean": "2 + 4 =", "corrupted": "4 + 0 =", "correct": " 6"}\n')
    shown = acdc(capsys, "tasks", "show", path, "--model", "zoo:compiled-sum")
    assert "spans" not in shown.out
    document = acdc(capsys, "tasks", "show", path, "--model", "zoo:compiled-sum", "--json").document
    assert document["spans"] is None
    assert "spans" not in document["prompts"][0]


def test_tasks_new_makes_a_task_that_passes_its_check(capsys, tmp_path):
    made = acdc(capsys, "tasks", "new", "mine")
    assert made.code == 0
    assert "acdc tasks check tasks/mine" in made.out
    checked = acdc(capsys, "tasks", "check", "mine")
    assert (checked.code, checked.err) == (0, "")
    assert sorted(path.name for path in (tmp_path / "tasks").iterdir()) == ["mine"]


def test_tasks_new_leaves_an_existing_task_alone(capsys, tmp_path):
    path = write_task(tmp_path / "tasks")
    before = path.read_text()
    acdc(capsys, "tasks", "new", "ioi").refuses("tasks/ioi: exists already")
    assert path.read_text() == before


def test_tasks_new_refuses_to_hide_a_task_that_ships(capsys, tmp_path):
    acdc(capsys, "tasks", "new", "ioi").refuses("'ioi' comes with acdc", "choose another name")
    assert list(tmp_path.iterdir()) == []


def test_tasks_list_goes_on_behind_a_task_that_cannot_be_read(capsys, tmp_path):
    write_task(tmp_path / "tasks", "corrupted:", "corupted:")
    listed = acdc(capsys, "tasks", "list")
    assert listed.code == 0
    assert "Induction on random tokens" in listed.out
    assert "acdc: warning: tasks/ioi/task.yaml: generator.corupted: unknown key" in listed.err
    document = acdc(capsys, "tasks", "list", "--json").document
    assert "ioi" not in [task["name"] for task in document["tasks"]]
    (unusable,) = document["unusable"]
    assert (unusable["name"], unusable["field"]) == ("ioi", "generator.corupted")


@pytest.mark.parametrize("name", ["Mine", "../mine", "a b", "", ".hidden"])
def test_tasks_new_refuses_names_that_are_no_folder_names(capsys, tmp_path, name: str):
    acdc(capsys, "tasks", "new", name).refuses("is not a task's name", "lower-case letters")
    assert list(tmp_path.iterdir()) == []


def test_tasks_new_into_a_place_that_cannot_be_written_is_refused(capsys, tmp_path):
    (tmp_path / "file").touch()
    acdc(capsys, "tasks", "new", "mine", "--folder", "file/tasks").refuses("cannot be written")


def test_tasks_check_names_an_unknown_key_with_the_nearest(capsys, tmp_path):
    path = write_task(tmp_path, "  roles:", "  rolls:")
    acdc(capsys, "tasks", "check", path.parent).refuses(
        "ioi/task.yaml: generator.rolls: unknown key", "did you mean 'roles'?"
    )


def test_tasks_check_wants_the_folder_named_like_the_task(capsys, tmp_path):
    path = write_task(tmp_path, "name: ioi", "name: oii")
    acdc(capsys, "tasks", "check", path.parent).refuses("name: 'oii' is not the name", "ioi")


def test_tasks_check_reads_the_reference_circuit_too(capsys, tmp_path):
    path = write_task(tmp_path)
    path.with_name("circuit.yaml").write_text("model: m\nsource: s\nedges: [a0.h0]\n")
    acdc(capsys, "tasks", "check", path).refuses("circuit.yaml: edges.0: 'a0.h0' is not an edge")


def test_tasks_check_with_a_model_refuses_words_its_tokenizer_cannot_keep_whole(capsys, tmp_path):
    acdc(capsys, "tasks", "check", write_task(tmp_path), "--model", "zoo:compiled-or").refuses(
        "task 'ioi'", "word list", "too few words"
    )


def test_tasks_with_a_model_say_which_words_its_tokenizer_drops(capsys, tmp_path):
    task = write_task(tmp_path, "Tom, Ann]", "Tom, Zyxgor, Sarah, Paul, Mark]")
    checked = acdc(capsys, "tasks", "check", task, "--model", "zoo:gpt2-4l-s0")
    assert checked.code == 0, checked.err
    assert "names: 6 of 7 usable with this tokenizer (dropped: Zyxgor)\n" in checked.out
    shown = acdc(capsys, "tasks", "show", task, "--model", "zoo:gpt2-4l-s0")
    assert "names: 6 of 7 usable with this tokenizer (dropped: Zyxgor)\n" in shown.out
    document = acdc(capsys, "tasks", "check", task, "--model", "zoo:gpt2-4l-s0", "--json").document
    (names, *_) = document["word_lists"]
    assert names == {"list": "names", "words": 7, "usable": 6, "dropped": ["Zyxgor"]}


def test_tasks_about_years_say_what_the_tokenizer_makes_the_answers(capsys):
    line = "years: century and two digits with this tokenizer; answers are the two digits\n"
    command = ("greater_than", "--model", "zoo:neox-4l-words", "--prompts", "2")
    assert line in acdc(capsys, "tasks", "check", *command).out
    assert line in acdc(capsys, "tasks", "show", *command).out
    document = acdc(capsys, "tasks", "check", *command, "--json").document
    assert document["answer_form"] == "two_digits"
    other = acdc(capsys, "tasks", "show", "ioi", "--model", "zoo:gpt2-4l-s0", "--json").document
    assert other["answer_form"] is None


def test_tasks_check_counts_prompts_and_tokens_as_people_do(capsys):
    check = ("tasks", "check", "compiled_or", "--model", "zoo:compiled-or", "--prompts")
    assert "1 prompt of 8 tokens, sides" in acdc(capsys, *check, "1").out
    assert "2 prompts of " in acdc(capsys, *check, "2").out


def test_tasks_unknown_name_suggests_the_nearest(capsys):
    for command in ("show", "check"):
        acdc(capsys, "tasks", command, "docstrin").refuses(
            "unknown task 'docstrin'", "did you mean 'docstring'?", "acdc tasks new"
        )


def test_tasks_new_makes_a_task_that_gpt2s_tokenizer_can_express(tmp_path):
    prompts = make_prompts(
        find_task(write_task_folder(tmp_path, "mine")), gpt2_tokenizer(), n=8, seed=0
    )
    assert len(prompts) == 8
    assert len(set(prompts.clean_text)) > 4


def test_tasks_export_and_import_bring_the_same_prompts_back(capsys, tmp_path):
    arguments = ["--model", "zoo:compiled-gallery", "--prompts", "3"]
    written = acdc(capsys, "tasks", "export", "compiled_gallery", *arguments, "--out", "g.json")
    assert written.code == 0
    imported = acdc(capsys, "tasks", "import", "g.json")
    assert imported.code == 0
    assert "acdc tasks check g.jsonl" in imported.err
    assert "`bos: true`" in imported.err
    shown = acdc(capsys, "tasks", "show", "g.jsonl", *arguments, "--json").document["prompts"]
    made = acdc(capsys, "tasks", "show", "compiled_gallery", *arguments, "--json").document[
        "prompts"
    ]
    # The task puts a token in front, which a file of texts does not name, and has spans.
    for prompt in made:
        prompt["tokens"] -= 1
        del prompt["spans"]
    assert shown == made


def test_tasks_export_of_token_ids_holds_what_the_model_sees(capsys):
    out = acdc(
        capsys, "tasks", "export", "induction", "--model", "zoo:gpt2-4l-s0", "--prompts", "2"
    ).document
    for prompt in out["prompts"]:
        assert all(isinstance(token, int) for token in prompt["clean"] + prompt["answers"])
        assert len(prompt["clean"]) == len(prompt["corrupt"])


def test_tasks_import_replaces_no_file_and_writes_pairs_alone(capsys, tmp_path):
    acdc(
        capsys, "tasks", "export", "compiled_or", "--model", "zoo:compiled-or", "--prompts", "2",
        "--out", "p.json",
    )  # fmt: skip
    Path("p.jsonl").write_text("mine")
    acdc(capsys, "tasks", "import", "p.json").refuses("p.jsonl: exists already")
    acdc(capsys, "tasks", "import", "p.json", "--out", "p.txt").refuses("*.jsonl")
    assert Path("p.jsonl").read_text() == "mine"


def test_tasks_check_with_a_model_says_how_often_first_token_and_forced_choice_are_right(capsys):
    check = ("tasks", "check", "compiled_or", "--model", "zoo:compiled-or", "--prompts", "8")
    document = acdc(capsys, *check, "--json").document
    # compiled by hand to do this task
    assert (document["model_accuracy"], document["model_forced_choice"]) == (1.0, 1.0)
    assert document["not_measured"] is None
    line = "first token is right in 100.0%, its forced choice in 100.0% of them"
    assert line in acdc(capsys, *check).out
