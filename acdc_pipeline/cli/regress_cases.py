"""The cells of a sweep one at a time, as test cases ask for them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from acdc_pipeline.cli.regress_round import Fingerprints, verdict_of
from acdc_pipeline.cli.regressing import asked_of
from acdc_pipeline.cli.views.sweep_display import watched
from acdc_pipeline.cli.workplace import DEFAULT_PROFILE, executor_at, place_of
from acdc_pipeline.errors import InvalidInput

if TYPE_CHECKING:
    from acdc_pipeline.execution.executor import Executor
    from acdc_pipeline.regression.verdict import Verdict


class Cases:
    """A sweep's cells, executed when they are asked for, by one worker in this process.

    Args:
        folder: of the baselines.
        sweep: by name, or its file.

    Raises:
        InvalidInput: the sweep is not valid, or there is no such folder.
    """

    def __init__(self, folder: str, sweep: str) -> None:
        self._folder = Path(folder)
        if not self._folder.is_dir():
            raise InvalidInput("is not a folder", where=folder)
        self._place = place_of(DEFAULT_PROFILE, executor="local")
        _, self._asked = asked_of(sweep, self._place.profile.dtype, {})
        self._executor: Executor | None = None
        self._fingerprints = Fingerprints()
        self._store: tempfile.TemporaryDirectory[str] | None = None

    @property
    def names(self) -> list[str]:
        """What the cells are called, in the sweep's order."""
        return [str(asked.cell) for asked in self._asked]

    def verdict(self, index: int) -> Verdict:
        """Executes the run of a cell and holds it against its baseline."""
        from acdc_pipeline.store import open_store

        if self._store is None:
            self._store = tempfile.TemporaryDirectory(prefix="acdc-regress-")
        if self._executor is None:
            self._executor = executor_at(self._place)
        asked, store = self._asked[index], open_store(self._store.name, "write")
        runs = [] if asked.planned is None else [asked.planned]
        with watched(runs) as listener:
            outcomes = list(self._executor.execute(runs, store, listener))
        ended = {outcome.planned.run_id: outcome for outcome in outcomes}
        return verdict_of(asked, self._folder, store, ended, self._fingerprints)

    def close(self) -> None:
        """Removes what was kept meanwhile."""
        if self._store is not None:
            self._store.cleanup()
            self._store = None
        self._executor = None
