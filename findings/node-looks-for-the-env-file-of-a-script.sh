#!/usr/bin/env bash
# Node, `node script.js --env-file FILE`: an argument of the script with this name is looked at by Node itself. Where
# the file is missing, Node says so in its own words, exits with 9 and does not run the script, although the options of
# Node end at the script's name. Where the file exists, it is not loaded either: the argument is the script's after all.
# So a script with such an option cannot report a missing file in its own form. Behind `node -- script.js` it can.
#
# Versions  Node 24.21.0
# Source    https://nodejs.org/api/cli.html ("node [options] [V8 options] [<program-entry-point> | -e "script" | -] [--]
#           [arguments]")
# Seen      there: 0 undefined | missing: 9 node_modules/node/bin/node: missing.env: not found |
#           missing, behind --: 0 undefined
# Exits with 1 when the script is run in all three cases.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' > package.json
npm install --silent --no-audit --no-fund node@24.21.0
node=node_modules/node/bin/node
echo 'NAME_IN_FILE=1' > there.env
echo 'console.log(process.env.NAME_IN_FILE);' > script.js
seen() {
  local output code=0
  output=$("$@" 2>&1) || code=$?
  echo "$code $output"
}
found=$(seen $node script.js --env-file there.env)
missing=$(seen $node script.js --env-file missing.env)
behind=$(seen $node -- script.js --env-file missing.env)
echo "there: $found | missing: $missing | missing, behind --: $behind"
[ "$found" = '0 undefined' ] && [ "${missing%% *}" = 9 ] && [ "$behind" = '0 undefined' ]
