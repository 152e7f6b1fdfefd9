#!/usr/bin/env bash
# Linters of everything that is delivered and is no Python: each prints its name, and what it finds.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
export PATH=$PWD/.venv/tools/bin:$PATH
failed=0

# check NAME COMMAND...: run it; what it says is shown if it fails.
check() {
    local said
    if said=$("${@:2}" 2>&1); then
        echo "$1: clean"
    else
        printf '%s: FAILED\n%s\n' "$1" "$said"
        failed=1
    fi
}

mapfile -t scripts < <(git ls-files '*.sh' .ci/run)
check shellcheck shellcheck "${scripts[@]}"
# actionlint's checks; it runs shellcheck on what workflows run.
check jactionlint jactionlint --no-color
check zizmor zizmor --offline --quiet --persona pedantic .github
check hadolint hadolint Dockerfile deploy/service.Dockerfile
check secrets bash deploy/secrets.sh
check licences .venv/bin/python -m deploy.licences --check
check kubernetes bash deploy/kubernetes/lint.sh
check yamllint yamllint --strict .

if command -v terraform >/dev/null; then
    check "terraform fmt" terraform fmt -check -recursive -diff deploy/terraform
else
    echo "terraform fmt: not run, for terraform is not here"
fi
check checkov checkov --directory deploy/terraform --framework terraform --skip-download --quiet --compact

exit $failed
