/**
 * The environment of child processes: ours without our own settings, which hold passwords that no child has a use
 * for, least of all one that parses what comes from the network.
 */
export function childEnvironment(extra: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith('SOUNDPOST_'));
  // ONNX Runtime 1.30 on Linux reports its use to its makers, and logs that into the folder of temporary files.
  return { ORT_DISABLE_TELEMETRY: '1', ...Object.fromEntries(others), ...extra };
}
