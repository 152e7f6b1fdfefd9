#!/usr/bin/env bash
# The one thing that pip cannot bring: LightGBM's wheel needs the system's OpenMP runtime.
set -euo pipefail
if .venv/bin/python -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null; then
    exit 0
fi
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    echo "Installing libgomp1, which LightGBM needs."
    apt-get update -qq && apt-get install -y -qq --no-install-recommends libgomp1 >/dev/null
else
    echo "LightGBM needs the OpenMP runtime. Install it first: sudo apt-get install libgomp1" \
        "(Fedora: libgomp; macOS: brew install libomp)." >&2
    exit 2
fi
