"""What a sweep needs from the disk of this machine, which a cluster elsewhere does not have."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from acdc_pipeline.errors import InvalidInput, StoreError
from acdc_pipeline.specs import ModelRef, SweepSpec
from acdc_pipeline.store.location import open_backend

_SHARED = "or --shared-disk if every node of the cluster has the same folder under the same path"


def located_store(url: str) -> str:
    """The store as the job is told: a folder in full, any other URL as it is.

    Raises:
        StoreError: no such kind of store, or the URL holds a password.
    """
    if "://" in url and urlsplit(url).password:
        raise StoreError(
            "the URL holds a password, which everyone on the cluster could read",
            where=url.partition("://")[0] + "://…",
            fix="leave it out, and give it to the nodes through their environment",
        )
    try:
        return open_backend(url).url
    except StoreError as error:
        # Only the cluster needs what opens an object store.
        if isinstance(error.__cause__, ImportError):
            return url.rstrip("/")
        raise


def check_models(sweep: SweepSpec) -> None:
    """Raises InvalidInput for a model whose path means nothing on another machine."""
    for index, model in _local_models(sweep):
        if not Path(model.name).is_absolute():
            raise InvalidInput(
                f"'{model}' is a path from the working folder of this machine",
                where=sweep.name,
                field=f"models.{index}",
                fix=f"write '{model.kind}:{Path(model.name).absolute()}', as the cluster sees it",
            )


def needs_this_disk(sweep: SweepSpec, store: str) -> InvalidInput | None:
    """The error for the first thing that a cluster elsewhere would not find, None if all travels.

    Args:
        store: what `located_store` gave.
    """
    for index, model in _local_models(sweep):
        return InvalidInput(
            f"'{model}' lies on the disk of this machine; weights do not travel with a job",
            where=sweep.name,
            field=f"models.{index}",
            fix=f"name it by zoo: or hf:, {_SHARED}",
        )
    if "://" not in store:
        return InvalidInput(
            "is a folder of this machine; what the cluster writes would stay on the cluster",
            where=store,
            field="--store",
            allowed="an object store, as in s3://bucket/path",
            fix=f"--store s3://…, {_SHARED}",
        )
    return None


def _local_models(sweep: SweepSpec) -> list[tuple[int, ModelRef]]:
    """Place and reference of every model that is a path: `dir:` and `gguf:`."""
    return [
        (index, ModelRef.parse(text))
        for index, text in enumerate(sweep.models)
        if text.startswith(("dir:", "gguf:"))
    ]
