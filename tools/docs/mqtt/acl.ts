import { contract, type TopicSpec } from '../../../src/mqtt/contract.js';

/** The base topic of the example; `mqtt.base_topic` by default. */
const BASE = 'soundpost';
const PREFIX = 'homeassistant';
const STATUS_TOPIC = 'homeassistant/status';

/** `config/examples/mosquitto.acl`: who may do what, made from the topics of the contract. */
export function mosquittoAcl(): string {
  const topics: TopicSpec[] = Object.values(contract);
  const below = (template: string) =>
    // The names of commands have several levels; those of labels and models have one.
    template.replace(/<command>$/, '#').replace(/<\w+>/g, '+');
  const rules = (direction: 'out' | 'in', access: string) =>
    topics
      .filter((spec) => spec.direction === direction)
      .map(({ template }) => `pattern ${access} ${BASE}/%u/${below(template)}`);
  const commands = topics
    .filter(({ direction }) => direction === 'in')
    .map(({ template }) => `topic write ${BASE}/+/${below(template)}`);

  return `${[
    '# Access rules for mosquitto. Written by "npm run docs" from src/mqtt/contract.ts; replace "soundpost" and',
    '# "homeassistant" where mqtt.base_topic, homeassistant.prefix or homeassistant.status_topic say something else.',
    '#',
    '# Every device has a user of its own, whose name is its device.id: "%u" below. With client certificates and',
    '# "use_identity_as_username true" that is the common name of its certificate. Nobody else may be called like a',
    '# device, and user names hold no "/", "+" or "#".',
    '',
    '# A device: writes what it says, reads what it is told, both in its own branch only.',
    ...rules('out', 'write'),
    ...rules('in', 'read'),
    '',
    '# Home Assistant discovery: the device announces itself and its sources, and hears that Home Assistant has',
    '# started. Leave it out where homeassistant.enabled is false.',
    `pattern write ${PREFIX}/device/soundpost_%u/config`,
    `pattern write ${PREFIX}/device/soundpost_%u/+/config`,
    `pattern read ${STATUS_TOPIC}`,
    '',
    '# The response topic of MQTT 5: one below the response topic of the device that is asked, such as',
    `# ${BASE}/attic/response/me, needs no rule of its own. For any other one the devices have to be allowed to write`,
    '# there and the requesters to read there. Any device could answer in the place of another one then; the replies',
    '# in its own branch are always its own.',
    '#pattern write answers/#',
    '',
    '# An operator: reads everything, commands every device.',
    'user operator',
    `topic read ${BASE}/#`,
    `topic read ${PREFIX}/#`,
    '#topic read answers/#',
    ...commands,
    '',
    '# Home Assistant: the same, its birth message, and the descriptions of devices, which it empties when one is',
    '# deleted there.',
    'user homeassistant',
    `topic read ${BASE}/#`,
    `topic read ${PREFIX}/#`,
    `topic write ${STATUS_TOPIC}`,
    `topic write ${PREFIX}/device/+/config`,
    `topic write ${PREFIX}/device/+/+/config`,
    ...commands,
    '',
    '# A dashboard: reads and does nothing.',
    'user dashboard',
    `topic read ${BASE}/#`,
  ].join('\n')}\n`;
}
