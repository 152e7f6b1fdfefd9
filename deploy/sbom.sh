#!/usr/bin/env bash
# The bill of materials of locks, in CycloneDX's JSON, checked against its schema: every library with its version and
# the hashes that it may have. The same locks give the same bytes.
#   bash deploy/sbom.sh .millrace/sbom/runner.cdx.json requirements/bootstrap.txt requirements/run.txt
set -euo pipefail

mkdir -p "$(dirname "$1")"
# What a lock cannot tell, which library needs which, is a warning of each run.
cat "${@:2}" | PYTHONWARNINGS=ignore::UserWarning .venv/bin/cyclonedx-py requirements - --pyproject pyproject.toml \
    --output-reproducible --validate -o "$1"
