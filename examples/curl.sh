#!/usr/bin/env bash
# Completions with nothing but curl. See README.md beside this file.
set -euo pipefail

url=${QUICKSILVER_URL:-http://127.0.0.1:8787}

ask() {
  curl --silent --show-error --fail-with-body --no-buffer "$url$1" \
    --header 'content-type: application/json' --header "authorization: Bearer ${QUICKSILVER_KEY:-none}" --data "$2"
  echo
}

echo '# A completion.'
ask /v1/completions '{"model": "nano", "prompt": "def add(a, b):\n    return ", "max_tokens": 16}'

echo '# A completion between prompt and suffix for an editor: one line, without text that is already there, only if confident.'
ask /v1/completions '{"model": "nano", "prompt": "def area(width, height):\n    return ", "suffix": "\n\nprint(area(2, 3))\n", "editor": true}'

echo '# Streamed.'
ask /v1/fim/completions '{"model": "nano", "prompt": "import json\n\n", "suffix": "\n\nmain()\n", "max_tokens": 64, "stream": true}'

echo '# The whole canvas at each denoising step: the text of a chunk replaces that of the previous chunk.'
ask /v1/completions '{"model": "nano", "prompt": "for i in range(10):\n", "max_tokens": 32, "stream": true, "diffusing": true}'
