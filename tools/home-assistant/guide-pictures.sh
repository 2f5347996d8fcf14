#!/bin/bash
# Makes the pictures of docs/home-assistant.md (docs/images) with the real Home Assistant, its own pages, mosquitto, the
# service and Chromium (Debian: chromium mosquitto). Build first.
#
# SOUNDPOST_TEST_HOMEASSISTANT: the folder in which Home Assistant is, or is to be installed (.tmp/homeassistant)
set -euo pipefail
exec "$(dirname "$0")/with-home.sh" node dist/tools/home-assistant/guide-pictures.js
