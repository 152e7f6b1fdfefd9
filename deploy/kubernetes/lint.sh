#!/usr/bin/env bash
# What kustomize renders, by the schemas of two versions of Kubernetes and by checkov.
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH=$PWD/.venv/tools/bin:$PATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

for overlay in staging production; do
    kubectl kustomize "deploy/kubernetes/overlays/$overlay" >"$folder/$overlay.yaml"
    # With an image by its digest, as a deployment puts it in.
    kubectl kustomize "deploy/kubernetes/overlays/$overlay/release" \
        | sed "s|image: millrace-service\$|image: registry.example/service@sha256:$(printf '0%.0s' {1..64})|" \
            >"$folder/$overlay-release.yaml"
done
for version in 1.30.0 1.37.0; do
    kubernetes-validate --strict --quiet --no-warn --kubernetes-version $version "$folder"/*.yaml
done
checkov --config-file deploy/kubernetes/checkov.yaml --directory "$folder"
