#!/usr/bin/env bash
# Checks that every committed generated file is up to date. One function per file; add it to the list below.
set -euo pipefail
cd "$(dirname "$0")/.."

# models/*/manifest.json: sizes and SHA-256 of the files in its folder.
manifests() { node scripts/check-manifests.ts models; }

# test/golden/*: what the quantized PyTorch reference computes with the shipped weights.
golden() {
  python3 -m training.export.golden --check
  python3 -m training.export.golden --shifted --check
}

# test/golden/checkpoints/*: results of transformers with tiny random checkpoints.
checkpoints() { python3 -m training.export.golden_checkpoints --check; }

# test/golden/tokenizers/*: results of the tokenizers library for difficult texts; and its Unicode tables.
tokenizers() {
  python3 -m training.export.tokenizer_parity --golden --check
  python3 -m training.export.unicode_classes --check
}

for check in manifests golden checkpoints tokenizers; do
  echo "generated: $check"
  "$check"
done
