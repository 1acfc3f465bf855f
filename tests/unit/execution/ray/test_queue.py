"""The driver's queue: every run is taken once, and models are loaded as seldom as can be."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from acdc_pipeline.execution.ray.queue import RunQueue
from acdc_pipeline.execution.runs import PlannedRun
from tests.planned_runs import planned

Model = tuple[str, str, str]
Question = tuple[Model, int]


def question_of(run: PlannedRun) -> Question:
    return run.model, run.run.seed


def runs_of(model: str, *, seeds: int, thresholds: int) -> list[PlannedRun]:
    """`thresholds` runs for each of `seeds` questions."""
    return [
        planned(model=model, seed=seed, threshold=(i + 1) / 100)
        for seed in range(seeds)
        for i in range(thresholds)
    ]


def test_take_by_one_worker_keeps_the_order_of_the_sweep_where_models_are_equally_long():
    runs = runs_of("zoo:a", seeds=2, thresholds=2) + runs_of("zoo:b", seeds=2, thresholds=2)
    queue = RunQueue(runs)
    assert [queue.take("w") for _ in runs] == runs
    assert queue.take("w") is None


def test_take_by_two_workers_gives_each_a_question_of_its_own():
    runs = runs_of("zoo:a", seeds=2, thresholds=3)
    queue = RunQueue(runs)
    taken = {worker: [] for worker in "vw"}
    for _ in range(3):
        for worker, runs_of_worker in taken.items():
            runs_of_worker.append(queue.take(worker))
    assert taken == {"v": runs[:3], "w": runs[3:]}


def test_take_when_every_question_is_begun_helps_with_the_longest():
    runs = [*runs_of("zoo:a", seeds=1, thresholds=2), *runs_of("zoo:a", seeds=2, thresholds=6)[6:]]
    queue = RunQueue(runs)
    assert queue.take("v") == runs[0]
    assert queue.take("w") == runs[2]
    assert queue.take("x") == runs[3]
    assert queue.take("v") == runs[1]
    assert queue.take("v") == runs[4]


def test_take_without_a_model_joins_where_most_runs_are_left_for_each_worker():
    long, short = (
        runs_of("zoo:long", seeds=5, thresholds=1),
        runs_of("zoo:short", seeds=2, thresholds=1),
    )
    queue = RunQueue([*short, *long])
    # 5 against 2, then 4 for two workers against 2: the first of equals; then 4/2 against 1.
    assert [queue.take(worker) for worker in "uvw"] == [long[0], short[0], long[1]]


def test_put_back_run_is_the_next_that_a_worker_without_a_model_takes():
    runs = runs_of("zoo:a", seeds=1, thresholds=3) + runs_of("zoo:b", seeds=1, thresholds=9)
    queue = RunQueue(runs)
    for worker in "uvw":
        queue.take(worker)
    lost = next(run for run in runs if run.model[0] == "zoo:b")
    queue.forget("u")
    queue.put_back(lost)
    assert queue.take("new") == lost


def test_put_back_run_goes_to_whoever_has_its_question_before_the_rest_of_it():
    runs = runs_of("zoo:a", seeds=1, thresholds=4)
    queue = RunQueue(runs)
    assert [queue.take(worker) for worker in "vw"] == runs[:2]
    queue.forget("v")
    queue.put_back(runs[0])
    assert [queue.take("w"), queue.take("w")] == [runs[0], runs[2]]


def test_forget_worker_leaves_its_question_to_the_next():
    runs = runs_of("zoo:a", seeds=2, thresholds=3)
    queue = RunQueue(runs)
    assert queue.take("v") == runs[0]
    queue.forget("v")
    assert [queue.take("w") for _ in range(2)] == runs[1:3]


def test_take_ten_thousand_models_of_one_run_each_gives_each_once():
    runs = [planned(model=f"zoo:m{i}") for i in range(10_000)]
    queue = RunQueue(runs)
    taken = [queue.take(f"w{i % 7}") for i in range(len(runs))]
    assert taken == runs


@given(
    cells=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 5)), unique=True),
    order=st.lists(st.integers(0, 4), min_size=64, max_size=64),
)
def test_take_in_any_interleaving_gives_every_run_once_and_changes_model_only_when_it_is_done(
    cells: list[tuple[int, int, int]], order: list[int]
):
    runs = [planned(model=f"zoo:m{m}", seed=s, threshold=(t + 1) / 100) for m, s, t in cells]
    queue = RunQueue(runs)
    waiting = Counter(run.model for run in runs)
    asked = Counter(question_of(run) for run in runs)
    last: dict[int, PlannedRun] = {}
    taken = []
    while queue:
        worker = order[len(taken) % len(order)]
        run = queue.take(str(worker))
        assert run is not None
        before = last.get(worker)
        if before is not None and waiting[before.model]:
            assert run.model == before.model
            if asked[question_of(before)]:
                assert question_of(run) == question_of(before)
        elif before is None or not waiting[before.model]:
            # One more worker is needed nowhere more than here.
            loaded = Counter(r.model for w, r in last.items() if w != worker)
            need = {m: n / (loaded[m] + 1) for m, n in waiting.items() if n}
            assert need[run.model] == max(need.values())
        last[worker] = run
        waiting[run.model] -= 1
        asked[question_of(run)] -= 1
        taken.append(run)
    assert sorted(run.run_id for run in taken) == sorted(run.run_id for run in runs)


class Sweep(RuleBasedStateMachine):
    """Workers that come, take, die with what they had, and finish, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = [
            planned(model=f"zoo:m{m}", seed=s, threshold=(t + 1) / 100)
            for m in range(3)
            for s in range(2)
            for t in range(3)
        ]
        self.queue = RunQueue(self.runs)
        self.at_work: dict[str, PlannedRun] = {}
        self.done: list[PlannedRun] = []

    @rule(worker=st.sampled_from("abcd"))
    def take(self, worker: str) -> None:
        if worker not in self.at_work and (run := self.queue.take(worker)) is not None:
            self.at_work[worker] = run

    @precondition(lambda self: self.at_work)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        self.done.append(self.at_work.pop(data.draw(st.sampled_from(sorted(self.at_work)))))

    @precondition(lambda self: self.at_work)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.at_work)))
        run = self.at_work.pop(worker)
        self.queue.forget(worker)
        self.queue.put_back(run)

    @rule(worker=st.sampled_from("abcd"))
    def die_idle(self, worker: str) -> None:
        if worker not in self.at_work:
            self.queue.forget(worker)

    @invariant()
    def every_run_is_somewhere_once(self) -> None:
        assert len(self.queue) + len(self.at_work) + len(self.done) == len(self.runs)
        begun = [*self.at_work.values(), *self.done]
        assert len({run.run_id for run in begun}) == len(begun)

    def teardown(self) -> None:
        rest = list(self.at_work.values())
        while (run := self.queue.take("last")) is not None:
            rest.append(run)
        ended = [run.run_id for run in [*rest, *self.done]]
        assert sorted(ended) == sorted(run.run_id for run in self.runs)


TestSweep = Sweep.TestCase
