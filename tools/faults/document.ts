import { groups, promises, type Group, type Promised } from './promises.js';

/** Text for a cell of a Markdown table. */
const cell = (text: string): string => (text === '-' ? '–' : text.replaceAll('|', '\\|'));

/** docs/reliability.md: the list of promises as people read it. */
export function reliabilityDocument(): string {
  const sections = (Object.keys(groups) as Group[]).map((group) => {
    const rows = Object.entries<Promised>(promises)
      .filter(([, promise]) => promise.group === group)
      .map(([name, promise]) => {
        const { fault, seen, goesOn, back, backSeconds, kept } = promise;
        const returns = backSeconds === null ? back : `${back}; ${backSeconds} s`;
        return `| ${[fault, seen, goesOn, returns, kept].map(cell).join(' | ')} | \`${name}\` |`;
      });
    return `## ${groups[group]}

| fault | what the operator sees | what goes on | what comes back by itself, and in what time at most | what is never lost | name |
| --- | --- | --- | --- | --- | --- |
${rows.join('\n')}
`;
  });
  return `# Reliability

For each fault: what the operator sees, what goes on, what comes back by itself and in what time, and what is never lost. This page and the program that injects the faults are made from one list (\`tools/faults/promises.ts\`); \`npm run faults -- --document\` writes it.

\`\`\`sh
npm run faults                       # injects every one of them into the built service, and measures: about half an hour
npm run faults -- --only broker-killed,disk-full
npm run faults -- --group host --json
npm run chaos -- --minutes 60        # faults in random order, then back to normal: nothing may be left of them
npm run fuzz                         # 100,000 inputs through every door
\`\`\`

It prints fault, promise, measured and whether the promise was kept, and ends with 1 where one was not. A fault that the machine has no means for (a file system of its own needs root; the clock needs libfaketime; a microphone without hardware needs PulseAudio and ffmpeg) is named as not run, never as kept.

Words: _all events_ are those that the service wrote to its outbox, which is before it publishes them. What was heard in the last moment before a loss of power and is not yet on the disk is not promised. A _moment_ is the time of one write.

${sections.join('\n')}
## Reading the names

\`B\` is \`<mqtt.base_topic>/<device.id>\` ([mqtt.md](mqtt.md)). Times are upper limits on a small computer; most things come back within a few seconds. Reconnecting waits between 1 and 60 s, longer after each failure.
`;
}
