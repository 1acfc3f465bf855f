"""A sweep: tasks x models x methods x thresholds x seeds."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias, Union

from pydantic import Field, create_model, field_validator, model_serializer, model_validator

from acdc_pipeline.errors import AcdcError, InvalidInput, UnknownName
from acdc_pipeline.specs.base import Spec, rejection, tag_of, unknown_reference
from acdc_pipeline.specs.methods.profile import ProfileMethod
from acdc_pipeline.specs.methods.registry import METHODS, Method
from acdc_pipeline.specs.model_ref import ModelRef, full_name
from acdc_pipeline.specs.names import Dtype, Experts, MetricName, Name, Positions, Seed
from acdc_pipeline.specs.run import MAX_PROMPTS, without_defaults
from acdc_pipeline.specs.task import TaskSpec


class MethodEntry(Spec):
    """An entry under `methods`: a method whose parameters may be left out or listed.

    The form of each method's entry is derived from the method, see `_entry_form`.
    """

    METHOD: ClassVar[type[Method]]
    NOT_HERE: ClassVar[Mapping[str, str]] = {
        "faithful": "a sweep names its runs before any of them is executed: find the size with "
        "`acdc discover --faithful`, and write it here"
    }

    # Not before validation: lists of JSON would not become tuples then.
    @model_validator(mode="after")
    def _fits_together(self) -> MethodEntry:
        self.METHOD.check_given(dict(self))
        # A sweep that was written by `plain` names defaults too.
        written = {
            name: value for name, value in self if value != type(self).model_fields[name].default
        }
        try:
            self.METHOD.check_arguments(written, tag_of(self.METHOD))
        except InvalidInput as error:
            raise rejection(error.field or "", error.problem, allowed=error.allowed) from None
        for name, listed in self.METHOD.SWEEP_LISTS.items():
            values = getattr(self, listed)
            if len(set(values)) < len(values):
                raise rejection(listed, f"a {name} is there twice")
        return self

    def methods(self, task: TaskSpec) -> tuple[Method, ...]:
        """The methods of the entry on `task`, in the order written."""
        method, values = self.METHOD, self.plain() | {"name": tag_of(self.METHOD)}
        lists = {name: values.pop(listed) for name, listed in method.SWEEP_LISTS.items()}
        return tuple(
            method.resolve(values | dict(zip(lists, choice, strict=True)), task, tag_of(method))
            for choice in itertools.product(*lists.values())
        )


def _entry_form(method: type[Method]) -> type[MethodEntry]:
    """The entry of `method`: its parameters with their defaults, those in SWEEP_LISTS as lists."""
    defaults = method.defaults()
    fields: dict[str, Any] = {}
    for name, field in method.model_fields.items():
        kind: Any = field.annotation
        if field.metadata:
            kind = Annotated[(kind, *field.metadata)]
        if name == "metric":
            kind = MetricName  # the function of another one cannot be written into a file
        if name == "name":
            kind = Literal[(tag_of(method), *method.ALIASES)]
        if name in method.SWEEP_LISTS:
            fields[method.SWEEP_LISTS[name]] = (tuple[kind, ...], Field(min_length=1))
        elif name not in method.NOT_IN_SWEEPS:
            optional = name in defaults and defaults[name] is None
            fields[name] = (kind | None if optional else kind, defaults.get(name, ...))
    title = method.__name__.removesuffix("Method") + "Entry"
    form = create_model(title, __base__=MethodEntry, __doc__=method.__doc__, **fields)
    form.METHOD = method
    return form


if TYPE_CHECKING:
    AnyEntry: TypeAlias = MethodEntry
else:
    _FORMS = tuple(_entry_form(method) for method in (*METHODS.values(), ProfileMethod))
    # A union of as many members as there are methods cannot be written with |.
    AnyEntry = Annotated[Union[_FORMS], Field(discriminator="name")]  # noqa: UP007


class Exclusion(Spec):
    """Combinations that a sweep leaves out, such as a model that has not learnt the task.

    Args:
        tasks: tasks of the sweep.
        models: model references; `*` and `?` are wildcards.
    """

    tasks: tuple[str, ...] = Field(min_length=1)
    models: tuple[str, ...] = Field(min_length=1)

    def covers(self, task: str, model: ModelRef) -> bool:
        """Whether the runs of `task` in `model` are left out."""
        return task in self.tasks and any(
            fnmatch.fnmatchcase(str(model), full_name(pattern)) for pattern in self.models
        )


@dataclass(frozen=True)
class Cell:
    """One run of a sweep, before the revision of its model is known."""

    task: TaskSpec
    model: ModelRef
    method: Method
    prompts: int
    seed: int
    dtype: Dtype
    experts: Experts = "layer"
    positions: Positions = "none"


class SweepSpec(Spec):
    """A sweep, as defined by a file in `deploy/sweeps/`.

    Args:
        name: lower case, as the file is called.
        tasks: task names or folders.
        models: model references; `*` and `?` are wildcards for names in the zoo.
        methods: methods with their parameters.
        prompts: prompt pairs of each run.
        seeds: seeds; each gives other prompts.
        dtype: precision; None takes that of the worker profile.
        experts: what a mixture of experts is in the graph: `layer`, one node; `nodes`, a node for
            each expert, in which models without a mixture are refused.
        positions: the spans that edges live in, see `RunSpec`.
        exclude: combinations of task and model that are left out.
    """

    name: Name
    tasks: tuple[str, ...] = Field(min_length=1)
    models: tuple[str, ...] = Field(min_length=1)
    methods: tuple[AnyEntry, ...] = Field(min_length=1)
    prompts: int = Field(ge=1, le=MAX_PROMPTS)
    seeds: tuple[Seed, ...] = Field(min_length=1)
    dtype: Dtype | None = None
    experts: Experts = "layer"
    positions: Positions = "none"
    exclude: tuple[Exclusion, ...] = ()

    @model_serializer(mode="wrap")
    def _without_default(self, write: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return without_defaults(self, write(self))

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

    def aliases(self) -> dict[str, str]:
        """The aliases that `methods` uses, and the name of the method of each."""
        names = {str(dict(entry)["name"]): tag_of(entry.METHOD) for entry in self.methods}
        return {alias: name for alias, name in names.items() if alias != name}

    def model_refs(self, zoo: Iterable[str]) -> tuple[ModelRef, ...]:
        """The models, with patterns replaced by their matches in `zoo`; each once, in order.

        Raises:
            UnknownName: a pattern or zoo name matches nothing.
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
        """Every run, grouped by model, then by task and seed.

        Args:
            tasks: the tasks by their name in this sweep.
            models: the result of `model_refs`.
            dtype: the precision if the sweep does not specify it.
        """
        methods = self._methods(tasks)
        return tuple(
            Cell(
                tasks[task],
                model,
                method,
                self.prompts,
                seed,
                self.dtype or dtype,
                self.experts,
                self.positions,
            )
            for model, task in self._pairs(models)
            for seed in self.seeds
            for method in methods[task]
        )

    def size(self, tasks: Mapping[str, TaskSpec], models: Sequence[ModelRef]) -> int:
        """The number of `cells`, without creating them."""
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
