#!/usr/bin/env bash
# Prints the lock: every package that the project, its extras and its build need, at one version.
# `make lock` calls this and keeps the result as constraints.txt.
set -euo pipefail

PYTHON=${PYTHON:-python3}
TORCH=${TORCH:?names the torch release to lock, for example TORCH=2.13.0}

environment=$(mktemp -d)
trap 'rm -rf "$environment"' EXIT

"$PYTHON" -m venv "$environment"
"$environment/bin/python" -m pip install --no-input --disable-pip-version-check \
    "torch==$TORCH" hatchling '.[dev,s3,aws,tracr]' >&2

cat <<'HEADER'
# Every package at one version, for CPU and CUDA machines alike. Written by `make lock`.
# The CUDA libraries are left out: torch itself pins those that its build needs.
HEADER
# A local version (+cpu, +cu130) names one build; without it the same pin serves every machine.
"$environment/bin/python" -m pip freeze --all --exclude pip --exclude acdc-pipeline \
    | grep -viE '^(nvidia-|cuda-|triton)' \
    | sed -E 's/\+[a-z0-9.]+$//'
