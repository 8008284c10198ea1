#!/usr/bin/env bash
# Checks what cannot be run here: Dockerfile, compose file and systemd units. Needs hadolint, check-jsonschema and
# compose-lint (test/requirements.txt) on the PATH; the units are checked where systemd-analyze is.
set -euo pipefail
cd "$(dirname "$0")/.."

hadolint Dockerfile
check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml
compose-lint --fail-on high deploy/compose.yaml

# What the first stage of the image copies is enough to build the worker.
stage=$(mktemp -d)
awk '/^FROM/ { stage++ } stage == 1 && /^COPY/ { for (i = 2; i < NF; i++) print $i }' Dockerfile | xargs cp -r -t "$stage"
ln -s "$PWD/node_modules" "$stage/node_modules"
(cd "$stage" && npm run --silent build:worker)
rm -r "$stage"

if command -v systemd-analyze > /dev/null; then
  # The programs that the unit names are looked for: here they are those of this checkout.
  units=$(mktemp -d)
  sed "s|/opt/quicksilver|$PWD|" deploy/quicksilver.service > "$units/quicksilver.service"
  cp deploy/quicksilver.socket "$units"
  systemd-analyze verify "$units/quicksilver.service" "$units/quicksilver.socket"
fi
