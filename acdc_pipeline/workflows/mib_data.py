"""The data sets of the MIB benchmark: in a folder, or in the cache of the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.prompts.mib import MibTask, check_split, find_mib_task

FORMATS = (".parquet", ".jsonl", ".json")


def read_mib_rows(name: str, split: str, folder: Path | None) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a split of the task called `name` in MIB.

    Args:
        folder: has a folder for each data set, called as on the hub; None for the hub, whose
            cache is read first, and alone under `HF_HUB_OFFLINE`.

    Raises:
        UnknownName: MIB has no such task.
        InvalidInput: no such split, or its files are not there or cannot be read.
    """
    task = find_mib_task(name)
    check_split(split)
    place = _hub_folder(task) if folder is None else folder / task.dataset
    files = sorted(
        file
        for file in place.rglob(f"{split}*")
        if file.suffix in FORMATS and task.folder in file.relative_to(place).as_posix()
    )
    if not files:
        inside = f"{task.folder}/…" if task.folder else "…"
        raise InvalidInput(
            f"has no split '{split}' of MIB's task '{name}'",
            where=str(place),
            allowed=f"{inside}/{split}*.parquet, .jsonl or .json",
            fix=_download(task, place),
        )
    for file in files:
        yield from _rows_of(file)


def _hub_folder(task: MibTask) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    from acdc_pipeline.models.location import is_unreachable

    try:
        return Path(
            snapshot_download(
                f"mib-bench/{task.dataset}",
                repo_type="dataset",
                local_files_only=is_unreachable(),
            )
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise InvalidInput(
            f"the data set mib-bench/{task.dataset} is neither in the cache of the hub nor can it "
            "be downloaded here",
            fix=_download(task, Path("FOLDER") / task.dataset) + ", and give --mib-data FOLDER",
        ) from error


def _download(task: MibTask, to: Path) -> str:
    return f"hf download --repo-type dataset mib-bench/{task.dataset} --local-dir {to}"


def _rows_of(file: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if file.suffix == ".parquet":
            for batch in pq.ParquetFile(file).iter_batches():
                yield from batch.to_pylist()
        elif file.suffix == ".jsonl":
            with file.open(encoding="utf-8") as lines:
                yield from (json.loads(line) for line in lines if line.strip())
        else:
            yield from json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InvalidInput(f"cannot be read: {error}", where=str(file)) from error
