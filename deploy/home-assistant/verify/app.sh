# shellcheck shell=bash disable=SC2154
# Part of deploy/balena/verify.sh --app: the image of the app for Home Assistant, as the Supervisor builds and starts
# it. The form is the one that config.yaml begins with; what the Supervisor gives is in test/support/app-run.ts.

verify_app() {
  local folder=deploy/home-assistant/soundpost run=dist/test/support/app-run.js
  [ -f "$run" ] || fail "the program is not built here (npm ci && npm run build)"

  # Into a cache that is thrown away, and not into the kernel.
  if apparmor_parser -Q -K "$folder/apparmor.txt" 2>"$work/apparmor.log"; then ok "the AppArmor profile can be compiled"; else bad "the AppArmor profile: $(tail -n 3 "$work/apparmor.log")"; fi

  if $build; then
    say "building $folder/Dockerfile for $arch"
    local started=$SECONDS
    if ! buildah "${store[@]}" build "${isolation[@]}" --network host --pull=never --layers="$keep" --format docker \
      --platform "linux/$arch" "${emulated[@]}" --build-arg SOUNDPOST_IMAGE=localhost/soundpost -t soundpost-app \
      "$folder" >"$work/build-app.log" 2>&1; then
      tail -n 30 "$work/build-app.log"
      fail "the app could not be built; the whole log is $work/build-app.log"
    fi
    ok "built in $((SECONDS - started)) s"
  fi
  local name place
  for name in soundpost soundpost-app; do
    place=$(pod image mount "$name")
    say "content of $name: $(du -xsm "$place" | cut -f1) MB"
    pod image unmount "$name" >/dev/null
  done

  if [ ${#emulated[@]} -gt 0 ]; then
    omit "it is started on $arch itself only"
    return
  fi
  say "started with options.json, the services' API, PulseAudio and a read-only root, where there is only loopback"
  local options found="$files/found.json"
  options=$(node --input-type=module -e '
    import { readFileSync } from "node:fs";
    import { parse } from "yaml";
    console.log(JSON.stringify(parse(readFileSync(process.argv[1], "utf8")).options));' "$folder/config.yaml")
  # The addresses of the Supervisor, of the app and of another app: those of app-run.ts.
  if ! timeout -s KILL 300 unshare --net sh -c '
    ip link set lo up
    for address in 172.30.32.2 172.30.33.5 172.30.33.9; do ip address add "$address/23" dev lo; done
    exec "$@"' sh node "$run" "$options" localhost/soundpost-app "${store[@]}" >"$files/found" 2>"$files/stderr"; then
    tail -n 40 "$files/stderr"
    fail "the app did not get through"
  fi
  tail -n 1 "$files/found" >"$found"
  local line
  while read -r line; do
    case $line in
      'ok '*) ok "${line#ok }" ;;
      *) bad "$line" ;;
    esac
  done < <(node deploy/home-assistant/verify/judge.js "$found" 2>&1)
}
