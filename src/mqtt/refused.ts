/** A broker's answer to a publish or a subscribe, from 128 on a refusal. */
export interface Answer {
  /** MQTT 5 section 2.4; MQTT 3.1.1 has only 128, and only for a subscribe. */
  code: number;
  /** What the broker adds for people. */
  reasonString?: string | undefined;
}

/** What the codes mean, and what a person can do about them. `{topic}` is where the topic goes. */
const meanings: Readonly<Record<number, { name: string; advice: string }>> = {
  0x80: {
    name: 'unspecified error',
    advice: "the broker's access rules may not allow {topic}, or its log says more",
  },
  0x83: { name: 'implementation specific error', advice: "the broker's log should say more" },
  0x87: { name: 'not authorized', advice: "let this device {verb} {topic} in the broker's access rules" },
  0x8f: {
    name: 'topic filter invalid',
    advice: 'check mqtt.base_topic and device.id: the broker does not allow such a topic',
  },
  0x90: {
    name: 'topic name invalid',
    advice: 'check mqtt.base_topic and device.id: the broker does not allow such a topic',
  },
  0x95: { name: 'packet too large', advice: "raise the broker's limit on the size of a message" },
  0x96: {
    name: 'message rate too high',
    advice: "raise the broker's limit on the rate of messages, or lower the rate of inference",
  },
  0x97: { name: 'quota exceeded', advice: "raise the broker's quota for this device" },
  0x99: {
    name: 'payload format invalid',
    advice: 'the broker checks payloads and does not take ours; its rules for {topic} are to be changed',
  },
  0x9a: { name: 'retain not supported', advice: 'allow retained messages on the broker' },
  0x9b: { name: 'QoS not supported', advice: 'allow QoS 1 on the broker' },
  0xa2: {
    name: 'wildcard subscriptions not supported',
    advice: 'allow wildcards in subscriptions on the broker',
  },
};

/** Of codes about a connection rather than about one message. */
const otherNames: Readonly<Record<number, string>> = {
  0: 'an ordinary end',
  0x81: 'malformed packet',
  0x82: 'protocol error',
  0x93: 'receive maximum exceeded',
  0x94: 'topic alias invalid',
  0x98: 'administrative action',
  0x9c: 'use another server',
  0x9d: 'server moved',
  0x9f: 'connection rate exceeded',
  0xa0: 'maximum connect time',
};

/** The name of a reason code (MQTT 5 section 2.4), as far as it is of use to people. */
export function nameOfReason(code: number): string {
  return meanings[code]?.name ?? otherNames[code] ?? 'no reason that we know';
}

/** One clause that says what the broker answered and what to do: `not authorized (reason code 135): let this …`. */
export function describeRefusal(
  { code, reasonString }: Answer,
  verb: 'read' | 'write',
  topic: string,
): string {
  const { name, advice } = meanings[code] ?? { name: 'refused', advice: "the broker's log should say more" };
  const said = reasonString === undefined ? '' : `, and the broker says: ${printable(reasonString)}`;
  return `${name} (reason code ${code}${said}): ${advice.replace('{verb}', verb).replace('{topic}', topic)}`;
}

/** The answer in an error of the MQTT library for a publish, and the packet beside it; null: it is another error. */
export function answerIn(error: Error & { code?: unknown }, packet: unknown): Answer | null {
  if (typeof error.code !== 'number') return null;
  return { code: error.code, reasonString: reasonStringIn(packet) };
}

/** The topics that a SUBACK refuses, with the answer to each; none where the packet is no SUBACK. */
export function refusedTopics(topics: readonly string[], packet: unknown): (Answer & { topic: string })[] {
  if (typeof packet !== 'object' || packet === null || !('granted' in packet)) return [];
  const { granted } = packet;
  if (!Array.isArray(granted)) return [];
  return topics.flatMap((topic, index) => {
    const code: unknown = granted[index];
    return typeof code === 'number' && code >= 0x80
      ? { topic, code, reasonString: reasonStringIn(packet) }
      : [];
  });
}

function reasonStringIn(packet: unknown): string | undefined {
  const { properties } = (packet ?? {}) as { properties?: { reasonString?: unknown } };
  return typeof properties?.reasonString === 'string' ? properties.reasonString : undefined;
}

/** Text from outside, fit for one line of a log. */
export function printable(text: string): string {
  return text.replace(/\p{C}+/gu, ' ').slice(0, 200);
}
