"""The runtime environment of a job: the worker profile's own, checked before others can see it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from acdc_pipeline.errors import SpecError

# Whole words at the end of a part of the name: HF_TOKEN and APIKEY, not TOKENIZERS_PARALLELISM.
_SECRET = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|KEY)S?(_|\Z)", re.I)
_REFERENCE = re.compile(r"\$\{\w+\}")

_OURS = "the job's working folder holds the sweep, its tasks and the profile, and nothing else"


def check_runtime_env(env: Mapping[str, Any], where: str) -> None:
    """Refuses what must not travel with a job.

    Everyone who may see the cluster's dashboard reads the variables of every job.

    Raises:
        SpecError: a secret, or files of this machine.
    """
    for field in ("working_dir", "excludes"):
        if field in env:
            raise SpecError(
                "cannot be chosen for a job: " + _OURS, where=where, field=f"runtime_env.{field}"
            )
    modules = env.get("py_modules") or ()
    for index, module in enumerate(modules if isinstance(modules, list | tuple) else (modules,)):
        if "://" not in str(module):
            raise SpecError(
                f"'{module}' lies on this machine: {_OURS}",
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
