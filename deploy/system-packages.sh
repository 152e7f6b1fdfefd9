#!/usr/bin/env bash
# What pip cannot bring: the system's OpenMP runtime for LightGBM and, if asked for, `postgresql`, the server that
# the tests of databases start, `chromium`, the browser that the tests of the page open, `mmdebstrap`, `buildah`,
# `podman` and `runc`, with which the test of the image makes its bases, builds it and runs it, and `wrk`, which
# benchmarks ask a service with.
set -euo pipefail

have() {
    case $1 in
        libgomp1) .venv/bin/python -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null ;;
        postgresql) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ;;
        mmdebstrap | buildah | podman | runc | wrk) command -v "$1" >/dev/null ;;
        chromium) command -v chromium chromium-browser google-chrome >/dev/null ;;
    esac
}

for package in libgomp1 "$@"; do
    if have "$package"; then
        continue
    elif command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        echo "Installing $package with apt-get."
        apt-get update -qq && apt-get install -y -qq --no-install-recommends "$package" >/dev/null
    elif [ "$package" = libgomp1 ]; then
        echo "LightGBM needs the OpenMP runtime. Install it first: sudo apt-get install libgomp1" \
            "(Fedora: libgomp; macOS: brew install libomp)." >&2
        exit 2
    else
        echo "This needs $package: sudo apt-get install $package." >&2
    fi
done
