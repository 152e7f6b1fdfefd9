#!/usr/bin/env bash
# A stand-in for Docker Hub's python:3.11-slim-bookworm where no registry can be reached, for tests: Debian's own packages,
# trimmed as that image is, imported into buildah's store under the name that is given. The packages are fetched once.
#   bash deploy/stand_in_base.sh localhost/python:3.11-slim-bookworm
set -euo pipefail

name=$1
root=${XDG_CACHE_HOME:-$HOME/.cache}/millrace/stand-in-bookworm.tar

if [ ! -f "$root" ]; then
    mkdir -p "$(dirname "$root")"
    # Whole or not at all: what is found here is used.
    partial=$(mktemp "$root.XXXXXX")
    trap 'rm -f "$partial"' EXIT
    # No documents and translations, no compiled files of Python, and a pip that installs where it is told to.
    mmdebstrap --quiet --variant=minbase --include=ca-certificates,python3-pip,python3-venv \
        --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --customize-hook='rm "$1"/usr/lib/python3*/EXTERNALLY-MANAGED; ln -s python3 "$1/usr/bin/python"' \
        --customize-hook='find "$1/usr" -name __pycache__ -prune -exec rm -r {} +' \
        bookworm - >"$partial" 2>"$root.log" || { cat "$root.log" >&2; exit 1; }
    mv "$partial" "$root"
fi

container=$(buildah from scratch)
buildah add --quiet "$container" "$root" / >/dev/null
buildah config --cmd python3 "$container"
buildah commit --quiet --rm "$container" "$name" >/dev/null
