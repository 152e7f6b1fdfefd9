#!/usr/bin/env bash
# The container image of a Bento, named like it: as its name and version, and as its name alone; with a bill of
# materials, and the labels of what it is and where it comes from. BUILDER is docker, unless it is told to be podman or
# buildah; further arguments go to it. PIP_INDEX_URL, if set, names the index.
#   BUILDER=podman bash deploy/image.sh housing_sample:latest
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# With its model, which a Bento in the store only names.
.venv/bin/bentoml export "$1" "$folder/packed.tar" >/dev/null
mkdir "$folder/context" "$folder/context/bento"
tar -xf "$folder/packed.tar" -C "$folder/context/bento"
# What its libraries are installed by.
cp requirements/bootstrap.txt "$folder/context"
bash deploy/sbom.sh "$folder/context/sbom.cdx.json" "$folder/context/bento/env/python/requirements.txt"
name=$(sed -n 's/^name: //p' "$folder/context/bento/bento.yaml")
version=$(sed -n 's/^version: //p' "$folder/context/bento/bento.yaml")
revision=$(git describe --always --abbrev=40 --dirty 2>/dev/null || true)
bash deploy/labels.sh deploy/service.Dockerfile "${@:2}" >"$folder/labels"
.venv/bin/python -m bentos.labels "$folder/context/bento" "$revision" >>"$folder/labels"
labels=()
while read -r label; do
    labels+=(--label "$label")
done <"$folder/labels"
# BentoML lets only their owner read some of its files; the service is another user.
chmod -R a+rX "$folder/context"
# Podman's and buildah's own format has no health check.
BUILDAH_FORMAT=docker "${BUILDER:-docker}" build --file deploy/service.Dockerfile \
    ${PIP_INDEX_URL:+--build-arg=PIP_INDEX_URL} "${labels[@]}" --tag "$name:$version" --tag "$name" "${@:2}" \
    "$folder/context"
