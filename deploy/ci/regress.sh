#!/usr/bin/env bash
# One sweep held against its baselines: reports in acdc-regress/, the verdict as an output of the
# step, and the exit code of `acdc regress`, which writes the summary of a GitHub job by itself.
#
# usage: regress.sh SWEEP [OPTION OF acdc regress]...
set -euo pipefail

sweep="${1:?usage: regress.sh SWEEP [OPTION]...}"
shift
reports=acdc-regress
mkdir -p "$reports"

code=0
acdc regress "$sweep" --junit-xml "$reports/junit.xml" --markdown "$reports/summary.md" "$@" || code=$?

says=""
case "$code" in
  0) verdict=same ;;
  1) verdict=drift says="A circuit has drifted from its baseline" ;;
  2) verdict=invalid says="The command, the sweep or the project cannot be used" ;;
  3) verdict=failed says="Some run did not finish, or nothing was compared: no verdict on any circuit" ;;
  4) verdict=no-baseline says="A baseline is missing or was made under other conditions" ;;
  *) verdict=failed says="acdc ended with $code" ;;
esac

if [ -n "$says" ]; then
  echo "::error title=acdc regress::$says"
fi
if [ -n "${GITHUB_OUTPUT:-}" ]; then
  echo "verdict=$verdict" >> "$GITHUB_OUTPUT"
fi
exit "$code"
