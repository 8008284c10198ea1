#!/usr/bin/env bash
# Checks every generated file that is committed against what made it. One function a file; add it to the list below.
set -euo pipefail
cd "$(dirname "$0")/.."

# models/*/manifest.json: sizes and SHA-256 of the files beside it.
manifests() { node scripts/check-manifests.ts models; }

for check in manifests; do
  echo "generated: $check"
  "$check"
done
