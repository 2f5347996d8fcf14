import type { Label } from '../models/labels.js';

/*
 * What counts as speech where clips are not to hold any: all in which somebody may be heard saying something. Of
 * AudioSet's ontology that is
 * - Speech and all below it: male, female and child speech, conversation, narration, babbling, speech synthesizer;
 * - Whispering, which is speech without a voice;
 * - Shout and all below it (bellow, whoop, yell, battle cry, children shouting): words, and loud ones;
 * - Chatter, and Hubbub, speech noise, speech babble: the speech of many.
 * Not speech are the other sounds of a throat: screaming, laughter, crying, groaning. They carry no words, and people
 * watch for just these. Nor is singing (with rapping, choir, chant): its words are those of a song.
 */

/** AudioSet's identifiers; the names are those of models that have none of the former. */
const SPEECH: Readonly<Record<string, string>> = {
  '/m/09x0r': 'Speech',
  '/m/05zppz': 'Male speech, man speaking',
  '/m/02zsn': 'Female speech, woman speaking',
  '/m/0ytgt': 'Child speech, kid speaking',
  '/m/01h8n0': 'Conversation',
  '/m/02qldy': 'Narration, monologue',
  '/m/0261r1': 'Babbling',
  '/m/0brhx': 'Speech synthesizer',
  '/m/02rtxlg': 'Whispering',
  '/m/07p6fty': 'Shout',
  '/m/07q4ntr': 'Bellow',
  '/m/07rwj3x': 'Whoop',
  '/m/07sr1lc': 'Yell',
  '/m/04gy_2': 'Battle cry',
  '/t/dd00135': 'Children shouting',
  '/m/07rkbfh': 'Chatter',
  '/m/07qfr4h': 'Hubbub, speech noise, speech babble',
};

/** Classes of a model's own that say one of these words are taken for speech; one too many only loses a clip. */
const SPEECH_WORD = /\b(speech|speaking|talk(ing)?|conversation|whisper(ing)?|shout(ing)?|voices?)\b/i;
const NAMES: ReadonlySet<string> = new Set(Object.values(SPEECH).map((name) => name.toLowerCase()));

/** Whether somebody may be saying something where this label is heard. */
export function isSpeech({ mid, name }: Pick<Label, 'mid' | 'name'>): boolean {
  if (mid !== null && mid in SPEECH) return true;
  return NAMES.has(name.trim().toLowerCase()) || (mid === null && SPEECH_WORD.test(name));
}

/** Looks for speech in what a model says. */
export interface SpeechJudge {
  /**
   * Whether any of `frames` rows of scores, one of all labels after the other, reaches the threshold of speech.
   * @param width of a row: the labels of the model, and those that were learnt behind them
   */
  hears(scores: Float32Array, frames?: number, width?: number): boolean;
}

/** What holds where nobody recommends a threshold. */
const DEFAULT_THRESHOLD = 0.5;

/**
 * The judge for a model; null for one that knows no speech, under which nobody can say that a clip holds none.
 *
 * A label's threshold is the lower of the one in force and the recommended one: who raises thresholds to get fewer
 * events does not mean to keep more speech.
 * @param inForce the threshold that is set for a label; undefined where none is
 */
export function createSpeechJudge(
  labels: readonly Label[],
  inForce: (label: Label) => number | undefined = () => undefined,
): SpeechJudge | null {
  const speech = labels.filter(isSpeech);
  if (speech.length === 0) return null;
  const indexes = Int32Array.from(speech, ({ index }) => index);
  const thresholds = Float32Array.from(speech, (label) =>
    Math.min(inForce(label) ?? 1, label.threshold ?? DEFAULT_THRESHOLD),
  );
  return {
    hears(scores, frames = 1, width = labels.length) {
      for (let row = 0; row < frames; row += 1) {
        for (let each = 0; each < indexes.length; each += 1) {
          if (scores[row * width + indexes[each]!]! >= thresholds[each]!) return true;
        }
      }
      return false;
    },
  };
}
