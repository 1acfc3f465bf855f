"""The behaviours of language models that come with the package, each read back from its prompts."""

from __future__ import annotations

import calendar
import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.metrics import METRICS
from acdc_pipeline.prompts import PromptSet, make_prompts
from acdc_pipeline.prompts.tokenization import encode
from acdc_pipeline.specs import find_task, list_tasks
from acdc_pipeline.specs.generators import TableGenerator
from tests.support import REPOSITORY
from tests.tokenizers import decoded, gpt2_tokenizer

TASKS = (
    "greater_than",
    "gendered_pronoun",
    "subject_verb_agreement",
    "country_capital",
    "successor",
    "duplicate_token",
    "colored_objects",
)


def zoo_tokenizer() -> PreTrainedTokenizerBase:
    from benchmarks.zoo.tokenizer import build_tokenizer

    return build_tokenizer(256)


Asked = tuple[str, str, set[str], set[str]]
"""A clean prompt, its counterfactual, and the words that are correct and incorrect behind it."""


def asked(name: str, n: int = 64) -> list[Asked]:
    """`n` prompts under GPT-2's tokenizer."""
    tok = gpt2_tokenizer()
    made = make_prompts(find_task(name), tok, n=n, seed=0)

    def words(ids: tuple[int, ...]) -> set[str]:
        return {decoded(tok, token).strip() for token in ids}

    return [
        (clean, corrupted, words(right), words(wrong))
        for clean, corrupted, right, wrong in zip(
            made.clean_text, made.corrupted_text, made.correct, made.incorrect, strict=True
        )
    ]


@pytest.mark.parametrize("tokenizer", [gpt2_tokenizer, zoo_tokenizer])
@pytest.mark.parametrize("split", ["train", "held_out"])
@pytest.mark.parametrize("name", TASKS)
def test_task_makes_64_aligned_prompts_on_both_splits(
    name: str, split: str, tokenizer: Callable[[], PreTrainedTokenizerBase]
):
    tok = tokenizer()
    made = make_prompts(find_task(name), tok, n=64, seed=1, split=split)  # pyright: ignore[reportArgumentType]
    assert made.clean.shape == made.corrupted.shape
    assert len(made) == 64
    assert made.prompts_with_equal_sides == []
    assert all(
        right and wrong and not set(right) & set(wrong)
        for right, wrong in zip(made.correct, made.incorrect, strict=True)
    )
    if name != "greater_than":  # 1776 is a token of GPT-2's, which 17 and 76 together never make
        _expect_answers_to_follow(made, tok)


def _expect_answers_to_follow(made: PromptSet, tok: PreTrainedTokenizerBase) -> None:
    for row, text in enumerate(made.clean_text):
        clean = made.clean[row, 1 : int(made.lengths[row])].tolist()
        for token in (*made.correct[row], *made.incorrect[row]):
            answer = decoded(tok, token)
            assert answer.startswith(" ")
            assert encode(tok, [text + answer]) == [(*clean, token)]


@pytest.mark.parametrize("name", TASKS)
def test_no_prompt_of_a_small_set_comes_twice(name: str):
    prompts = [clean for clean, *_ in asked(name)]
    assert len(set(prompts)) == len(prompts)


def test_greater_than_correct_years_are_later_and_the_counterfactual_begins_in_01():
    for clean, corrupted, right, wrong in asked("greater_than"):
        century, year = re.findall(r"(\d\d)(\d\d)", clean)[0]
        assert clean.endswith(f" {century}")
        assert right == {f"{later:02}" for later in range(int(year) + 1, 100)}
        assert wrong == {f"{other:02}" for other in range(int(year) + 1)}
        assert corrupted == clean.replace(century + year, f"{century}01")


def test_gendered_pronoun_counterfactual_is_a_name_of_the_other_pronoun():
    prompts = asked("gendered_pronoun", n=80)
    pronouns: dict[str, set[str]] = {}
    for clean, corrupted, right, wrong in prompts:
        (name, other), *more = _differences(clean, corrupted)
        assert not more
        assert right | wrong == {"he", "she"}
        pronouns.setdefault(name, set()).update(right)
        pronouns.setdefault(other, set()).update(wrong)
    assert all(len(found) == 1 for found in pronouns.values())
    assert pronouns["Mary"] == {"she"}
    assert Counter(word for _, _, right, _ in prompts for word in right) == {"he": 40, "she": 40}


PLURALS = {"man": "men", "woman": "women", "child": "children", "wolf": "wolves", "box": "boxes"}


def test_subject_verb_agreement_counterfactual_is_the_same_noun_in_the_other_number():
    verbs = {"singular": {"is", "was"}, "plural": {"are", "were"}}
    numbers = Counter()
    for clean, corrupted, right, wrong in asked("subject_verb_agreement", n=136):
        ((noun, other),) = _differences(clean, corrupted)
        number = "singular" if other == PLURALS.get(noun, f"{noun}s") else "plural"
        if number == "plural":
            assert noun == PLURALS.get(other, f"{other}s")
        assert right == verbs.pop(number)
        assert [wrong] == list(verbs.values())
        verbs[number] = right
        numbers[number] += 1
    assert numbers == {"singular": 68, "plural": 68}


def test_country_capital_answers_are_the_capitals_of_both_sides():
    known = {"France": "Paris", "Japan": "Tokyo", "Cuba": "Havana", "Norway": "Oslo"}
    met = {}
    for clean, corrupted, right, wrong in asked("country_capital"):
        ((country, other),) = _differences(clean, corrupted)
        met |= {country: right, other: wrong}
    assert {country: met[country] for country in known} == {k: {v} for k, v in known.items()}


WORDS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
)


def test_successor_answers_come_next_in_the_calendar_and_in_counting():
    # days and months go round, numbers do not
    orders = [list(calendar.day_name), list(calendar.month_name)[1:]]
    follows = {a: b for names in orders for a, b in zip(names, [*names[1:], names[0]], strict=True)}
    counted = WORDS.split()
    follows |= dict(pairwise(counted))
    follows |= {str(n): str(n + 1) for n in range(1, 20)}
    for clean, corrupted, right, wrong in asked("successor"):
        for text, answer in ((clean, right), (corrupted, wrong)):
            first, second, third = (w for w in re.findall(r"\w+", text) if w in _members(follows))
            assert follows[first] == second
            assert follows[second] == third
            assert {follows[third]} == answer


def _members(follows: dict[str, str]) -> set[str]:
    return {*follows, *follows.values()}


def test_duplicate_token_answer_is_the_one_noun_that_is_there_twice():
    nouns = set(find_nouns())
    for clean, corrupted, right, wrong in asked("duplicate_token"):
        counts = Counter(word for word in re.findall(r"\w+", clean) if word in nouns)
        assert {word for word, n in counts.items() if n == 2} == right
        assert {word for word, n in counts.items() if n == 1} == wrong
        other = Counter(word for word in re.findall(r"\w+", corrupted) if word in nouns)
        assert max(other.values()) == 1
        assert len(_differences(clean, corrupted)) == 1


def find_nouns() -> list[str]:
    return (REPOSITORY / "tasks" / "duplicate_token" / "nouns.txt").read_text().split()


def test_colored_objects_answer_is_the_color_said_of_the_object_asked_for():
    places = Counter()
    for clean, corrupted, right, wrong in asked("colored_objects"):
        for text, answer in ((clean, right), (corrupted, None)):
            colors = {thing: color for color, thing in re.findall(r"a (\w+) (\w+)", text)}
            asked_for = text.split()[-2]
            assert len(colors) == 3
            if answer is None:
                assert {colors[asked_for]} < wrong
            else:
                assert {colors[asked_for]} == answer
                assert set(colors.values()) == answer | wrong
                places[list(colors).index(asked_for)] += 1
        assert len(_differences(clean, corrupted)) == 1
    assert max(places.values()) - min(places.values()) <= 2


def _differences(clean: str, corrupted: str) -> list[tuple[str, str]]:
    """The words that are not the same in the same place."""
    words = (re.findall(r"\w+", text) for text in (clean, corrupted))
    return [(a, b) for a, b in zip(*words, strict=True) if a != b]


@pytest.mark.parametrize("name", TASKS)
def test_every_row_and_word_fits_gpt2_or_the_readme_says_how_many_do(name: str):
    generator = find_task(name).generator
    readme = (REPOSITORY / "tasks" / name / "README.md").read_text()
    if isinstance(generator, TableGenerator):
        used = [c for c in generator.columns if c not in ("kind", "lemma")]
        words = [f" {row[column]}" for row in generator.rows for column in used]
        pieces = encode(gpt2_tokenizer(), words)
        rows = [pieces[i : i + len(used)] for i in range(0, len(pieces), len(used))]
        whole = sum(all(len(ids) == 1 for ids in row) for row in rows)
        assert whole == len(rows) or f"{whole})" in readme


@pytest.mark.parametrize("name", TASKS)
def test_readme_says_prompts_counterfactual_answers_metric_and_source(name: str):
    readme = (REPOSITORY / "tasks" / name / "README.md").read_text()
    for heading in ("**Prompts.**", "**Counterfactual.**", "**Answers.**", "**Metric.**"):
        assert heading in readme
    assert re.search(r"^Sources?: ", readme, re.MULTILINE)
    arxiv = find_task(name).source.arxiv
    assert arxiv is None or arxiv in readme


def test_page_of_tasks_lists_each_with_its_generator_and_metric():
    page = (REPOSITORY / "docs" / "tasks.md").read_text()
    lines = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    rows = {cells[0]: cells[2:] for cells in lines if len(cells) == 4}
    for name in list_tasks(REPOSITORY):
        if not name.startswith(("compiled_", "previous_token")):
            task = find_task(name)
            assert rows[name] == [task.generator.kind, task.metrics.discovery]
    assert set(METRICS) <= set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
