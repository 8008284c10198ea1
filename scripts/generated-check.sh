#!/usr/bin/env bash
# Checks that every committed generated file is up to date. One function per file; add it to the list below.
set -euo pipefail
cd "$(dirname "$0")/.."

# models/*/manifest.json: sizes and SHA-256 of the files beside it.
manifests() { node scripts/check-manifests.ts models; }

# test/golden/*: results of the quantized PyTorch reference with the shipped weights.
golden() { python3 -m training.export.golden --check; }

# test/golden/checkpoints/*: results of transformers with tiny random checkpoints.
checkpoints() { python3 -m training.export.golden_checkpoints --check; }

for check in manifests golden checkpoints; do
  echo "generated: $check"
  "$check"
done
