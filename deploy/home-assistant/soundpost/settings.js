/**
 * What the form of the app says, as settings of the program (docs/configuration.md). A field that is empty says
 * nothing: then soundpost.yaml counts, or the program's own default.
 *
 * @typedef {{ name: string, url: string }} Camera
 * @typedef {{
 *   name?: string, device_id?: string, labels?: string[], more_labels?: string[], groups?: object[],
 *   microphone?: boolean, gain_db?: number, cameras?: Camera[], threshold?: number, rate_hz?: number, model?: string,
 *   clips?: boolean, log_level?: string,
 * }} Options of config.yaml
 * @typedef {{ host: string, port: number, ssl?: boolean, username?: string, password?: string }} Broker as the
 *   Supervisor names it
 *
 * @param {Options} options
 * @param {Broker} broker
 * @returns {Record<string, string>} variables of the environment
 */
export function settingsOf(options, broker) {
  const host = broker.host.includes(':') ? `[${broker.host}]` : broker.host;
  const labels = [...(options.labels ?? []), ...(options.more_labels ?? []), ...(options.groups ?? [])];
  const settings = {
    'device.id': options.device_id,
    'device.name': options.name,
    'mqtt.url': `${broker.ssl === true ? 'mqtts' : 'mqtt'}://${host}:${broker.port}`,
    'mqtt.username': broker.username,
    'mqtt.password': broker.password,
    'tagging.labels': labels.length === 0 ? undefined : JSON.stringify(labels),
    'tagging.threshold': options.threshold,
    'inference.rate_hz': options.rate_hz,
    'model.id': options.model,
    'clips.enabled': options.clips,
    'log.level': options.log_level,
    'homeassistant.enabled': true,
    ...soundOf(options),
    // Home Assistant opens the page, and has asked who wants to see it; nobody else is let in.
    'web.enabled': true,
    'web.host': '0.0.0.0',
    'web.port': 8099,
    'web.ingress': true,
  };
  return Object.fromEntries(
    Object.entries(settings)
      .filter(([, value]) => value !== undefined && value !== null && value !== '')
      .map(([key, value]) => [`SOUNDPOST_${key.replaceAll('.', '_').toUpperCase()}`, String(value)]),
  );
}

/** One source has no name; of several each has one, and is a device of its own. */
function soundOf({ microphone = true, gain_db: gainDb, cameras = [] }) {
  if (!microphone && cameras.length === 0) return {};
  if (cameras.length === 0) {
    // What the Supervisor gives as the default input is what was chosen on the page of the app.
    return { 'audio.source': 'microphone', 'audio.device': 'default', 'audio.gain_db': gainDb };
  }
  if (!microphone && cameras.length === 1) return { 'audio.source': 'stream', 'audio.url': cameras[0].url };
  const heard = { name: 'microphone', source: 'microphone', device: 'default' };
  const sources = cameras.map(({ name, url }) => ({ name, source: 'stream', url }));
  if (microphone) sources.unshift({ ...heard, ...(gainDb === undefined ? {} : { gain_db: gainDb }) });
  return { 'audio.sources': JSON.stringify(sources) };
}
