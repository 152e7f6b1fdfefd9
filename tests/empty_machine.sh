#!/usr/bin/env bash
# An empty machine, and what a clone of this repository does on it: Debian's smallest system with Python, make and
# the package registries, in namespaces of its own. It runs `make train` and `make test`, or the commands given, and
# prints what came of each. For root; docs/empty_machine.md tells more.
#   MACHINE=FOLDER  make it there and keep it; what is there is used again, with this HEAD
#   CACHE=FOLDER    keep there what pip, uv and apt download
#   DATA=FOLDER     lend it the real tables, where tests look for them
set -euo pipefail
if [ "$(id -u)" != 0 ] || ! command -v mmdebstrap >/dev/null || ! command -v git >/dev/null; then
    echo "An empty machine is made by root, with mmdebstrap: sudo apt-get install mmdebstrap git" >&2
    exit 2
fi
cd "$(dirname "$0")/.."

packages=python3,python3-venv,make,ca-certificates
# How registries are reached is the machine's business, so that is lent: variables, and settings of pip and uv.
variables='^(PIP_|UV_|SSL_CERT_|REQUESTS_CA_BUNDLE=|CURL_CA_BUNDLE=|(https?|no|all)_proxy=)'
settings=(/etc/pip.conf /etc/xdg/pip /etc/uv "$HOME/.pip" "$HOME/.config/pip" "$HOME/.config/uv")

# make_root ROOT: a Debian with `packages` and the settings.
make_root() {
    local path
    mmdebstrap --quiet --variant=minbase --include=$packages bookworm "$1"
    for path in "${settings[@]}"; do
        [ ! -e "$path" ] || copy "$path" "$1${path/#$HOME//root}"
    done
    printf '127.0.0.1 localhost\n127.0.1.1 empty\n' >"$1/etc/hosts"
    echo empty >"$1/etc/hostname"
    if [ -d /usr/local/share/ca-certificates ]; then
        cp -r /usr/local/share/ca-certificates "$1/usr/local/share"
        chroot "$1" update-ca-certificates >/dev/null
    fi
}

# copy FROM TO: with folders that are made for it.
copy() {
    mkdir -p "$(dirname "$2")"
    cp -rL "$1" "$2"
}

# The folders of this machine that pip's settings name: an index or wheels on the disk.
named_folders() {
    local path
    python3 -m pip config list 2>/dev/null | grep -oP "(?<=[' ]|file://)/[^' ]+" | sort -u |
        while read -r path; do [ ! -d "$path" ] || echo "$path"; done
}

# lend OPTIONS FROM TO: FROM, which is made if need be, is seen in the machine as TO.
lend() {
    mkdir -p "$2" "$root$3"
    mount --bind "$2" "$root$3"
    mount -o "remount,bind,$1" "$root$3"
}

# In the namespaces: mounts that end with them, then the machine. What is left to it is its arguments.
enter() {
    local folder
    hostname empty
    # To be a machine's root, which containers want to find, a folder must be a mount.
    mount --bind "$root" "$root"
    # And once more, without what is mounted in it: to be measured.
    mount --bind "$root" "$root/mnt"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/dev/shm"
    mount --rbind /sys "$root/sys"
    mount -t proc proc "$root/proc"
    cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    for folder in $(named_folders); do lend ro "$folder" "$folder"; done
    [ -z "${DATA:-}" ] || lend ro "$DATA" /root/shared/data
    if [ -n "${CACHE:-}" ]; then
        lend rw "$CACHE/apt" /var/cache/apt/archives
        lend rw "$CACHE/pip" /root/.cache/pip
        lend rw "$CACHE/uv" /root/.cache/uv
    fi
    mapfile -t lent < <(env | grep -E "$variables")
    cd "$root"
    pivot_root . .
    umount --lazy .
    # Ctrl-C means something in it even if this script runs in the background.
    exec env -i --default-signal=INT,QUIT "${lent[@]}" HOME=/root TERM=dumb PYTEST_ADDOPTS=-rfEs \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        bash -c "$(declare -f inside left_running left_mounted); inside \"\$@\"" inside "$@"
}

# In the machine: its commands one after the other, then what came of each. Fails if one of them has failed.
inside() {
    local command log summary shown began code failed=0
    cd /root/millrace
    log=$(mktemp) summary=$(mktemp)
    for command in "$@"; do
        echo "empty:~/millrace# $command"
        cat /proc/self/mounts >/tmp/mounts
        : >"$log"
        tail -f "$log" &
        shown=$!
        began=$SECONDS code=0
        # Not through a pipe: that would wait for whatever is left running.
        bash -c "$command" </dev/null >>"$log" 2>&1 || code=$? failed=1
        sleep 2
        kill $shown
        {
            printf '%s: exit code %s, %s s, %s MB on the disk\n' "$command" $code $((SECONDS - began - 2)) \
                "$(du -sm /mnt | cut -f1)"
            left_running
            left_mounted
            grep -E '^(FAILED|ERROR|SKIPPED) |^[0-9]+ (passed|failed).* in ' "$log" || true
        } >>"$summary"
    done
    echo
    cat "$summary"
    return $failed
}

# Processes that are none of this shell's.
left_running() {
    local process said
    for process in /proc/[0-9]*; do
        said=$(tr '\0' ' ' 2>/dev/null <"$process/cmdline") || continue
        [ -z "$said" ] || [ "$said" = "$(tr '\0' ' ' </proc/1/cmdline)" ] || echo "left running: $said"
    done
}

# Mounts that were not there before.
left_mounted() {
    diff /tmp/mounts /proc/self/mounts | sed -n 's/^> \(\S*\) \(\S*\) .*/left mounted: \2/p'
}

if [ "${1:-}" = --enter ]; then
    root=$2
    enter "${@:3}"
fi
[ $# -gt 0 ] || set -- "make train" "make test"
root=$(realpath -m "${MACHINE:-$(mktemp -d /var/tmp/empty_machine.XXXXXX)}")
[ -n "${MACHINE:-}" ] || trap 'rm -rf --one-file-system "$root"' EXIT
[ -d "$root/etc" ] || make_root "$root"
[ -d "$root/root/millrace" ] || git clone --quiet --no-hardlinks . "$root/root/millrace"
git -C "$root/root/millrace" fetch --quiet "$PWD" HEAD
git -C "$root/root/millrace" reset --quiet --hard FETCH_HEAD
echo "Debian in $root: $(du -sxm "$root" | cut -f1) MB. HEAD is $(git log -1 --format='%h, %s')."
unshare --mount --pid --ipc --uts --fork --kill-child bash "$PWD/tests/empty_machine.sh" --enter "$root" "$@"
