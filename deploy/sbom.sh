#!/usr/bin/env bash
# The bill of materials of a lock, in CycloneDX's JSON, checked against its schema: every library with its version and
# the hashes that it may have. The same lock gives the same bytes.
#   bash deploy/sbom.sh requirements/run.txt .millrace/sbom/runner.cdx.json
set -euo pipefail

mkdir -p "$(dirname "$2")"
# What a lock cannot tell, which library needs which, is a warning of each run.
PYTHONWARNINGS=ignore::UserWarning .venv/bin/cyclonedx-py requirements "$1" --pyproject pyproject.toml \
    --output-reproducible --validate -o "$2"
