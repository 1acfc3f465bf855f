"""Make the prompts of a task for one tokenizer."""

from __future__ import annotations

from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.alignment import align
from acdc_pipeline.prompts.docstring import docstring_pairs, docstring_words
from acdc_pipeline.prompts.pairs import Pair, function_pairs, list_pairs
from acdc_pipeline.prompts.prompt_set import PromptSet
from acdc_pipeline.prompts.repeated_tokens import repeated_tokens_pairs
from acdc_pipeline.prompts.spans import in_spans_of
from acdc_pipeline.prompts.split import Split, seed_generator
from acdc_pipeline.prompts.table import table_pairs, table_words
from acdc_pipeline.prompts.template import list_role_choices, template_pairs, template_words
from acdc_pipeline.prompts.tokenization import WordUse
from acdc_pipeline.prompts.years import AnswerForm, years_answer_form, years_pairs, years_words
from acdc_pipeline.specs.generators import (
    DocstringGenerator,
    FunctionGenerator,
    PairsGenerator,
    RepeatedTokensGenerator,
    TableGenerator,
    YearsGenerator,
)
from acdc_pipeline.specs.names import Positions
from acdc_pipeline.specs.prompt_pair import PromptPair
from acdc_pipeline.specs.task import TaskSpec
from acdc_pipeline.specs.template import TemplateGenerator

# Prompts that have every span of a task.
_PROMPTS = 64


def make_prompts(
    task: TaskSpec,
    tokenizer: PreTrainedTokenizerBase,
    *,
    n: int,
    seed: int,
    split: Split = "all",
    alike: int = 1,
    positions: Positions = "none",
) -> PromptSet:
    """Return `n` prompt pairs of `task`, aligned under `tokenizer`.

    The first k prompts are the same for every n >= k. Pair files are used in order and may hold
    fewer than `n`.

    Args:
        task: task to make prompts of.
        tokenizer: tokenizer of the model.
        n: number of prompts, at least 1.
        seed: seed of the random choices.
        split: words that may be drawn; see `is_held_out`.
        alike: number of consecutive prompts with the same template and roles, for templates with
            roles.
        positions: the spans that the prompts get, see `alignment.align`. Their names, order and
            all that a graph has of them are those of the task, whichever prompts are drawn; pairs
            of a file, or of a function, have those of the pairs.

    Raises:
        PromptError: the tokenizer cannot express the task: too few words that are one token,
            sides of different length, or an answer of several tokens; or the task has no such
            spans.
    """
    if n < 1:
        raise PromptError(f"{n} prompts were asked for", field="prompts", allowed="at least 1")
    name = f"task '{task.name}'"
    try:
        pairs = make_pairs(task, tokenizer, n=n, seed=seed, split=split, alike=alike)
        made = align(pairs, tokenizer, bos=task.generator.bos, name=name, positions=positions)
        listed = isinstance(task.generator, PairsGenerator | FunctionGenerator)
        if made.spans is None or positions != "spans" or listed:
            return made
        # The graph is that of the task, whichever prompts are drawn.
        pairs = make_pairs(task, tokenizer, n=_every_form(task), seed=0, split="all")
        known = align(pairs, tokenizer, bos=task.generator.bos, name=name, positions=positions)
        assert known.spans is not None
        return replace(made, spans=in_spans_of(made.spans, known.spans))
    except PromptError as error:
        error.at(name)
        raise


def _every_form(task: TaskSpec) -> int:
    """The number of prompts after which every template was used with every choice of roles."""
    match task.generator:
        case TemplateGenerator() as spec:
            return max(_PROMPTS, len(spec.templates) * len(list_role_choices(spec)))
        case TableGenerator() as spec:
            return max(_PROMPTS, len(spec.templates))
        case _:
            return _PROMPTS


def word_uses(task: TaskSpec) -> list[WordUse]:
    """Return the use of each word list in `task`; empty if it has no such lists."""
    match task.generator:
        case TemplateGenerator() as spec:
            assert task.answers is not None, "the spec requires answers"
            return template_words(spec, task.answers)
        case TableGenerator() as spec:
            assert task.answers is not None, "the spec requires answers"
            return table_words(spec, task.answers)
        case YearsGenerator() as spec:
            return years_words(spec)
        case DocstringGenerator() as spec:
            return docstring_words(spec)
        case _:
            return []


def answer_form(task: TaskSpec, tokenizer: PreTrainedTokenizerBase) -> AnswerForm | None:
    """Return the form of the answers in a task about years; None for other tasks.

    Raises:
        PromptError: the tokenizer cannot express the task.
    """
    match task.generator:
        case YearsGenerator() as spec:
            return years_answer_form(spec, tokenizer)
        case _:
            return None


def make_pairs(
    task: TaskSpec,
    tokenizer: PreTrainedTokenizerBase,
    *,
    n: int,
    seed: int,
    split: Split,
    alike: int = 1,
) -> list[Pair]:
    """Return the pairs of `make_prompts` before tokenisation. Raises PromptError."""
    rng = seed_generator(seed, task.definition_hash(), split)
    match task.generator:
        case TemplateGenerator() as spec:
            assert task.answers is not None, "the spec requires answers"
            return template_pairs(
                spec, task.answers, tokenizer, n=n, split=split, rng=rng, alike=alike
            )
        case TableGenerator() as spec:
            assert task.answers is not None, "the spec requires answers"
            return table_pairs(spec, task.answers, tokenizer, n=n, split=split, rng=rng)
        case YearsGenerator() as spec:
            return years_pairs(spec, tokenizer, n=n, split=split, rng=rng)
        case RepeatedTokensGenerator() as spec:
            return repeated_tokens_pairs(spec, tokenizer, n=n, split=split, rng=rng)
        case DocstringGenerator() as spec:
            return docstring_pairs(spec, tokenizer, n=n, split=split, rng=rng)
        case PairsGenerator() as spec:
            return list_pairs(spec, name=task.name, n=n, split=split)
        case FunctionGenerator() as spec:
            return function_pairs(spec, tokenizer, n=n, split=split, rng=rng)


def export_pairs(
    task: TaskSpec, tokenizer: PreTrainedTokenizerBase, *, n: int, seed: int
) -> list[PromptPair]:
    """Return the prompts of `make_prompts` as pairs for a file, each answer as its exact token.

    Texts have no beginning-of-text token, and their answers are the texts of single tokens with
    the space in front if it is part of the token. Prompts given as token ids have ids as answers.

    Raises:
        PromptError: as `make_prompts`.
    """
    name = f"task '{task.name}'"
    pairs = make_pairs(task, tokenizer, n=n, seed=seed, split="all")
    made = align(pairs, tokenizer, bos=task.generator.bos, name=name)
    if made.whole is not None or made.counterpart is not None:
        unfit = "answers of several tokens" if made.whole else "sides of different length"
        raise PromptError(
            f"has {unfit}, which the file cannot say",
            where=name,
            allowed="answers of one token, and two sides of as many tokens",
            fix="use the pairs of the task as they are",
        )
    out = []
    for pair, correct, incorrect in zip(pairs, made.correct, made.incorrect, strict=True):
        sides = [list(ids) for ids in (correct, incorrect)]
        if isinstance(pair.clean, str):
            sides = [[str(tokenizer.decode([token])) for token in ids] for ids in sides]
        out.append(
            PromptPair(
                clean=pair.clean,
                corrupted=pair.corrupted,
                correct=tuple(sides[0]),
                incorrect=tuple(sides[1]),
                roles=dict(role.split("=", 1) for role in pair.roles),
            )
        )
    return out
