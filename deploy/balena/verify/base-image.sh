# shellcheck shell=bash disable=SC2154
# Part of verify.sh: stand-ins for the two images that the Dockerfiles start from.

# --- The base image: what node:22-bookworm-slim is made of, from Debian's and npm's servers.
base_image() {
  local tree=${VERIFY_TREE:-} root="$files/base"
  if [ -z "$tree" ]; then
    tree="$files/tree"
    say "debootstrap bookworm $arch"
    if [ "$arch" = "$native" ]; then
      debootstrap --arch="$arch" --variant=minbase bookworm "$tree" >"$work/debootstrap.log"
    else
      debootstrap --arch="$arch" --foreign --variant=minbase bookworm "$tree" >"$work/debootstrap.log"
      chroot "$tree" /debootstrap/debootstrap --second-stage >>"$work/debootstrap.log"
    fi
  fi
  local node=${VERIFY_NODE:-} npm=${VERIFY_NPM:-}
  [ -n "$node" ] || node="$files/$(cd "$files" && npm pack --silent "node-linux-$node_arch@22")"
  [ -n "$npm" ] || npm="$files/$(cd "$files" && npm pack --silent npm@10)"
  # Left out and set as Debian's slim image does it.
  mkdir -p "$root"
  tar -C "$tree" --numeric-owner --exclude='./usr/share/'{doc,man,locale,info}'/*' --exclude='./var/cache/apt/*' \
    --exclude='./var/lib/apt/lists/*' --exclude='./var/log/*' --exclude='./'{dev,proc,sys}'/*' \
    --exclude=./etc/resolv.conf --exclude=./etc/hosts -cf - . | tar -C "$root" --numeric-owner -xf -
  printf 'path-exclude /usr/share/%s/*\n' doc man locale info >"$root/etc/dpkg/dpkg.cfg.d/slim"
  echo 'APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };' >"$root/etc/apt/apt.conf.d/clean"
  # A file, not a pipe: podman reads it more than once.
  tar -C "$root" --numeric-owner -cf "$files/base.tar" .
  pod import --arch "$arch" "$files/base.tar" docker.io/library/debian:bookworm-slim >/dev/null 2>&1
  # Node as the official image has it: without OpenSSL's headers for other processors.
  mkdir "$files/node" && tar -xzf "$node" -C "$files/node"
  find "$files/node/package/include/node/openssl/archs" -mindepth 1 -maxdepth 1 \
    ! -name "$([ "$arch" = amd64 ] && echo linux-x86_64 || echo linux-aarch64)" -exec rm -rf {} +
  cp -r "$files/node/package/bin" "$files/node/package/include" "$root/usr/local/"
  chmod 755 "$root/usr/local/bin/node"
  mkdir -p "$root/usr/local/lib/node_modules" "$files/npm" && tar -xzf "$npm" -C "$files/npm"
  cp -r "$files/npm/package" "$root/usr/local/lib/node_modules/npm"
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
  ln -s ../lib/node_modules/npm/bin/npx-cli.js "$root/usr/local/bin/npx"
  echo 'node:x:1000:1000::/home/node:/bin/bash' >>"$root/etc/passwd"
  echo 'node:x:1000:' >>"$root/etc/group"
  install -d -o 1000 -g 1000 "$root/home/node"
  # The authorities that this machine trusts: a proxy between it and npm's server may have one of its own.
  install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/usr/local/share/authorities.crt"
  tar -C "$root" --numeric-owner -cf "$files/base.tar" .
  pod import --arch "$arch" -c 'ENV NODE_EXTRA_CA_CERTS=/usr/local/share/authorities.crt' \
    "$files/base.tar" docker.io/library/node:22-bookworm-slim >/dev/null 2>&1
  rm -rf "$files/base" "$files/base.tar" "$files/node" "$files/npm" "$files/tree"
}
