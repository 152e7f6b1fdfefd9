#!/usr/bin/env bash
# What OCI calls the provenance of an image, one KEY=VALUE a line, as far as the checkout and the build know it: the
# base that the last stage of DOCKERFILE begins with, unless a build argument names another, and where the source is.
# SOURCE_URL, if set, is that; else it is the remote `origin`, if that is one of the web's. Credentials are cut out.
#   bash deploy/labels.sh DOCKERFILE [BUILD ARGUMENT...]
set -euo pipefail

base=$(sed -n 's/^ARG PYTHON=//p' "$1")
for argument in "${@:2}"; do
    case $argument in
        PYTHON=* | --build-arg=PYTHON=*) base=${argument#*PYTHON=} ;;
    esac
done
echo "org.opencontainers.image.base.name=${base%@*}"
case $base in
    *@*) echo "org.opencontainers.image.base.digest=${base##*@}" ;;
esac
source=${SOURCE_URL:-$(git remote get-url origin 2>/dev/null || true)}
case $source in
    https://*) sed -E 's#^https://([^/@]*@)?#org.opencontainers.image.source=https://#' <<<"$source" ;;
esac
