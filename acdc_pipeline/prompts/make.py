"""From a task to prompts for one model's tokenizer."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from acdc_pipeline.errors import PromptError
from acdc_pipeline.prompts.alignment import align
from acdc_pipeline.prompts.docstring import docstring_pairs, docstring_words
from acdc_pipeline.prompts.function import function_pairs
from acdc_pipeline.prompts.pair import Pair
from acdc_pipeline.prompts.pairs import listed_pairs
from acdc_pipeline.prompts.prompt_set import PromptSet
from acdc_pipeline.prompts.repeated_tokens import repeated_tokens_pairs
from acdc_pipeline.prompts.split import Split, seeded
from acdc_pipeline.prompts.table import table_pairs, table_words
from acdc_pipeline.prompts.template import template_pairs, template_words
from acdc_pipeline.prompts.word_fit import WordUse
from acdc_pipeline.prompts.year_tokens import AnswerForm
from acdc_pipeline.prompts.years import years_answer_form, years_pairs, years_words
from acdc_pipeline.specs.generators import (
    DocstringGenerator,
    FunctionGenerator,
    PairsGenerator,
    RepeatedTokensGenerator,
    TableGenerator,
    YearsGenerator,
)
from acdc_pipeline.specs.task import TaskSpec
from acdc_pipeline.specs.template import TemplateGenerator


def make_prompts(
    task: TaskSpec,
    tokenizer: PreTrainedTokenizerBase,
    *,
    n: int,
    seed: int,
    split: Split = "all",
    alike: int = 1,
) -> PromptSet:
    """`n` prompt pairs of `task`, aligned under `tokenizer`.

    The first k prompts are the same for every n >= k. Pair files give what they have if that is
    less than `n`, always in their order.

    Args:
        task: what to make.
        tokenizer: the model's own.
        n: how many, at least 1.
        seed: another seed draws other prompts.
        split: which words may be drawn; a word is held out by its sha256, see `is_held_out`.
        alike: how many prompts in a row agree in template and roles, where a template has roles.

    Raises:
        PromptError: this tokenizer cannot express the task: too few words that are one token,
            sides of different length, an answer of several tokens; names what and where.
    """
    if n < 1:
        raise PromptError(f"{n} prompts were asked for", field="prompts", allowed="at least 1")
    name = f"task '{task.name}'"
    try:
        pairs = make_pairs(task, tokenizer, n=n, seed=seed, split=split, alike=alike)
        return align(pairs, tokenizer, bos=task.generator.bos, name=name)
    except PromptError as error:
        error.at(name)
        raise


def word_uses(task: TaskSpec) -> list[WordUse]:
    """What `task` does with each of its word lists; none where it has no such lists."""
    match task.generator:
        case TemplateGenerator() as spec:
            assert task.answers is not None, "the spec asks for answers"
            return template_words(spec, task.answers)
        case TableGenerator() as spec:
            assert task.answers is not None, "the spec asks for answers"
            return table_words(spec, task.answers)
        case YearsGenerator() as spec:
            return years_words(spec)
        case DocstringGenerator() as spec:
            return docstring_words(spec)
        case _:
            return []


def answer_form(task: TaskSpec, tokenizer: PreTrainedTokenizerBase) -> AnswerForm | None:
    """What `tokenizer` makes the answers of a task about years; None for other tasks.

    Raises:
        PromptError: this tokenizer cannot express the task.
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
    """The pairs of `make_prompts` before tokenisation. Raises PromptError."""
    rng = seeded(seed, task.definition_hash(), split)
    match task.generator:
        case TemplateGenerator() as spec:
            assert task.answers is not None, "the spec asks for answers"
            return template_pairs(
                spec, task.answers, tokenizer, n=n, split=split, rng=rng, alike=alike
            )
        case TableGenerator() as spec:
            assert task.answers is not None, "the spec asks for answers"
            return table_pairs(spec, task.answers, tokenizer, n=n, split=split, rng=rng)
        case YearsGenerator() as spec:
            return years_pairs(spec, tokenizer, n=n, split=split, rng=rng)
        case RepeatedTokensGenerator() as spec:
            return repeated_tokens_pairs(spec, tokenizer, n=n, split=split, rng=rng)
        case DocstringGenerator() as spec:
            return docstring_pairs(spec, tokenizer, n=n, split=split, rng=rng)
        case PairsGenerator() as spec:
            return listed_pairs(spec, name=task.name, n=n, split=split)
        case FunctionGenerator() as spec:
            return function_pairs(spec, tokenizer, n=n, split=split, rng=rng)
