import type { Test } from 'tap';
import { discoveryTopic } from '../../src/home-assistant/payload.js';
import { discover, type HomeEntity } from './home-assistant-schema.js';
import { render, stateOf } from './home-assistant-state.js';
import { createProbe, type Probe, type ProbeMessage } from './mqtt-probe.js';

/*
 * Home Assistant's part, played by its own rules: the description is read by the transcribed schema, every message by
 * the templates of the entities that listen to its topic.
 */

/** A device as Home Assistant hears of it. */
export interface HomeDevice {
  topic: string;
  /** The next description, which has to be one that Home Assistant takes. */
  described: (fits?: (entities: Map<string, HomeEntity>, removed: string[]) => boolean) => Promise<Described>;
}

/** What Home Assistant knows of one box. */
export interface Home extends HomeDevice {
  probe: Probe;
  /** The device of one of its several sources. */
  source: (name: string) => HomeDevice;
}

export interface Described {
  entities: Map<string, HomeEntity>;
  removed: string[];
  text: string;
}

/** Throws an Error that says what Home Assistant would say of it. */
export function readDescription(text: string): Described {
  const result = discover(text);
  if (result.entities === undefined) throw new Error(result.faults.join('\n'));
  return {
    entities: new Map(result.entities.map((entity) => [entity.id, entity])),
    removed: result.removed,
    text,
  };
}

export async function home(t: Test, url: string, id: string, prefix = 'homeassistant'): Promise<Home> {
  const probe = await createProbe(url, [`${prefix}/#`]);
  t.teardown(() => probe.close());
  const deviceOf = (source: string | null): HomeDevice => {
    const topic = discoveryTopic(prefix, id, { source });
    return {
      topic,
      described: async (fits = () => true) => {
        const takes = ({ text }: ProbeMessage) => {
          if (text === '') return false;
          const { entities, removed } = readDescription(text);
          return fits(entities, removed);
        };
        return readDescription((await probe.next(topic, takes, 60_000)).text);
      },
    };
  };
  return { probe, ...deviceOf(null), source: deviceOf };
}

/** What Home Assistant would complain of in its log, for everything that was published on the topics it listens to. */
export function complaints(entities: Map<string, HomeEntity>, messages: readonly ProbeMessage[]): string[] {
  const wrong: string[] = [];
  for (const entity of entities.values()) {
    for (const { topic, text, retain } of messages) {
      if (topic !== entity.config['state_topic'] || text === '') continue;
      try {
        stateOf(entity, text, { retained: retain });
      } catch (error) {
        wrong.push(`${entity.id}: ${String(error)}`);
      }
    }
  }
  return wrong;
}

/** The states of an entity in the order of the messages. */
export function states(entity: HomeEntity | undefined, messages: readonly ProbeMessage[]) {
  if (entity === undefined) throw new Error('no such entity');
  return messages
    .filter(({ topic, text }) => topic === entity.config['state_topic'] && text !== '')
    .map(({ text, retain }) => stateOf(entity, text, { retained: retain }));
}

/** Whether an entity is available after these messages: all that it depends on has said so. */
export function isAvailable({ config }: HomeEntity, messages: readonly ProbeMessage[]): boolean {
  const needed = (config['availability'] ?? []) as { topic: string; value_template?: string }[];
  return needed.every(({ topic, value_template: template }) => {
    const text = messages.findLast((message) => message.topic === topic)?.text;
    if (text === undefined) return false;
    return (template === undefined ? text : render(template, text)) === 'online';
  });
}
