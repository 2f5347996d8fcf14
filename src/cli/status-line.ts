import { clip, terminalWidth } from './table.js';

/** The parts of a terminal's stream that are needed. */
export type TerminalStream = Pick<NodeJS.WriteStream, 'isTTY' | 'columns' | 'write'>;

/**
 * The one line at the bottom of a terminal that is drawn over. It is on the screen only while nothing else is
 * written: whatever any part of the program writes to stdout or stderr first takes it away. So no message is ever
 * appended to it, whoever writes the message, and nothing of it stays behind when the program ends.
 */
export interface StatusLine {
  /** Draws it, in place of what it showed before. */
  show(text: string): void;
  clear(): void;
}

const CLEAR = '\r\x1b[K';

/**
 * @param stream where it is drawn; a terminal
 * @param others what else is written to the same terminal
 */
export function createStatusLine(stream: TerminalStream, others: readonly TerminalStream[]): StatusLine {
  let restore: (() => void) | null = null;

  const clear = () => {
    if (restore === null) return;
    restore();
    restore = null;
    stream.write(CLEAR);
  };

  /** From now on the first write of anybody else clears the line. */
  const watch = () => {
    const watched = new Set([stream, ...others.filter(({ isTTY }) => isTTY)]);
    const undo = [...watched].map((each) => {
      const had = Object.getOwnPropertyDescriptor(each, 'write');
      const write = each.write.bind(each);
      each.write = ((...args: Parameters<typeof write>) => {
        clear();
        return write(...args);
      }) as typeof each.write;
      return () => {
        if (had === undefined) delete (each as Partial<TerminalStream>).write;
        else Object.defineProperty(each, 'write', had);
      };
    });
    const onExit = () => clear();
    process.once('exit', onExit);
    restore = () => {
      process.off('exit', onExit);
      for (const step of undo) step();
    };
  };

  return {
    show(text) {
      // In one piece with what it replaces, so that it does not flicker.
      restore?.();
      restore = null;
      // A line that the terminal wraps could not be drawn over.
      stream.write(`${CLEAR}${clip(text, terminalWidth(stream) - 1)}`);
      watch();
    },
    clear,
  };
}
