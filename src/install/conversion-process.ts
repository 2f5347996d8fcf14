/**
 * The conversion process: reads one checkpoint, writes one network, and ends. It is forked by
 * convert-in-process.ts and may be killed at any time; what it has written is thrown away then.
 */
import { codeOf, messageOf } from '../common/errors.js';
import type { ConvertCheckpoint } from './conversion.js';
import type { FromConversion, ToConversion } from './convert-in-process.js';

process.title = 'soundpost conversion';
const CONVERTER: string = new URL('../convert/convert.js', import.meta.url).href;
// Ctrl-C reaches every process of the terminal; when to end is for the parent to say.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
process.on('disconnect', () => process.exit(0));

const say = (message: FromConversion, then: () => void = () => undefined) =>
  process.send?.(message, undefined, undefined, then);

process.once('message', (request: ToConversion) => {
  void (async () => {
    let last: FromConversion;
    try {
      const { convertCheckpoint } = (await import(CONVERTER)) as { convertCheckpoint: ConvertCheckpoint };
      const conversion = await convertCheckpoint({
        ...request,
        onProgress: (share) => say({ kind: 'progress', share }),
      });
      last = { kind: 'done', conversion };
    } catch (error) {
      last = { kind: 'failed', code: codeOf(error), message: messageOf(error) };
    }
    say(last, () => process.exit(0));
  })();
});
