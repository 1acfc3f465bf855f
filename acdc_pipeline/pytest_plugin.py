"""Circuits as test cases: `pytest --acdc-baselines results/baselines`.

Does nothing, and imports nothing of this package, unless the option is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from acdc_pipeline.regression.verdict import Verdict
    from acdc_pipeline.workflows.regression import CellRunner


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the plugin."""
    group = parser.getgroup("acdc", "circuits against their baselines")
    group.addoption(
        "--acdc-baselines",
        metavar="DIR",
        help="find circuits again and compare them with the baselines in DIR, a test case each",
    )
    group.addoption(
        "--acdc-sweep",
        metavar="SWEEP",
        default="regress",
        help="which circuits: a sweep by name, or its .yaml file (default: regress)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add a test case for each cell of the sweep, before `-k` and `-m` choose among them."""
    folder = config.getoption("--acdc-baselines")
    if folder is not None:
        collector = Circuits.from_parent(session, name="acdc-regress")
        collector.open(str(folder), str(config.getoption("--acdc-sweep")))
        items.extend(collector.collect())


class DriftFound(Exception):
    """A circuit differs from its baseline."""


class NotCompared(Exception):
    """A circuit could not be compared with a baseline."""


class Circuits(pytest.Collector):
    """The cells of a sweep; they share one worker, so that models stay loaded."""

    runner: CellRunner

    def open(self, folder: str, sweep: str) -> None:
        """Plan the sweep. Raises `pytest.UsageError` where that is not possible."""
        from acdc_pipeline.errors import AcdcError
        from acdc_pipeline.workflows.regression import CellRunner

        try:
            self.runner = CellRunner(folder, sweep)
        except AcdcError as error:
            raise pytest.UsageError(f"--acdc-baselines: {error}") from error
        if not self.runner.cells:
            raise pytest.UsageError(
                f"--acdc-baselines: sweep '{sweep}' finds no circuit, so nothing would be compared"
            )

    def collect(self) -> Iterator[pytest.Item]:
        for index, planned in enumerate(self.runner.cells):
            yield CircuitCase.from_parent(self, name=str(planned.cell), index=index)

    def teardown(self) -> None:
        self.runner.close()


class CircuitCase(pytest.Item):
    """A cell: drift is a failure, and a cell that cannot be compared an error."""

    verdict: Verdict

    def __init__(self, *, index: int, **more: Any) -> None:
        super().__init__(**more)
        self.index = index

    def setup(self) -> None:
        assert isinstance(self.parent, Circuits)
        self.verdict = self.parent.runner.verdict(self.index)
        if not self.verdict.compared:
            raise NotCompared(self._message())

    def runtest(self) -> None:
        if self.verdict.status == "drift":
            raise DriftFound(self._message())

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, (DriftFound, NotCompared)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[str, int | None, str]:
        return "acdc-regress", None, self.name

    def _message(self) -> str:
        from acdc_pipeline.regression.ci_reports import verdict_text

        return f"{self.verdict.status}: {self.verdict.cell}\n{verdict_text(self.verdict)}"
