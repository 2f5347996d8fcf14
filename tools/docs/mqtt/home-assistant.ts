import { discoveryTopic } from '../../../src/home-assistant/payload.js';
import type { JsonSchema } from './schema.js';

/** A topic outside of the device's own branch, of Home Assistant's discovery. */
export interface HomeAssistantTopic {
  readonly name: string;
  /** With `{prefix}`, `{device_id}`, `{source}` and `{status_topic}`. */
  readonly address: string;
  readonly description: string;
  readonly contentType: 'application/json' | 'text/plain';
  readonly payload: JsonSchema;
  readonly example?: unknown;
  /** From the side of the service. */
  readonly action: 'send' | 'receive';
}

const deviceSchema: JsonSchema = {
  type: 'object',
  properties: {
    device: { type: 'object' },
    origin: { type: 'object' },
    availability: { type: 'array', items: { type: 'object' } },
    availability_mode: { type: 'string', enum: ['all'] },
    components: { type: 'object' },
  },
  required: ['device', 'origin', 'availability', 'availability_mode', 'components'],
};

/** In the examples of all devices. */
const ofTheBox = {
  origin: { name: 'Soundpost' },
  availability: [{ topic: 'soundpost/attic/status' }],
  availability_mode: 'all',
};

export const homeAssistantTopics: readonly HomeAssistantTopic[] = [
  {
    name: 'homeAssistantDiscovery',
    address: discoveryTopic('{prefix}', '{device_id}'),
    description:
      'Describes the device and all of its entities to Home Assistant, retained with QoS 1; empty text takes it off the broker. What does not fit into one message follows at `{prefix}/device/soundpost_{device_id}/part_2/config` and so on.',
    contentType: 'application/json',
    payload: deviceSchema,
    // One of its entities.
    example: {
      device: { identifiers: ['soundpost_attic'], name: 'Attic' },
      ...ofTheBox,
      components: {
        label_dog: {
          platform: 'binary_sensor',
          name: 'Dog',
          unique_id: 'soundpost_attic_label_dog',
          device_class: 'sound',
          state_topic: 'soundpost/attic/label/dog',
        },
      },
    },
    action: 'send',
  },
  {
    name: 'homeAssistantSource',
    address: discoveryTopic('{prefix}', '{device_id}', { source: '{source}' }),
    description:
      'Only with several sources: describes one of them in the same way, as a device of its own behind that of the box. Further parts follow at `{prefix}/device/soundpost_{device_id}/source_{source}_P2/config` and so on.',
    contentType: 'application/json',
    payload: deviceSchema,
    example: {
      device: {
        identifiers: ['soundpost_attic:yard'],
        name: 'Attic Yard',
        via_device: 'soundpost_attic',
      },
      ...ofTheBox,
      components: {
        label_dog: {
          platform: 'binary_sensor',
          name: 'Dog',
          unique_id: 'soundpost_attic:yard:label_dog',
          device_class: 'sound',
          state_topic: 'soundpost/attic/source/yard/label/dog',
        },
      },
    },
    action: 'send',
  },
  {
    name: 'homeAssistantBirth',
    address: '{status_topic}',
    description:
      'Home Assistant has started: after `online` everything is sent again, within 1 to 10 s. Anything else is passed over.',
    contentType: 'text/plain',
    payload: { type: 'string' },
    example: 'online',
    action: 'receive',
  },
];
