#!/bin/bash
# Installs the newest Home Assistant from PyPI into a folder of its own, with a Python that it takes.
#
#   tools/home-assistant/install.sh FOLDER
#
# HOMEASSISTANT_VERSION: another version than the newest
# HOMEASSISTANT_PYTHON:  a Python that this version takes; without it, a tree of Debian is made in FOLDER/root that
#                        has one (as root; debootstrap is needed, 36 s), and Home Assistant is started in there
# HOMEASSISTANT_SUITE:   the suite of Debian for that; "forky" has Python 3.14
#
# FOLDER/start NAME starts it with the configuration FOLDER/root/srv/NAME. FOLDER/version is written last.
set -euo pipefail

if [ $# -ne 1 ]; then
  echo "usage: install.sh FOLDER" >&2
  exit 64
fi
mkdir -p "$1"
folder=$(cd "$1" && pwd)
root=$folder/root
here=$(cd "$(dirname "$0")" && pwd)
wanted=homeassistant${HOMEASSISTANT_VERSION:+==$HOMEASSISTANT_VERSION}
packages=/opt/homeassistant

say() { echo "home-assistant: $*" >&2; }

if [ -n "${HOMEASSISTANT_PYTHON:-}" ]; then
  inside=()
  place=$root$packages
  mkdir -p "$root/opt" "$root/tmp"
  scratch=$root/tmp
  "$HOMEASSISTANT_PYTHON" -m venv "$place"
else
  inside=(chroot "$root")
  place=$packages
  scratch=/tmp
  if [ ! -e "$root/made" ]; then
    suite=${HOMEASSISTANT_SUITE:-forky}
    say "a tree of Debian $suite"
    rm -rf "$root"
    # Every suite after Debian 10 is made like "sid"; an older debootstrap does not know the newest by name.
    # Some packages of the integrations are there as source only: hence the compiler.
    debootstrap --variant=minbase --include=python3,python3-venv,python3-dev,g++,libturbojpeg0,ca-certificates \
      "$suite" "$root" "${DEBIAN_MIRROR:-}" /usr/share/debootstrap/scripts/sid >"$folder/debootstrap.log"
    touch "$root/made"
  fi
  # The way to PyPI is this machine's: names and certificates.
  cp -L /etc/resolv.conf "$root/etc/resolv.conf"
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
  chroot "$root" python3 -m venv "$packages"
fi
mkdir -p "$root/srv"
cp "$here/requirements.py" "$root/tmp/requirements.py"

export PIP_CERT=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
export UV_CACHE_DIR=$scratch/uv UV_LINK_MODE=copy UV_NATIVE_TLS=1
unset PIP_FIND_LINKS
if [ -n "${PIP_INDEX_URL:-}" ]; then export UV_DEFAULT_INDEX=$PIP_INDEX_URL; fi

python() { "${inside[@]}" "$place/bin/python" "$@"; }
# Home Assistant installs with uv itself; pip searches for minutes here, and takes 1.6 GB of memory for it.
add() { "${inside[@]}" "$place/bin/uv" pip install --quiet --python "$place/bin/python" "$@"; }

say "$wanted from PyPI"
"${inside[@]}" "$place/bin/pip" install --quiet uv
# First without what it depends on: the versions that fit are in a file that it brings along.
add --no-deps "$wanted"
python "$scratch/requirements.py" constraints >"$root/tmp/constraints.txt"
version=$(python -c 'from importlib.metadata import version; print(version("homeassistant"))')
add --constraints "$scratch/constraints.txt" "homeassistant==$version"
# ("mqtt" imports "hassio".) It would fetch these at its first start, and the tests have no network.
python "$scratch/requirements.py" needs mqtt hassio recorder history logbook config >"$root/tmp/needs.txt"
say "$(wc -l <"$root/tmp/needs.txt") packages of its integrations"
add --constraints "$scratch/constraints.txt" --requirement "$scratch/needs.txt"
rm -rf "$root/tmp/uv"

cat >"$folder/start" <<START
#!/bin/sh
# Starts Home Assistant $version with the configuration \$1.
here=\$(cd "\$(dirname "\$0")" && pwd)
START
if [ -n "${HOMEASSISTANT_PYTHON:-}" ]; then
  cat >>"$folder/start" <<'START'
exec "$here/root/opt/homeassistant/bin/python" -m homeassistant --config "$here/root/srv/$1" --skip-pip --log-no-color
START
else
  cat >>"$folder/start" <<'START'
exec chroot "$here/root" /opt/homeassistant/bin/python -m homeassistant --config "/srv/$1" --skip-pip --log-no-color
START
fi
chmod +x "$folder/start"
echo "$version" >"$folder/version"
say "$version is in $folder"
