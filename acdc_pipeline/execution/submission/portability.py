"""Checks that a sweep can be executed on another machine: store, models, runtime environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from acdc_pipeline.errors import InvalidInput, SpecError, StoreError
from acdc_pipeline.specs import ModelRef, SweepSpec

_SHARED = "or --shared-disk if every node of the cluster has the same folder under the same path"

# Whole words at the end of a part of the name: HF_TOKEN and APIKEY, not TOKENIZERS_PARALLELISM.
_SECRET = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|KEY)S?(_|\Z)", re.I)
_REFERENCE = re.compile(r"\$\{\w+\}")

_WORKING_FOLDER = (
    "the working folder of a job holds the sweep, its tasks and the profile, and nothing else"
)


def located_store(url: str) -> str:
    """Return the store for the job: the absolute path of a folder, any other URL unchanged.

    Raises:
        StoreError: no such kind of store, or the URL holds a password.
    """
    if "://" in url and urlsplit(url).password:
        raise StoreError(
            "the URL holds a password, which everyone on the cluster could read",
            where=url.partition("://")[0] + "://…",
            fix="leave it out, and give it to the nodes through their environment",
        )
    from acdc_pipeline.store.location import open_backend  # needed only here, and slow to import

    try:
        return open_backend(url).url
    except StoreError as error:
        # Only the cluster needs the library of an object store.
        if isinstance(error.__cause__, ImportError):
            return url.rstrip("/")
        raise


def check_models(sweep: SweepSpec) -> None:
    """Raise InvalidInput for a model with a relative path."""
    for index, model in _local_models(sweep):
        if not Path(model.name).is_absolute():
            raise InvalidInput(
                f"'{model}' is a path from the working folder of this machine",
                where=sweep.name,
                field=f"models.{index}",
                fix=f"write '{model.kind}:{Path(model.name).absolute()}', as the cluster sees it",
            )


def needs_this_disk(sweep: SweepSpec, store: str) -> InvalidInput | None:
    """Return the error for the first item that exists only on this machine, None if none does."""
    for index, model in _local_models(sweep):
        return InvalidInput(
            f"'{model}' is on the disk of this machine; weights are not sent with a job",
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


def check_runtime_env(env: Mapping[str, Any], where: str) -> None:
    """Check a runtime environment before others can see it.

    Everyone with access to the dashboard of the cluster can read the variables of every job.

    Raises:
        SpecError: it contains a secret, or files of this machine.
    """
    for field in ("working_dir", "excludes"):
        if field in env:
            raise SpecError(
                "cannot be chosen for a job: " + _WORKING_FOLDER,
                where=where,
                field=f"runtime_env.{field}",
            )
    modules = env.get("py_modules") or ()
    for index, module in enumerate(modules if isinstance(modules, list | tuple) else (modules,)):
        if "://" not in str(module):
            raise SpecError(
                f"'{module}' is on this machine: {_WORKING_FOLDER}",
                where=where,
                field=f"runtime_env.py_modules.{index}",
                allowed="URLs, as in s3://bucket/module.zip",
            )
    variables = env.get("env_vars") or {}
    if not isinstance(variables, Mapping):
        raise SpecError(
            "is not a list of variables", where=where, field="runtime_env.env_vars", allowed="{}"
        )
    for name, value in variables.items():
        if _SECRET.search(name) and value != "" and not _REFERENCE.fullmatch(str(value)):
            raise SpecError(
                "looks like a secret, and everyone on the cluster can read it",
                where=where,
                field=f"runtime_env.env_vars.{name}",
                allowed=f"an empty value, or ${{{name}}}, which each node replaces by its own",
                fix=f"set {name} on the nodes, as in a Kubernetes secret",
            )


def _local_models(sweep: SweepSpec) -> list[tuple[int, ModelRef]]:
    """Return index and reference of every model that is a path: `dir:` and `gguf:`."""
    return [
        (index, ModelRef.parse(text))
        for index, text in enumerate(sweep.models)
        if text.startswith(("dir:", "gguf:"))
    ]
