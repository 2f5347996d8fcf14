#!/bin/bash
# Runs the flow for Node-RED (deploy/node-red) in the real Node-RED, without its editor.
#
# SOUNDPOST_TEST_NODE_RED: the folder in which it is, or is to be installed (.tmp/node-red)
set -euo pipefail
cd "$(dirname "$0")/../.."
export SOUNDPOST_TEST_NODE_RED=${SOUNDPOST_TEST_NODE_RED:-$PWD/.tmp/node-red}
if [ ! -e "$SOUNDPOST_TEST_NODE_RED/node_modules/node-red/red.js" ]; then
  mkdir -p "$SOUNDPOST_TEST_NODE_RED"
  # Of version 5 on it needs a newer Node.js than this program.
  npm install --prefix "$SOUNDPOST_TEST_NODE_RED" --ignore-scripts --no-save --no-audit --no-fund node-red@4
fi
exec npx tap run --disable-coverage --reporter=tap --timeout=300 --jobs=1 dist/test/other-homes/*.test.js
