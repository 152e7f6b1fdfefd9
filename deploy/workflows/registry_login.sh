#!/usr/bin/env bash
# Log Docker in to REGISTRY, which is of the kind REGISTRY_KIND. Where a registry takes the workflow's own identity
# no key is kept: `ecr` asks AWS, whose role the job has, `artifact-registry` has REGISTRY_TOKEN from Google's
# exchange, `ghcr` from GitHub. `docker-hub` needs a token of REGISTRY_USER's that may only push.
set -euo pipefail

host=${REGISTRY:?the registry to push to, HOST/PATH} user=${REGISTRY_USER:-}
host=${host%%/*}
case ${REGISTRY_KIND:-} in
    docker-hub) host=docker.io ;;
    ghcr) ;;
    ecr)
        user=AWS
        REGISTRY_TOKEN=$(aws ecr get-login-password)
        ;;
    artifact-registry) user=oauth2accesstoken ;;
    *)
        echo "REGISTRY_KIND is '${REGISTRY_KIND:-}'; known: docker-hub, ghcr, ecr, artifact-registry." >&2
        exit 2
        ;;
esac
: "${user:?REGISTRY_USER is not set}" "${REGISTRY_TOKEN:?is not set}"
# By standard input: arguments can be read by everybody on the machine.
printf %s "$REGISTRY_TOKEN" | "${BUILDER:-docker}" login --username "$user" --password-stdin "$host"
