#!/usr/bin/env bash
# The container image of a Bento, named like it and, without the version, as the latest one; options of the builder may follow.
#   BUILDER=podman bash deploy/image.sh housing_sample:latest --build-arg PIP_INDEX_URL=...
set -euo pipefail

path=$(.venv/bin/bentoml get "$1" --output path)
name=$(basename "$(dirname "$path")")
bento=$name:$(basename "$path")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# With its model, which a Bento in the store only names.
.venv/bin/bentoml export --quiet "$bento" "$folder/packed.bento"
mkdir "$folder/bento"
tar -xf "$folder/packed.bento" -C "$folder/bento"
# BentoML lets only their owner read some of its files; the service is another user.
chmod -R a+rX "$folder/bento"
"${BUILDER:-docker}" build --file deploy/service.Dockerfile --tag "$bento" --tag "$name" "${@:2}" "$folder/bento"
