#!/usr/bin/env bash
# What pip cannot bring: the system's OpenMP runtime for LightGBM and, if asked for, `postgresql`, the server that
# the tests of databases start, `chromium`, the browser that the tests of the page open, the other servers of
# `make staging`: `mariadb`, `ceph`, `prometheus`; `haproxy`, which stands before the services that are deployed to this
# machine; `docker-compose`, which reads deploy/compose in tests; `docker-registry`, to which they push; `mmdebstrap`,
# `buildah`, `podman` and `runc`, with which the test of the image makes its bases, builds it and runs it; `git` for
# repositories of data, and `curl` for the commands that the page shows; and `wrk`, which benchmarks ask a service with.
set -euo pipefail

have() {
    case $1 in
        libgomp1) .venv/bin/python -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null ;;
        postgresql) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ;;
        mariadb) PATH=$PATH:/usr/sbin command -v mariadbd >/dev/null && command -v my_print_defaults >/dev/null ;;
        ceph) command -v ceph-mon >/dev/null && command -v ceph-osd >/dev/null && command -v radosgw >/dev/null ;;
        prometheus) command -v prometheus >/dev/null && command -v prometheus-alertmanager >/dev/null ;;
        haproxy) PATH=$PATH:/usr/sbin command -v haproxy >/dev/null ;;
        docker-compose | docker-registry | mmdebstrap | buildah | podman | runc | git | curl | wrk)
            command -v "$1" >/dev/null
            ;;
        chromium)
            command -v chromium chromium-browser google-chrome >/dev/null \
                && .venv/bin/python -c 'import ctypes; ctypes.CDLL("libatomic.so.1")' 2>/dev/null
            ;;
    esac
}

# The Debian packages of a name.
packages() {
    case $1 in
        # What makes a database asks a client's program how.
        mariadb) echo mariadb-server-core mariadb-client-core ;;
        # With a library of the Node.js that Playwright brings.
        chromium) echo chromium libatomic1 ;;
        mmdebstrap) echo mmdebstrap debian-archive-keyring ;;
        ceph) echo ceph-mon ceph-osd radosgw ;;
        prometheus) echo prometheus prometheus-alertmanager ;;
        *) echo "$1" ;;
    esac
}

# Debian starts a server when it is installed, for all users and, Prometheus, on all addresses. Ours are
# started by us, so meanwhile nothing is, nor at the next boot.
install() {
    local policy=/usr/sbin/policy-rc.d said
    if [ ! -e $policy ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
    fi
    apt-get update -qq
    # What it says is of interest if it fails.
    said=$(DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" 2>&1) \
        || { echo "$said" >&2; return 1; }
    if command -v systemctl >/dev/null; then
        for unit in prometheus prometheus-alertmanager haproxy docker-registry; do
            [[ " $* " != *" $unit "* ]] || systemctl --quiet disable "$unit" || true
        done
    fi
}

missing=() wanted=()
for name in libgomp1 "$@"; do
    have "$name" || missing+=("$name")
done
for name in "${missing[@]}"; do
    read -ra named <<<"$(packages "$name")"
    wanted+=("${named[@]}")
done
if [ ${#missing[@]} = 0 ]; then
    exit
elif command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    echo "Installing with apt-get: ${wanted[*]}."
    install "${wanted[@]}"
elif [ "${missing[0]}" = libgomp1 ]; then
    echo "LightGBM needs the OpenMP runtime. Install it first: sudo apt-get install libgomp1" \
        "(Fedora: libgomp; macOS: brew install libomp)." >&2
    exit 2
else
    echo "This needs programs that are not here: sudo apt-get install --no-install-recommends ${wanted[*]}" >&2
fi
