#!/usr/bin/env bash
# Checks files that cannot be run here: Dockerfile, compose file and systemd units. Needs hadolint, check-jsonschema and
# compose-lint (test/requirements.txt) on the PATH; the units are checked if systemd-analyze is installed.
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
  # systemd-analyze looks for the programs in the unit: use those of this checkout.
  units=$(mktemp -d)
  sed "s|/opt/quicksilver|$PWD|" deploy/quicksilver.service > "$units/quicksilver.service"
  cp deploy/quicksilver.socket "$units"
  systemd-analyze verify "$units/quicksilver.service" "$units/quicksilver.socket"
  rm -r "$units"
fi
