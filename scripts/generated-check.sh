#!/usr/bin/env bash
# Checks every generated file that is committed against what made it. One function a file; add it to the list below.
set -euo pipefail
cd "$(dirname "$0")/.."

# models/*/manifest.json: sizes and SHA-256 of the files beside it.
manifests() { node scripts/check-manifests.ts models; }

# test/golden/*: what the quantized PyTorch reference computes with the shipped weights.
golden() { python3 -m training.export.golden --check; }

# test/golden/checkpoints/*: what transformers computes with tiny random checkpoints.
checkpoints() { python3 -m training.export.golden_checkpoints --check; }

for check in manifests golden checkpoints; do
  echo "generated: $check"
  "$check"
done
