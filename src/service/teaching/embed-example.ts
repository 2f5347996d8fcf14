import { decodeFile } from '../../audio/decode.js';
import { SoundpostError } from '../../common/errors.js';
import type { Embedded } from '../../inference/embed-sound.js';
import { augment } from '../../learning/augment.js';
import { generalSound } from '../../learning/general-sound.js';
import type { EmbeddedExample } from '../../learning/leave-one-out.js';
import { joinRows, rowsOf, type Rows } from '../../learning/rows.js';
import { soundingPart, type SoundingPart } from '../../learning/sounding.js';

/** Has a piece of sound (mono, ±1) embedded by the model at work. */
export type Embed = (samples: Float32Array, sampleRate: number) => Promise<Embedded>;

/** What an example is to the model at work. */
export interface ExampleMade extends EmbeddedExample {
  readonly part: SoundingPart;
  readonly modelSha256: string;
}

/** Rate of sound that is made up. */
const GENERAL_RATE_HZ = 32_000;

/**
 * Finds the sound in `samples`, and embeds it and copies of it as it may sound another time.
 * @param options.within where in it the sound has to be, in samples: what is around it is the room
 * @param options.room level of the room without it, dBFS; null: taken from the samples
 * @param options.name what it is called in messages, as the beginning of a sentence
 * @throws SoundpostError `learn_silent`, `learn_too_short`, `learn_other_model`, and what `embed` throws.
 */
export async function embedExample(
  embed: Embed,
  samples: Float32Array,
  sampleRate: number,
  options: { within?: { from: number; to: number }; room: number | null; name: string; seed: number },
): Promise<ExampleMade> {
  const { room, name, seed } = options;
  const { from, to } = options.within ?? { from: 0, to: samples.length };
  const found = soundingPart(samples.subarray(from, to), sampleRate, { backgroundDbfs: room, name });
  const part = {
    ...found,
    fromSeconds: found.fromSeconds + from / sampleRate,
    toSeconds: found.toSeconds + from / sampleRate,
  };
  const rows: Rows[] = [];
  let modelSha256: string | null = null;
  for (const copy of augment(samples, sampleRate, { part, backgroundDbfs: room, seed })) {
    const embedded = await embed(copy.samples, sampleRate);
    if (modelSha256 !== null && embedded.modelSha256 !== modelSha256) {
      throw new SoundpostError(
        'learn_other_model',
        'The model was changed meanwhile. Give the example again.',
      );
    }
    ({ modelSha256 } = embedded);
    rows.push(rowsIn(embedded, copy.fromSeconds, copy.toSeconds));
  }
  const [plain] = rows;
  return { part, plain: plain!, taught: joinRows(rows, plain!.dim), modelSha256: modelSha256! };
}

/**
 * What the model makes of sounds that are nothing in particular: those that are made up, and the demo recording.
 * @param demo where that is; it is done without where it cannot be read
 */
export async function embedGeneral(embed: Embed, demo: string): Promise<{ rows: Rows; modelSha256: string }> {
  const made = await embed(generalSound(GENERAL_RATE_HZ), GENERAL_RATE_HZ);
  const recording = await decodeFile(demo).catch(() => null);
  const recorded = recording === null ? null : await embed(recording.samples, recording.sampleRate);
  const pieces = [...made.pieces, ...(recorded?.modelSha256 === made.modelSha256 ? recorded.pieces : [])];
  return { rows: rowsOf(pieces.map(({ embedding }) => embedding)), modelSha256: made.modelSha256 };
}

/** The embeddings of frames whose middle lies in a stretch; of whole windows those that touch it, which may be all. */
function rowsIn({ pieces, kind }: Embedded, fromSeconds: number, toSeconds: number): Rows {
  const fromMs = fromSeconds * 1000;
  const toMs = toSeconds * 1000;
  const inside = pieces.filter(({ startMs, endMs }) => {
    if (kind === 'window') return endMs > fromMs && startMs < toMs;
    const middle = (startMs + endMs) / 2;
    return middle >= fromMs && middle <= toMs;
  });
  const found =
    inside.length > 0 ? inside : pieces.filter(({ startMs, endMs }) => endMs > fromMs && startMs < toMs);
  return rowsOf(
    found.map(({ embedding }) => embedding),
    pieces[0]?.embedding.length ?? 0,
  );
}
