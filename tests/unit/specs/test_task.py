"""task.yaml: what it means, what its hash covers, and what it rejects."""

from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.errors import SpecError
from acdc_pipeline.specs import TaskSpec, TemplateGenerator, load_yaml
from tests.specs_text import write_task


def template_of(task: TaskSpec) -> TemplateGenerator:
    assert isinstance(task.generator, TemplateGenerator)
    return task.generator


def test_task_loaded_reads_word_files_into_the_spec(tmp_path: Path):
    generator = template_of(load_yaml(write_task(tmp_path), TaskSpec))
    assert generator.words["objects"] == ("drink", "kiss")
    assert generator.words["places"] == ("store", "park")


def test_task_word_list_without_entry_is_read_from_txt_beside(tmp_path: Path):
    path = write_task(tmp_path, ", objects: objects.txt", "")
    assert template_of(load_yaml(path, TaskSpec)).words["objects"] == ("drink", "kiss")


def test_task_single_answer_and_list_of_one_mean_the_same(tmp_path: Path):
    one = load_yaml(write_task(tmp_path / "1"), TaskSpec)
    listed = load_yaml(write_task(tmp_path / "2", 'correct: "{IO}"', 'correct: ["{IO}"]'), TaskSpec)
    assert one == listed
    assert one.definition_hash() == listed.definition_hash()


def test_task_roles_say_which_role_chooses_and_which_is_the_other(tmp_path: Path):
    generator = template_of(load_yaml(write_task(tmp_path), TaskSpec))
    assert generator.choice == ("A", "B")
    assert (generator.chosen_role, generator.other_role) == ("S", "IO")


def test_task_spec_survives_plain_data_unchanged(tmp_path: Path):
    task = load_yaml(write_task(tmp_path), TaskSpec)
    assert TaskSpec.from_plain(task.plain()) == task


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Indirect object", "Direct object"),
        ("Wang et al. 2022", "Somebody"),
        ("discovery: kl", "discovery: nll"),
        ("name: ioi", "name: other"),
    ],
)
def test_task_hash_ignores_what_does_not_decide_prompts(tmp_path: Path, old: str, new: str):
    before = load_yaml(write_task(tmp_path), TaskSpec).definition_hash()
    assert load_yaml(write_task(tmp_path, old, new), TaskSpec).definition_hash() == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("gave a", "sold a"),
        ("[Mary, John,", "[John, Mary,"),
        ("S: fresh", "S: swap"),
        ("bos: false", "bos: true"),
        ('incorrect: "{S}"', 'incorrect: "{A}"'),
    ],
)
def test_task_hash_changes_with_what_decides_prompts(tmp_path: Path, old: str, new: str):
    before = load_yaml(write_task(tmp_path), TaskSpec).definition_hash()
    assert load_yaml(write_task(tmp_path, old, new), TaskSpec).definition_hash() != before


def test_task_hash_changes_with_a_word_file(tmp_path: Path):
    path = write_task(tmp_path)
    before = load_yaml(path, TaskSpec).definition_hash()
    path.with_name("objects.txt").write_text("drink\nbook\n")
    assert load_yaml(path, TaskSpec).definition_hash() != before


def test_task_words_that_yaml_1_1_takes_for_booleans_stay_words(tmp_path: Path):
    task = load_yaml(write_task(tmp_path, "Tom, Ann", "No, On, yes"), TaskSpec)
    assert template_of(task).words["names"] == ("Mary", "John", "No", "On", "yes")


BAD = [
    ("title:", "tittle:", "tittle", "unknown key", "did you mean 'title'?"),
    ('2211.00593"}', '2211", year: 1}', "source.year", "unknown key", "paper, arxiv, url"),
    ("kind: template", "kind: templete", "generator.kind", "'templete'", "mean 'template'?"),
    ("kind: template", "sort: x", "generator.kind", "is missing", "template, table, years"),
    ("  bos: false\n", "", "generator.bos", "is missing", "true or false"),
    ("bos: false", "bos: 0", "generator.bos", "0 is not true or false", "true or false"),
    ("A: fresh", "A: frsh", "generator.corrupted.A", "unknown rule 'frsh'", "mean 'fresh'?"),
    ("A: fresh", "C: fresh", "generator.corrupted.C", "unknown slot or role 'C'", "A, B, place"),
    (", S: fresh", "", "generator.corrupted.S", "is missing", "fresh, keep, swap"),
    ("B: fresh, ", "place: swap, ", "generator.corrupted.place", "nothing to swap", "A, B, S, IO"),
    (
        "{A: fresh, B: fresh, S: fresh}",
        "{A: keep}",
        "generator.corrupted",
        "nothing differs",
        "use fresh",
    ),
    ("{S} gave", "{T} gave", "generator.templates.0", "unknown slot or role 'T'", "A, B, place"),
    ("{S} gave", "{S gave", "generator.templates.0", "unexpected '{'", "{{ and }}"),
    ("{S} gave", "{S!r} gave", "generator.templates.0", "'{S!r}'", "{slot}"),
    ("place: places", "place: plces", "generator.slots.place", "'plces'", "mean 'places'?"),
    ("the {place}", "it", "generator.slots.place", "no template uses it", "remove it"),
    ("[A, B]", "[A, C]", "generator.roles.S", "unknown slot 'C'", "A, B, place, object"),
    ("[A, B]", "[A, place]", "generator.roles.S", "two slots of one word list", ""),
    ("[A, B]", "A", "generator.roles.S", "'A' does not fit", "two slots"),
    ("[A, B]", "other", "generator.roles", "one choice", "S: [A, B] with IO: other"),
    ("IO: other}", "A: other}", "generator.roles.A", "is a slot as well", "rename"),
    ("[store, park]", "[store, store]", "generator.words.places", "'store' is there twice", ""),
    ("[store, park]", "[store, 3]", "generator.words.places.1", "3 is not a text", "a text"),
    ("[store, park]", "[]", "generator.words.places", "holds no word", ""),
    ("[store, park]", '[" store"]', "generator.words.places", "' store' is not a word", "spaces"),
    ('"{S}"}', '"{Q}"}', "answers.incorrect", "unknown slot or role 'Q'", "A, B, place"),
    ('answers: {correct: "{IO}", incorrect: "{S}"}\n', "", "answers", "is missing", '"{IO}"'),
    (
        "discovery: kl,",
        "discovery: kll,",
        "metrics.discovery",
        "unknown metric 'kll'",
        "mean 'kl'",
    ),
    ("[logit_diff,", "[logit_dif,", "metrics.report.0", "'logit_dif'", "mean 'logit_diff'?"),
    ("name: ioi", "name: IOI!", "name", "'IOI!' does not fit", "lower-case letters"),
]


@pytest.mark.parametrize(("old", "new", "field", "problem", "allowed"), BAD)
def test_task_with_a_mistake_is_rejected_naming_field_value_and_fix(
    tmp_path: Path, old: str, new: str, field: str, problem: str, allowed: str
):
    path = write_task(tmp_path, old, new)
    with pytest.raises(SpecError) as raised:
        load_yaml(path, TaskSpec)
    error = raised.value
    assert error.where == str(path)
    assert error.field == field
    assert problem in error.problem
    assert allowed in f"{error.problem} {error.allowed} {error.fix}"


def test_task_without_a_title_says_what_to_add(tmp_path: Path):
    path = write_task(tmp_path, "title: Indirect object identification\n", "")
    with pytest.raises(SpecError) as raised:
        load_yaml(path, TaskSpec)
    assert str(raised.value) == (
        f"{path}: title: is missing\nallowed: one line for headings\nfix: add 'title'"
    )


def test_task_with_several_mistakes_names_the_other_fields_too(tmp_path: Path):
    path = write_task(tmp_path, "bos: false\n", "bos: 0\n  seed: 1\n")
    with pytest.raises(SpecError) as raised:
        load_yaml(path, TaskSpec)
    assert raised.value.field == "generator.seed"
    assert raised.value.fix == "correct this first; then look at generator.bos"


@pytest.mark.parametrize(
    ("written", "fix"),
    [
        ("things.txt", "make things.txt with one word a line"),
        ("things", "make things.txt with one word a line and write 'objects: things.txt'"),
        ("objects", "write 'objects: objects.txt'"),
    ],
)
def test_task_naming_a_missing_word_file_names_field_file_and_fix(
    tmp_path: Path, written: str, fix: str
):
    path = write_task(tmp_path, "objects.txt", written)
    with pytest.raises(SpecError, match=f"no such file '{written}'") as raised:
        load_yaml(path, TaskSpec)
    error = raised.value
    assert (error.where, error.field) == (str(path.parent), "generator.words.objects")
    assert error.fix is not None
    assert error.fix.startswith(fix)


def test_task_word_file_outside_its_folder_is_refused(tmp_path: Path):
    path = write_task(tmp_path, "objects.txt", "../../secrets.txt")
    with pytest.raises(SpecError, match="leads out of the folder"):
        load_yaml(path, TaskSpec)


def test_task_generator_kind_that_is_a_list_is_named(tmp_path: Path):
    path = write_task(tmp_path, "kind: template", "kind: [a]")
    with pytest.raises(SpecError, match=r"generator\.kind"):
        load_yaml(path, TaskSpec)


def test_task_placeholder_with_a_format_is_shown_as_written(tmp_path: Path):
    path = write_task(tmp_path, 'correct: "{IO}"', 'correct: "{IO!r:>10}"')
    with pytest.raises(SpecError, match=r"'\{IO!r:>10\}' is not a placeholder"):
        load_yaml(path, TaskSpec)
