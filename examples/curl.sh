#!/usr/bin/env bash
# Completions with nothing but curl. See README.md beside this file.
set -euo pipefail

url=${QUICKSILVER_URL:-http://127.0.0.1:8787}

ask() {
  curl --silent --show-error --fail-with-body --no-buffer "$url$1" \
    --header 'content-type: application/json' --header "authorization: Bearer ${QUICKSILVER_KEY:-none}" --data "$2"
  echo
}

echo '# A completion between prompt and suffix for an editor: only text that can be shown, and only if confident.'
ask /v1/completions '{
  "model": "small", "editor": true,
  "prompt": "/** Adds numbers. */\nfunction sum(numbers) {\n  let total = 0;\n  for (let i = 0; i < numbers.",
  "suffix": "; i++) {\n    total += numbers[i];\n  }\n  return total;\n}\n"
}'

echo '# The same in the form of Inception and Mistral.'
ask /v1/fim/completions '{
  "model": "small", "editor": true, "max_tokens": 16,
  "prompt": "export function total(numbers: number[]): number {\n  let sum = 0;\n  for (const value of ",
  "suffix": ") {\n    sum += value;\n  }\n  return sum;\n}\n"
}'

echo '# Streamed.'
ask /v1/completions '{
  "model": "small", "editor": true, "stream": true,
  "prompt": "function clamp(value, min, max) {\n  if (value < min) return min;\n  if (value > max) return ",
  "suffix": ";\n  return value;\n}\n"
}'

echo '# The whole canvas at each denoising step: the text of a chunk replaces that of the previous chunk.'
ask /v1/completions '{
  "model": "small", "editor": true, "stream": true, "diffusing": true,
  "prompt": "function clamp(value, min, max) {\n  if (value < min) return min;\n  if (value > max) return ",
  "suffix": ";\n  return value;\n}\n"
}'
