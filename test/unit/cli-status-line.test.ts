import { execFileSync } from 'node:child_process';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { createBar } from '../../src/cli/bar.js';
import { createProgress } from '../../src/cli/progress.js';
import { createStatusLine, type TerminalStream } from '../../src/cli/status-line.js';
import { projectPath } from '../support/shared.js';
import { skipWithout } from '../support/tools.js';

/** The lines that a terminal shows after it was given `text`: enough of one for what is written here. */
function shown(text: string): string[] {
  const lines = [''];
  let column = 0;
  // eslint-disable-next-line no-control-regex -- what a terminal is told
  for (const [part] of text.matchAll(/\x1b\[K|\r|\n|[^]/g)) {
    const line = lines.at(-1)!;
    if (part === '\n') {
      lines.push('');
      column = 0;
    } else if (part === '\r') column = 0;
    else if (part === '\x1b[K') lines[lines.length - 1] = line.slice(0, column);
    else {
      lines[lines.length - 1] = line.slice(0, column) + part + line.slice(column + 1);
      column += 1;
    }
  }
  return lines;
}

/** A terminal with two streams, as stdout and stderr are. */
function terminal(columns = 60): { out: TerminalStream; err: TerminalStream; lines: () => string[] } {
  let text = '';
  const stream = (): TerminalStream => ({
    isTTY: true,
    columns,
    write: (part: string | Uint8Array) => {
      text += String(part);
      return true;
    },
  });
  return { out: stream(), err: stream(), lines: () => shown(text) };
}

t.test('whatever is written takes the line away, whoever writes it', (t) => {
  const { out, err, lines } = terminal();
  const line = createStatusLine(err, [out, err]);
  line.show('half done');
  t.same(lines(), ['half done']);
  out.write('a result\n');
  t.same(lines(), ['a result', '']);
  line.show('nearly done');
  line.show('done');
  t.same(lines(), ['a result', 'done']);
  err.write('a warning\n');
  err.write('and one more\n');
  t.same(lines(), ['a result', 'a warning', 'and one more', '']);
  line.clear();
  t.same(lines(), ['a result', 'a warning', 'and one more', '']);
  line.show('last');
  line.clear();
  line.clear();
  t.same(lines(), ['a result', 'a warning', 'and one more', '']);
  t.end();
});

t.test('it leaves the streams as they were', (t) => {
  const { out, err } = terminal();
  const before = [out.write, err.write];
  const line = createStatusLine(err, [out, err]);
  line.show('x');
  line.show('y');
  line.clear();
  t.same([out.write, err.write], before);
  t.end();
});

t.test('a line that is too long for the terminal is clipped', (t) => {
  const { err, lines } = terminal(40);
  createProgress('tagging', err).update('too early to be shown');
  createStatusLine(err, []).show('x'.repeat(100));
  t.equal(lines().length, 1);
  t.ok(lines()[0]!.length < 40);
  t.end();
});

t.test('a bar says and is done', (t) => {
  const { err, lines } = terminal(80);
  const bar = createBar(err);
  bar.update({ fraction: 0.5, secondsLeft: 3, doing: 'measuring' });
  t.match(lines(), [/ 50 %, 3 s left, measuring/]);
  bar.say('mn04_as: too slow');
  t.same(lines(), ['mn04_as: too slow', '']);
  bar.done();
  t.same(lines(), ['mn04_as: too slow', '']);
  t.end();
});

t.test('on a real terminal, with an error and an end in the middle', { skip: skipWithout('script') }, (t) => {
  const url = pathToFileURL(projectPath('dist', 'src', 'cli', 'bar.js')).href;
  const program = `
    import { createBar } from '${url}';
    const bar = createBar();
    bar.update({ fraction: 0.1, secondsLeft: 3, doing: 'measuring' });
    console.error('soundpost: a message');
    await new Promise((done) => setTimeout(done, 150));
    bar.update({ fraction: 0.2, secondsLeft: 2, doing: 'measuring' });
    process.exit(0);`;
  const command = `${process.execPath} --input-type=module -e "$PROGRAM"`;
  const text = execFileSync('script', ['-qec', command, '/dev/null'], {
    env: { ...process.env, PROGRAM: program, NODE_OPTIONS: '' },
    encoding: 'utf8',
  });
  t.match(text, /10 %[^]*20 %/, 'the bar was drawn');
  t.same(shown(text.replaceAll('\r\n', '\n')), ['soundpost: a message', '']);
  t.end();
});
