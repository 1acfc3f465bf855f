"""The queue of runs: a free worker gets a run of the model and prompts that it has prepared.

A worker keeps one model loaded, and with it the prompts and the clean run of one prompt set. So the
thresholds of a prompt set go to one worker, one after the other; another worker takes one of them
only if it would otherwise have to load a model. No operation scans all runs.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from acdc_pipeline.execution.runs import PlannedRun

PromptKey = tuple[str, int, int]
"""Task hash, number of prompts, seed: with the model, what a worker prepares once for many runs."""

_Priority = tuple[int, float, int]


@dataclass(eq=False)
class _Runs:
    waiting: deque[PlannedRun] = field(default_factory=deque)
    workers: int = 0


@dataclass(eq=False)
class _Model:
    """The runs of one model.

    Args:
        returned: ids of runs that were put back because their worker died.
        unprepared: prompt sets that no worker has prepared, in order.
        prepared: those that a worker has prepared.
    """

    position: int
    waiting: int = 0
    workers: int = 0
    returned: set[str] = field(default_factory=set)
    unprepared: OrderedDict[PromptKey, _Runs] = field(default_factory=OrderedDict)
    prepared: dict[PromptKey, _Runs] = field(default_factory=dict)

    @property
    def priority(self) -> _Priority:
        """Least where a worker is needed most: returned runs first, then runs per worker."""
        return (0 if self.returned else 1, -self.waiting / (self.workers + 1), self.position)

    def next_prompts(self) -> PromptKey:
        """Return a prompt set that no worker has prepared, else the one with most queued runs."""
        if self.unprepared:
            return next(iter(self.unprepared))
        return max(self.prepared, key=lambda prompts: len(self.prepared[prompts].waiting))


class RunQueue:
    """Queued runs, and what each worker has loaded."""

    def __init__(self, runs: Iterable[PlannedRun]) -> None:
        self._models: dict[tuple[str, str, str], _Model] = {}
        self._at: dict[str, tuple[_Model, PromptKey]] = {}
        self._waiting = 0
        # A heap; an entry is outdated unless it has the current priority of its model.
        self._priorities: list[tuple[_Priority, _Model]] = []
        for run in runs:
            model = self._model_of(run)
            model.unprepared.setdefault(_prompts_of(run), _Runs()).waiting.append(run)
            model.waiting += 1
            self._waiting += 1
        for model in self._models.values():
            self._push(model)

    def __len__(self) -> int:
        return self._waiting

    def take(self, worker: str) -> PlannedRun | None:
        """Remove and return the next run for an idle `worker`, None if the queue is empty.

        A run of the prompt set that the worker has prepared, else of the model that it has loaded,
        else of the model with most runs per worker, this one included.
        """
        if not self._waiting:
            return None
        model, prompts = self._at.get(worker, (None, None))
        if model is None or not model.waiting:
            model, prompts = self._most_needed(), None
        if prompts is None or not model.prepared[prompts].waiting:
            prompts = model.next_prompts()
        self._move(worker, model, prompts)
        run = model.prepared[prompts].waiting.popleft()
        model.returned.discard(run.run_id)
        model.waiting -= 1
        self._waiting -= 1
        self._push(model)
        return run

    def put_back(self, run: PlannedRun) -> None:
        """Queue a run again that was not finished.

        It becomes the first of its prompt set, the prompt set the first of its model, and the model
        the first that a worker may change to. Call `forget` for the worker that had it before.
        """
        model, prompts = self._model_of(run), _prompts_of(run)
        if prompts in model.prepared:
            model.prepared[prompts].waiting.appendleft(run)
        else:
            model.unprepared.setdefault(prompts, _Runs()).waiting.appendleft(run)
            model.unprepared.move_to_end(prompts, last=False)
        model.returned.add(run.run_id)
        model.waiting += 1
        self._waiting += 1
        self._push(model)

    def forget(self, worker: str) -> None:
        """Forget a worker that is gone or has nothing loaded any more."""
        if worker not in self._at:
            return
        model, prompts = self._at.pop(worker)
        runs = model.prepared[prompts]
        runs.workers -= 1
        if not runs.workers:
            del model.prepared[prompts]
            if runs.waiting:
                model.unprepared[prompts] = runs
                model.unprepared.move_to_end(prompts, last=False)
        model.workers -= 1
        self._push(model)

    def _move(self, worker: str, model: _Model, prompts: PromptKey) -> None:
        if self._at.get(worker) == (model, prompts):
            return
        self.forget(worker)
        runs = model.prepared.setdefault(prompts, model.unprepared.pop(prompts, None) or _Runs())
        runs.workers += 1
        model.workers += 1
        self._at[worker] = (model, prompts)

    def _most_needed(self) -> _Model:
        while True:
            priority, model = self._priorities[0]
            if model.waiting and priority == model.priority:
                return model
            heapq.heappop(self._priorities)

    def _push(self, model: _Model) -> None:
        if model.waiting:
            heapq.heappush(self._priorities, (model.priority, model))

    def _model_of(self, run: PlannedRun) -> _Model:
        return self._models.setdefault(run.model, _Model(len(self._models)))


def _prompts_of(run: PlannedRun) -> PromptKey:
    return run.run.task_hash, run.run.prompts, run.run.seed
