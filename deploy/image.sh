#!/usr/bin/env bash
# The container image of a Bento, named like it: as its name and version, and as its name alone. BUILDER is
# docker, unless it is told to be podman or buildah; further arguments go to it. PIP_INDEX_URL, if set, names the
# index.
#   BUILDER=podman bash deploy/image.sh housing_sample:latest
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# With its model, which a Bento in the store only names.
.venv/bin/bentoml export "$1" "$folder/packed.tar" >/dev/null
mkdir "$folder/bento"
tar -xf "$folder/packed.tar" -C "$folder/bento"
# What its libraries are installed by.
cp requirements/bootstrap.txt "$folder/bento/env/python"
name=$(sed -n 's/^name: //p' "$folder/bento/bento.yaml")
version=$(sed -n 's/^version: //p' "$folder/bento/bento.yaml")
# BentoML lets only their owner read some of its files; the service is another user.
chmod -R a+rX "$folder/bento"
# Podman's and buildah's own format has no health check.
BUILDAH_FORMAT=docker "${BUILDER:-docker}" build --file deploy/service.Dockerfile \
    ${PIP_INDEX_URL:+--build-arg=PIP_INDEX_URL} --tag "$name:$version" --tag "$name" "${@:2}" "$folder/bento"
