#!/usr/bin/env bash
# The container image of the pipelines, from Dockerfile, as millrace-runner:VERSION and millrace-runner, with the
# labels of where it comes from. BUILDER is docker, unless it is told to be podman or buildah; further arguments go
# to it. PIP_INDEX_URL, if set, names the index.
#   BUILDER=podman bash deploy/runner_image.sh
set -euo pipefail

# As steps/bundle.py has it: marked where files differ from the commit.
revision=$(git describe --always --abbrev=40 --dirty)
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
labels=()
while read -r label; do
    labels+=(--label "$label")
done < <(
    bash deploy/labels.sh Dockerfile "$@"
    echo "org.opencontainers.image.version=$version"
    echo "org.opencontainers.image.revision=$revision"
    # That of the commit, so that the same commit gives the same labels.
    TZ=UTC git log -1 --date=iso-strict-local --format=org.opencontainers.image.created=%cd
)
# Podman's and buildah's own format has no health check.
BUILDAH_FORMAT=docker "${BUILDER:-docker}" build --file Dockerfile --build-arg "REVISION=$revision" \
    ${PIP_INDEX_URL:+--build-arg=PIP_INDEX_URL} "${labels[@]}" \
    --tag "millrace-runner:$version" --tag millrace-runner "$@" .
