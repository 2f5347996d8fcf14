import { stripVTControlCharacters } from 'node:util';
import type { Readable } from 'node:stream';
import { readLines } from '../child-lines.js';

/** What PortAudio, ALSA and JACK write on every start, whether or not anything is wrong. */
const EVERYDAY =
  /^(ALSA lib |Cannot connect to server|connect\(2\) call|attempt to connect to server|jack |JackShm|PortAudio V|Input |Finishing input|Expression ')/i;

/** More distinct lines than this are not remembered: a library that writes without end must not fill memory. */
const MOST_REMEMBERED = 300;
const LONGEST_LINE = 500;

/** Takes what a child writes; each line is passed on once, however often it is repeated. */
export interface Chatter {
  listenTo(stream: Readable): void;
  /** The last line that was not everyday talk: what a process said before it died. */
  lastWords(): string | undefined;
  /** To be called when another process starts; what was passed on already stays so. */
  restart(): void;
}

/** A filter for the lines that the native libraries write (150 at each start), one per microphone. */
export function createChatter(passOn: (line: string) => void): Chatter {
  const heard = new Set<string>();
  let last: string | undefined;
  const take = (raw: string) => {
    const line = stripVTControlCharacters(raw).trim().slice(0, LONGEST_LINE);
    if (line === '') return;
    if (!EVERYDAY.test(line)) last = line;
    if (heard.has(line) || heard.size >= MOST_REMEMBERED) return;
    heard.add(line);
    passOn(line);
  };
  return {
    listenTo: (stream) => readLines(stream, take),
    lastWords: () => last,
    restart() {
      last = undefined;
    },
  };
}
