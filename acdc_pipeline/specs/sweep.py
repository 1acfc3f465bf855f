"""A sweep: tasks x models x methods x thresholds x seeds."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from acdc_pipeline.errors import AcdcError, UnknownName
from acdc_pipeline.specs.base import Spec, rejection, tag_of, unknown_reference
from acdc_pipeline.specs.load import parse
from acdc_pipeline.specs.method import METHODS, Method
from acdc_pipeline.specs.method_request import USUAL_SCREEN, AnyScoredRequest, metric_for
from acdc_pipeline.specs.model_ref import ModelRef
from acdc_pipeline.specs.names import (
    Ablation,
    Difference,
    Dtype,
    HeadOrder,
    MetricName,
    Name,
    Seed,
)
from acdc_pipeline.specs.profile_method import ProfileRequest
from acdc_pipeline.specs.run import MOST_PROMPTS
from acdc_pipeline.specs.task import TaskSpec


class SearchSweep(Spec):
    """A search at several thresholds, one run each.

    Args:
        thresholds: each τ > 0.
        metric: None takes each task's own discovery metric.
        ablation, order, difference: as in `AcdcMethod`; the defaults are the paper's, and
            every run records them.
    """

    thresholds: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)
    metric: MetricName | None = None
    ablation: Ablation = "corrupted"
    order: HeadOrder = "reverse-heads"
    difference: Difference = "signed"

    def methods(self, task: TaskSpec) -> tuple[Method, ...]:
        """One method per threshold, in the order written."""
        name = tag_of(type(self))
        values = self.plain() | {"metric": metric_for(name, self.metric, task)}
        del values["thresholds"]
        return tuple(
            parse(values | {"threshold": threshold}, METHODS[name], name)
            for threshold in self.thresholds
        )

    @field_validator("thresholds")
    @classmethod
    def _different(cls, thresholds: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(thresholds)) < len(thresholds):
            raise rejection("", "a threshold is there twice")
        return thresholds


class AcdcSweep(SearchSweep):
    """ACDC at several thresholds, one run each."""

    name: Literal["acdc"]


class EapIgAcdcSweep(SearchSweep):
    """ACDC on what integrated gradients leave, at several thresholds, one run each.

    Args:
        steps, screen: as in `EapIgAcdcMethod`.
    """

    name: Literal["eap-ig-acdc"]
    steps: int = Field(default=5, ge=1)
    screen: float = Field(default=USUAL_SCREEN, gt=0, le=1)


MethodSweep = Annotated[
    AcdcSweep | EapIgAcdcSweep | AnyScoredRequest | ProfileRequest, Field(discriminator="name")
]
"""Any entry under `methods`, told apart by `name`."""


class Exclusion(Spec):
    """Combinations that a sweep leaves out, such as a model that has not learnt the task.

    Args:
        tasks: tasks of the sweep.
        models: model references; `*` and `?` match.
    """

    tasks: tuple[str, ...] = Field(min_length=1)
    models: tuple[str, ...] = Field(min_length=1)

    def covers(self, task: str, model: ModelRef) -> bool:
        """Whether the runs of `task` in `model` are left out."""
        return task in self.tasks and any(
            fnmatch.fnmatchcase(str(model), pattern) for pattern in self.models
        )


@dataclass(frozen=True)
class Cell:
    """One run of a sweep before its model's revision is known."""

    task: TaskSpec
    model: ModelRef
    method: Method
    prompts: int
    seed: int
    dtype: Dtype


class SweepSpec(Spec):
    """What to run, as a file in `deploy/sweeps/` says.

    Args:
        name: lower case, as the file is called.
        tasks: task names or folders.
        models: model references; `*` and `?` match names in the zoo.
        methods: methods with lists of parameters.
        prompts: prompt pairs of each run.
        seeds: each makes other prompts.
        dtype: None takes the worker profile's.
        exclude: combinations of task and model that are left out.
    """

    name: Name
    tasks: tuple[str, ...] = Field(min_length=1)
    models: tuple[str, ...] = Field(min_length=1)
    methods: tuple[MethodSweep, ...] = Field(min_length=1)
    prompts: int = Field(ge=1, le=MOST_PROMPTS)
    seeds: tuple[Seed, ...] = Field(min_length=1)
    dtype: Dtype | None = None
    exclude: tuple[Exclusion, ...] = ()

    @field_validator("models")
    @classmethod
    def _references(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        for index, text in enumerate(models):
            if "*" in text or "?" in text:
                if not text.startswith("zoo:"):
                    raise rejection(
                        str(index),
                        f"'{text}' cannot be looked up",
                        allowed="patterns for zoo: only",
                    )
                continue
            try:
                ModelRef.parse(text)
            except AcdcError as error:
                raise rejection(
                    str(index), error.problem, allowed=error.allowed, fix=error.fix
                ) from error
        return models

    @model_validator(mode="after")
    def _exclusions_fit(self) -> SweepSpec:
        for index, exclusion in enumerate(self.exclude):
            for place, task in enumerate(exclusion.tasks):
                if task not in self.tasks:
                    raise unknown_reference(
                        f"exclude.{index}.tasks.{place}", "task of this sweep", task, self.tasks
                    )
        return self

    def model_refs(self, zoo: Iterable[str]) -> tuple[ModelRef, ...]:
        """The models, patterns replaced by what they match in `zoo`; each once, in order.

        Raises:
            UnknownName: a pattern or zoo name that matches nothing.
        """
        zoo = list(zoo)
        found: dict[ModelRef, None] = {}
        for text in self.models:
            if not text.startswith("zoo:"):
                found[ModelRef.parse(text)] = None
                continue
            pattern = text.removeprefix("zoo:")
            names = [name for name in zoo if fnmatch.fnmatchcase(name, pattern)]
            if not names:
                known = [f"zoo:{name}" for name in zoo]
                fix = f"correct it under 'models' of the sweep '{self.name}'"
                raise UnknownName.among("model", text, known, fix=fix)
            found |= {ModelRef("zoo", name): None for name in names}
        return tuple(found)

    def cells(
        self, tasks: Mapping[str, TaskSpec], models: Sequence[ModelRef], dtype: Dtype
    ) -> tuple[Cell, ...]:
        """Every run, runs of one model together and thresholds next to each other.

        Args:
            tasks: the tasks by the name this sweep gives them.
            models: what `model_refs` found.
            dtype: used if the sweep does not say.
        """
        methods = self._methods(tasks)
        return tuple(
            Cell(tasks[task], model, method, self.prompts, seed, self.dtype or dtype)
            for model, task in self._pairs(models)
            for seed in self.seeds
            for method in methods[task]
        )

    def size(self, tasks: Mapping[str, TaskSpec], models: Sequence[ModelRef]) -> int:
        """How many `cells` there are, without making them."""
        methods = self._methods(tasks)
        return sum(len(self.seeds) * len(methods[task]) for _, task in self._pairs(models))

    def _methods(self, tasks: Mapping[str, TaskSpec]) -> Mapping[str, tuple[Method, ...]]:
        """The methods on each task, which all its models and seeds share."""
        return {
            task: tuple(method for entry in self.methods for method in entry.methods(tasks[task]))
            for task in self.tasks
        }

    def _pairs(self, models: Sequence[ModelRef]) -> Iterator[tuple[ModelRef, str]]:
        for model in models:
            for task in self.tasks:
                if not any(exclusion.covers(task, model) for exclusion in self.exclude):
                    yield model, task
