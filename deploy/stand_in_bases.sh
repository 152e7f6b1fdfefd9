#!/usr/bin/env bash
# Stand-ins for the images that deploy/service.Dockerfile and Dockerfile begin with, where no registry can be reached,
# in buildah's store as localhost/debian, localhost/python (the same packages of Debian as the images have) and
# localhost/python-slim (Debian's Python, which is 3.11, too). They are fetched once. Arguments pick some of them.
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/millrace
# What distroless has in its images `base`, `cc` and `python3`.
packages=base-files,ca-certificates,gcc-12-base,libc6,libgcc-s1,libgomp1,libssl3,libstdc++6,media-types,netbase,tzdata
packages+=,libbz2-1.0,libcom-err2,libcrypt1,libdb5.3,libexpat1,libffi8,libgssapi-krb5-2,libk5crypto3,libkeyutils1
packages+=,libkrb5-3,libkrb5support0,liblzma5,libncursesw6,libnsl2,libreadline8,libsqlite3-0,libtinfo6,libtirpc3
packages+=,libuuid1,zlib1g,libpython3.11-minimal,libpython3.11-stdlib,python3.11-minimal,python3-distutils

# make NAME OPTION...: that image, from its files if they have been fetched before.
make() {
    local root=$cache/$1-bookworm.tar container
    if [ ! -f "$root" ]; then
        mkdir -p "$cache"
        # Whole or not at all: what is found here is used.
        mmdebstrap --quiet --format=tar "${@:2}" \
            --dpkgopt='path-exclude=/usr/share/doc/*' \
            --dpkgopt='path-exclude=/usr/share/locale/*' \
            --dpkgopt='path-exclude=/usr/share/man/*' \
            bookworm "$root.$$" 2>"$root.log" || { cat "$root.log" >&2; exit 1; }
        mv "$root.$$" "$root"
    fi
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$root" / >/dev/null
    buildah commit --quiet --rm "$container" "localhost/$1" >/dev/null
}

[ $# -gt 0 ] || set -- debian python python-slim
# The hooks' $1 is mmdebstrap's.
# shellcheck disable=SC2016
for name in "$@"; do
    case $name in
        debian)
            make debian --variant=minbase --include=ca-certificates \
                --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr
            ;;
        python)
            # Unpacked and not configured: there is no shell in it to do that with.
            make python --variant=extract --include="$packages" \
                --setup-hook='cd "$1" && mkdir -p usr/bin usr/lib usr/lib64 usr/sbin' \
                --setup-hook='cd "$1" && ln -s usr/bin usr/lib usr/lib64 usr/sbin .' \
                --customize-hook='ln -s python3.11 "$1/usr/bin/python3"'
            ;;
        python-slim)
            make python-slim --variant=minbase --include=ca-certificates,python3,python3-pip,python3-venv \
                --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
                --customize-hook='ln -s python3 "$1/usr/bin/python"'
            ;;
        *)
            echo "There is no stand-in '$name'; there are debian, python and python-slim." >&2
            exit 2
            ;;
    esac
done
