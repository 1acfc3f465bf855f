"""Which run a free worker takes: of the model it has loaded, of the prompts it has prepared.

A worker keeps one model loaded, and with it the prompts and the clean run of one question, so
the thresholds of a question go to one worker, one after the other, and another worker takes one
of them only where it would otherwise have to load a model. Pure Python; nothing here scans the
runs.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from acdc_pipeline.execution.planned import PlannedRun

Question = tuple[str, int, int]
"""Task hash, prompts, seed: with the model, what a worker prepares once for many runs."""

_Need = tuple[int, float, int]


@dataclass(eq=False)
class _Runs:
    """The runs of one question in one model.

    Args:
        waiting: in the order they are to be done.
        workers: how many workers have prepared it.
    """

    waiting: deque[PlannedRun] = field(default_factory=deque)
    workers: int = 0


@dataclass(eq=False)
class _Model:
    """The runs of one model.

    Args:
        place: where it comes in the sweep.
        waiting: how many of its runs nobody has taken.
        workers: how many workers have it loaded.
        returned: runs that came back because their worker died.
        fresh: questions that no worker has prepared, in order.
        begun: those that some worker has.
    """

    place: int
    waiting: int = 0
    workers: int = 0
    returned: set[str] = field(default_factory=set)
    fresh: OrderedDict[Question, _Runs] = field(default_factory=OrderedDict)
    begun: dict[Question, _Runs] = field(default_factory=dict)

    @property
    def need(self) -> _Need:
        """Least where one more worker is needed most: runs come back, else runs per worker."""
        return (0 if self.returned else 1, -self.waiting / (self.workers + 1), self.place)

    def next_question(self) -> Question:
        """One that nobody has begun; else the longest of those begun."""
        if self.fresh:
            return next(iter(self.fresh))
        return max(self.begun, key=lambda question: len(self.begun[question].waiting))


class RunQueue:
    """Runs that nobody has taken yet, and what each worker has loaded.

    Args:
        runs: in the order in which they are to be done where nothing else decides.
    """

    def __init__(self, runs: Iterable[PlannedRun]) -> None:
        self._models: dict[tuple[str, str, str], _Model] = {}
        self._at: dict[str, tuple[_Model, Question]] = {}
        self._waiting = 0
        # What was needed at some time: an entry is out of date unless it is its model's need.
        self._needs: list[tuple[_Need, _Model]] = []
        for run in runs:
            model = self._model_of(run)
            model.fresh.setdefault(_question_of(run), _Runs()).waiting.append(run)
            model.waiting += 1
            self._waiting += 1
        for model in self._models.values():
            self._note(model)

    def __len__(self) -> int:
        """How many runs wait."""
        return self._waiting

    def take(self, worker: str) -> PlannedRun | None:
        """The next run for `worker`, which has done its last; None if no run waits.

        Of the question the worker has prepared, else of the model it has loaded, else of the
        model that has most runs for each worker on it, this one included.
        """
        if not self._waiting:
            return None
        model, question = self._at.get(worker, (None, None))
        if model is None or not model.waiting:
            model, question = self._neediest(), None
        if question is None or not model.begun[question].waiting:
            question = model.next_question()
        self._move(worker, model, question)
        run = model.begun[question].waiting.popleft()
        model.returned.discard(run.run_id)
        model.waiting -= 1
        self._waiting -= 1
        self._note(model)
        return run

    def put_back(self, run: PlannedRun) -> None:
        """Takes back a run that was not finished.

        It goes first in its question, that question first in its model, and the model first among
        those that a worker may turn to. `forget` the worker that had it before.
        """
        model, question = self._model_of(run), _question_of(run)
        if question in model.begun:
            model.begun[question].waiting.appendleft(run)
        else:
            model.fresh.setdefault(question, _Runs()).waiting.appendleft(run)
            model.fresh.move_to_end(question, last=False)
        model.returned.add(run.run_id)
        model.waiting += 1
        self._waiting += 1
        self._note(model)

    def forget(self, worker: str) -> None:
        """The worker is gone, and with it what it had loaded."""
        if worker not in self._at:
            return
        model, question = self._at.pop(worker)
        runs = model.begun[question]
        runs.workers -= 1
        if not runs.workers:
            del model.begun[question]
            if runs.waiting:
                model.fresh[question] = runs
                model.fresh.move_to_end(question, last=False)
        model.workers -= 1
        self._note(model)

    def _move(self, worker: str, model: _Model, question: Question) -> None:
        if self._at.get(worker) == (model, question):
            return
        self.forget(worker)
        runs = model.begun.setdefault(question, model.fresh.pop(question, None) or _Runs())
        runs.workers += 1
        model.workers += 1
        self._at[worker] = (model, question)

    def _neediest(self) -> _Model:
        while True:
            need, model = self._needs[0]
            if model.waiting and need == model.need:
                return model
            heapq.heappop(self._needs)

    def _note(self, model: _Model) -> None:
        if model.waiting:
            heapq.heappush(self._needs, (model.need, model))

    def _model_of(self, run: PlannedRun) -> _Model:
        return self._models.setdefault(run.model, _Model(len(self._models)))


def _question_of(run: PlannedRun) -> Question:
    return run.run.task_hash, run.run.prompts, run.run.seed
