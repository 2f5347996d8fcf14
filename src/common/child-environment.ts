/**
 * The variables that children are given, of those that are there. What else is in our environment is no business of
 * theirs: our own settings hold passwords, and a container engine puts keys to its own interfaces there (balena:
 * BALENA_SUPERVISOR_API_KEY). A child that parses what comes from the network has a use for neither.
 */
const ALLOWED: ReadonlySet<string> = new Set([
  // Where programs, libraries and files are, and in whose name.
  'PATH',
  'LD_LIBRARY_PATH',
  'LD_PRELOAD',
  'HOME',
  'USER',
  'LOGNAME',
  'SHELL',
  'TMPDIR',
  // Language and time.
  'LANG',
  'LANGUAGE',
  'TZ',
  // Node.js, and its fork() with the channel to us.
  'NODE_OPTIONS',
  'NODE_PATH',
  'NODE_V8_COVERAGE',
  'NODE_CHANNEL_FD',
  'NODE_CHANNEL_SERIALIZATION_MODE',
  // Sound servers and cards, for PortAudio and ffmpeg.
  'XDG_RUNTIME_DIR',
  'XDG_CONFIG_HOME',
  'DBUS_SESSION_BUS_ADDRESS',
  'PULSE_SERVER',
  'PULSE_COOKIE',
  'PULSE_SOURCE',
  'PULSE_RUNTIME_PATH',
  'PIPEWIRE_REMOTE',
  'PIPEWIRE_RUNTIME_DIR',
  'AUDIODEV',
  // The way ffmpeg takes to a stream, and which authorities it trusts.
  'http_proxy',
  'no_proxy',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  // Memory and threads.
  'MALLOC_ARENA_MAX',
  'OMP_NUM_THREADS',
]);

/** Families of such variables. */
const ALLOWED_PREFIXES = ['LC_', 'ALSA_', 'PA_ALSA_', 'JACK_'] as const;

/** The environment of child processes: what of ours they need, and `extra`. */
export function childEnvironment(extra: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const needed = Object.entries(process.env).filter(
    ([name]) => ALLOWED.has(name) || ALLOWED_PREFIXES.some((prefix) => name.startsWith(prefix)),
  );
  // ONNX Runtime 1.30 on Linux reports its use to its makers, and logs that into the folder of temporary files.
  return { ORT_DISABLE_TELEMETRY: '1', ...Object.fromEntries(needed), ...extra };
}
