#!/usr/bin/env bash
# Asks PyPI's advisories about all that requirements/ locks. Ends with 1 if flaws are known of something, and with 2 if
# not all could be asked about: what was not asked about has not passed. Arguments go to pip-audit.
#   bash deploy/audit.sh --vulnerability-service osv
set -euo pipefail
cd "$(dirname "$0")/.."

flawed=0
# One by one: a library may be locked in several, in several versions.
for lock in requirements/*.txt; do
    if said=$(.venv/tools/bin/pip-audit --strict --disable-pip --progress-spinner off --requirement "$lock" "$@" 2>&1); then
        echo "$lock: no flaws are known."
    elif grep -q "^Found [0-9]* known vulnerabilit" <<<"$said"; then
        printf '%s: FLAWED\n%s\n' "$lock" "$said"
        flawed=1
    else
        why=$(tail -n 1 <<<"$said")
        echo "error: $lock has not been audited, as not all of it could be asked about: ${why:0:300}" >&2
        exit 2
    fi
done
exit $flawed
