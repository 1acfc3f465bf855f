"""A task: a behaviour, the prompts that show it, and what counts as right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from acdc_pipeline.specs.base import (
    Spec,
    as_tuple,
    rejection,
    sha256_of,
    sha256_of_parts,
    unknown_reference,
)
from acdc_pipeline.specs.circuit_reference import ReferenceCircuit
from acdc_pipeline.specs.generators import GENERATORS, Generator, PairsGenerator
from acdc_pipeline.specs.load import load_yaml, parse
from acdc_pipeline.specs.names import COUNTING_METRICS, MetricName, Name
from acdc_pipeline.specs.pair_rows import read_pair_rows
from acdc_pipeline.specs.prompt_pair import PairBos
from acdc_pipeline.specs.table import FRESH, TableGenerator
from acdc_pipeline.specs.template import TemplateGenerator, placeholders_of

SPAN_RULES = 2
"""Version of the rules by which the package names and orders spans, whichever prompts are drawn."""

REFERENCE = "circuit.yaml"
"""The file beside a `task.yaml` that holds a published circuit."""


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else as_tuple(value)


AnswerTexts = Annotated[
    tuple[str, ...], BeforeValidator(_listed, json_schema_input_type=str | tuple[str, ...])
]


class Source(Spec):
    """Where the task was first studied."""

    paper: str
    arxiv: str | None = None
    url: str | None = None


class Answers(Spec):
    """The answers, as texts with placeholders of the template.

    Written without the space that separates them from the prompt. Any of several counts.
    """

    correct: AnswerTexts = Field(min_length=1, description='as in "{IO}", or a list')
    incorrect: AnswerTexts = Field(description='as in "{S}", or a list; may be []')


OWN_PROMPTS = Source(paper="none: prompts of one's own")
"""The source of a task that is made of prompt pairs alone."""


class TaskMetrics(Spec):
    """The default metric of discovery, and those reported with a circuit."""

    discovery: MetricName
    report: tuple[MetricName, ...]

    @property
    def own(self) -> MetricName:
        """The metric that measures the behaviour itself, such as `logit_diff`.

        The first of the metrics that compares answers, or `kl` if there is none. Metrics that count
        answers are skipped: they are less sensitive than the others.
        """
        for name in (self.discovery, *self.report):
            if name != "kl" and name not in COUNTING_METRICS:
                return name
        return "kl"


class TaskSpec(Spec):
    """A task as defined by its `task.yaml`, with the contents of word lists and pair files.

    Args:
        name: lower case, as the folder is called.
        title: for headings.
        behaviour: one line for readers.
        source: where it was first studied.
        generator: how prompts are made.
        answers: the answers of `template` and `table`; the other generators define theirs.
        metrics: the metrics of discovery and reports.
        reference: the published circuit in the `circuit.yaml` beside, read at load time.
    """

    name: Name
    title: str = Field(min_length=1, description="one line for headings")
    behaviour: str = Field(min_length=1, description="one line: a prompt -> what should follow")
    source: Source = Field(description='as in {paper: "Wang et al. 2022", arxiv: "2211.00593"}')
    generator: Generator
    answers: Answers | None = Field(default=None, description='correct: "{IO}", incorrect: "{S}"')
    metrics: TaskMetrics = Field(description="as in {discovery: kl, report: [accuracy]}")
    reference: SkipJsonSchema[ReferenceCircuit | None] = None

    def __repr__(self) -> str:
        return f"<task {self.name}: {self.title}>"

    def __str__(self) -> str:
        return repr(self)

    @classmethod
    def read_files(cls, data: Any, folder: Path) -> Any:
        if (folder / REFERENCE).is_file() and "reference" not in data:
            data = {**data, "reference": load_yaml(folder / REFERENCE, ReferenceCircuit).plain()}
        generator = data.get("generator")
        if not isinstance(generator, Mapping):
            return data
        kind = GENERATORS.get(str(generator.get("kind")))
        if kind is None:
            return data
        return {**data, "generator": kind.read_files(generator, folder)}

    @model_validator(mode="after")
    def _answers_fit(self) -> TaskSpec:
        generator = self.generator
        if not isinstance(generator, TemplateGenerator | TableGenerator):
            if self.answers is not None:
                raise rejection(
                    "answers", f"the {generator.kind} generator knows its answers", fix="remove it"
                )
            return self
        if self.answers is None:
            raise rejection("answers", "is missing", allowed='correct: "{IO}", incorrect: "{S}"')
        for field in ("correct", "incorrect"):
            for text in getattr(self.answers, field):
                for name in placeholders_of(text, f"answers.{field}"):
                    _check_name(generator, field, name)
        if isinstance(generator, TableGenerator):
            _check_rows_differ(generator, self.answers)
        return self

    @classmethod
    def from_pairs(
        cls,
        pairs: Any,
        *,
        name: str | None = None,
        title: str | None = None,
        behaviour: str = "prompt pairs given in Python",
        columns: Mapping[str, str] | None = None,
        bos: PairBos = False,
        metric: str = "kl",
        report: Sequence[str] = ("logit_diff", "accuracy"),
    ) -> TaskSpec:
        """Make a task of prompt pairs that are in memory, equal to that of a `.jsonl` of them.

            Task.from_pairs([("The capital of France is", "The capital of Spain is", "Paris")])

        Runs on equal pairs are the same runs, whatever the names of their tasks.

        Args:
            pairs: a list of dicts, of tuples (clean, corrupted, correct, incorrect) or of
                PromptPairs; or a table with a pair in each row: a DataFrame of pandas or polars, a
                Table of pyarrow, a Dataset of the package datasets. The two sides are texts or
                lists of token ids, of equal length; correct and incorrect answers are one token
                each, alone or several in a list; both unless `align`, `spans` or `answers` say
                otherwise. Incorrect answers may be left out. `roles`, `align`, `spans`, `answers`
                and `bos`, in dicts and tables, are as in a `.jsonl`.
            name: lower case, as for a task folder; None for one made from a hash of the pairs.
            title, behaviour: for headings and readers.
            columns: the key or the column of each field, as in {"clean": "prompt", …}; others are
                not read. None: they are called like the fields, and there are no others.
            bos: whether a beginning-of-sequence token comes before texts; `auto` as the model's
                tokenizer does by itself.
            metric: the default metric of discovery.
            report: metrics that are reported with a circuit.

        Raises:
            SpecError: a pair or another argument is not valid; names the number of the pair.
        """
        rows = read_pair_rows(pairs, columns, "from_pairs")
        generator = PairsGenerator(kind="pairs", bos=bos, pairs=rows)
        derived = f"pairs-{sha256_of_parts(generator.hashed_parts())[:8]}"
        return parse(
            {
                "name": name if name is not None else derived,
                "title": title or name or derived,
                "behaviour": behaviour,
                "source": OWN_PROMPTS.plain(),
                "generator": generator.plain(),
                "metrics": {"discovery": metric, "report": list(report)},
            },
            cls,
            "from_pairs",
        )

    def prompts_for(self, requested: int) -> int:
        """The number of prompt pairs if `requested` are requested: a pair file may hold fewer."""
        pairs = self.generator.pairs if isinstance(self.generator, PairsGenerator) else None
        return requested if pairs is None else min(requested, len(pairs))

    def definition_hash(self) -> str:
        """Hex sha256 of the data that determines prompts and answers.

        Name, title, behaviour, source, metrics and reference are not part of it, nor are labels of
        pairs, such as spans that only name tokens.
        """
        generator = self.generator
        if isinstance(generator, PairsGenerator):
            # The same form as below: such a task has no answers of its own.
            parts = (b'{"answers":null,"generator":', *generator.hashed_parts(), b"}")
            return sha256_of_parts(parts)
        answers = self.answers.plain() if self.answers else None
        return sha256_of({"generator": generator.plain(), "answers": answers})

    def spans_hash(self) -> str:
        """Hex sha256 of the data that, with the definition, determines the spans of the prompts."""
        pairs = self.generator.pairs if isinstance(self.generator, PairsGenerator) else ()
        return sha256_of({"rules": SPAN_RULES, "spans": [pair.named for pair in pairs]})


Task = TaskSpec
"""The public name of a task."""


def _check_name(
    generator: TemplateGenerator | TableGenerator, field: Literal["correct", "incorrect"], name: str
) -> None:
    """Reject a placeholder `name` that the answers in `field` may not use."""
    noun, known = "slot or role", generator.placeholders
    if isinstance(generator, TableGenerator):
        noun, known = "column", generator.columns if field == "correct" else generator.placeholders
    if name not in known:
        raise unknown_reference(f"answers.{field}", noun, name, known)


def _check_rows_differ(generator: TableGenerator, answers: Answers) -> None:
    """Reject a row that makes the same answer correct and incorrect."""
    own = [text for text in answers.incorrect if not _of_fresh_row(text)]
    for index, row in enumerate(generator.rows):
        correct = [text.format_map(row) for text in answers.correct]
        if both := [text for text in own if text.format_map(row) in correct]:
            raise rejection(
                "answers.incorrect",
                f"row {index + 1} makes '{both[0].format_map(row)}' a correct answer too",
                fix="change the row, or the answer",
            )


def _of_fresh_row(answer: str) -> bool:
    return any(name.startswith(FRESH) for name in placeholders_of(answer, "answers"))
