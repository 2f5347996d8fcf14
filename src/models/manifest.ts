import { z } from 'zod';
import { sha256Hex } from '../common/rules.js';
import { frontendSchema } from '../features/spec.js';
import { parseJson } from './validate.js';

/** A model's name: of its folder, in topics, on the command line. */
export const modelIdSchema = z
  .string()
  .max(64)
  .regex(/^[a-zA-Z0-9][a-zA-Z0-9._-]*$/, 'letters, digits, ".", "_" and "-" only, not starting with a sign');

/** A file in the model's own folder, or a name of ours: never a path that could lead out of it. */
const plainName = z
  .string()
  .max(128)
  .regex(
    /^[a-zA-Z0-9_][a-zA-Z0-9._-]*$/,
    'a plain file name without folders: letters, digits, ".", "_" and "-"',
  );

/** Text that goes into topics and onto screens: a manifest may come from anybody. */
const line = (maxLength: number) =>
  z
    .string()
    .min(1)
    .max(maxLength)
    .regex(/^\P{Cc}*$/u, 'one line of text');

/** Name of an input or an output of a graph. */
const graphName = z.string().min(1).max(256);

const inputCommon = {
  /** Name of the graph's input. */
  name: graphName,
  sample_rate: z.number().int().min(4000).max(192000),
  window_seconds: z.number().positive().max(60),
  min_seconds: z.number().positive().max(60),
};

/**
 * An output of the graph that says *when*, [batch, frames, labels]: frame i covers the seconds
 * `offset_seconds + i · hop_seconds` of the window up to where the next one begins.
 */
const framesSchema = z.strictObject({
  /** Name of the graph's output; its numbers have the activation and the labels of the scores. */
  name: graphName,
  /** Name of the output with an embedding for each frame, [batch, frames, features]. */
  embedding: graphName.nullable().default(null),
  hop_seconds: z.number().min(0.005).max(10),
  offset_seconds: z.number().min(-10).max(10).default(0),
  /** So much sound behind the end of a frame is needed before its numbers are final. */
  context_seconds: z.number().min(0).max(60).default(0),
  /** How far a sound reaches beyond itself, to each side, because the numbers are means over neighbours. */
  spread_seconds: z.number().min(0).max(10).default(0),
  /**
   * How far back frames are looked at once more with each window, because the network thinks better of a sound when it
   * has heard more of it: only where their numbers depend on the whole window.
   */
  lookback_seconds: z.number().min(0).max(60).default(0),
  /**
   * `scores`: probabilities of their own, on the scale of the thresholds. `location`: where in the window a label is
   * that the scores of the window say is there.
   */
  role: z.enum(['scores', 'location']),
});

/** The same without names of outputs. */
export const frameGeometrySchema = framesSchema.omit({ name: true, embedding: true });

/** What a manifest says of an output with frames. */
export type FramesSpec = z.infer<typeof framesSchema>;

/** The manifest of a model, `model.json` beside `model.onnx`. */
export const manifestSchema = z
  .strictObject({
    id: modelIdSchema,
    title: line(200),
    family: line(100),
    architecture: line(100),
    input: z.discriminatedUnion('kind', [
      z.strictObject({
        kind: z.literal('log_mel'),
        /** Batch, 1, time, mel or batch, 1, mel, time. */
        layout: z.enum(['NCTF', 'NCFT']),
        frontend: frontendSchema,
        ...inputCommon,
      }),
      z.strictObject({ kind: z.literal('waveform'), ...inputCommon }),
      z.strictObject({
        kind: z.literal('waveform_log_mel'),
        /** Name of the graph's input of samples, [batch, samples]; `name` is that of the log-mel. */
        waveform_name: graphName,
        layout: z.enum(['NCTF', 'NCFT']),
        frontend: frontendSchema,
        ...inputCommon,
      }),
    ]),
    output: z.strictObject({
      /** Name of the graph's output with one score per label. */
      scores: graphName,
      /**
       * What still has to be done to the output: nothing, or where it gives logits a sigmoid (each label by itself) or a
       * softmax (one of all labels).
       */
      activation: z.enum(['none', 'sigmoid', 'softmax']),
      embedding: graphName.nullable().default(null),
      /** Null: the model only says what a window holds, not when. */
      frames: framesSchema.nullable().default(null),
    }),
    /** A label set that ships with the program (`audioset-527`), or a file beside the manifest (`labels.json`). */
    labels: plainName,
    /**
     * A file beside the manifest with thresholds (the file of labels may be it), or null. It wins over those of the
     * label set.
     */
    thresholds: plainName.nullable().default(null),
    metrics: z.looseObject({ audioset_map: z.number().nullable().optional() }).default({}),
    parameters: z.number().int().nonnegative().nullable().default(null),
    macs: z.number().nonnegative().nullable().default(null),
    licence: line(300).default('unknown'),
    source: z
      .strictObject({ url: z.string(), sha256: sha256Hex.nullable(), bytes: z.number().int().nullable() })
      .nullable()
      .default(null),
    onnx_sha256: sha256Hex,
  })
  .superRefine((manifest, context) => {
    const wrong = (path: string[], message: string) => {
      context.addIssue({ code: 'custom', path: ['input', ...path], message });
    };
    const { input } = manifest;
    const { frames } = manifest.output;
    if (frames !== null) {
      if (firstFinalSeconds(frames) > input.window_seconds) {
        context.addIssue({
          code: 'custom',
          path: ['output', 'frames', 'context_seconds'],
          message: `so little that a window of ${input.window_seconds} s has a frame that is final`,
        });
      }
    }
    if (input.min_seconds > input.window_seconds) {
      wrong(['min_seconds'], `at most window_seconds, which is ${input.window_seconds}`);
    }
    if (input.kind === 'waveform') return;
    const { frontend } = input;
    if (input.kind === 'waveform_log_mel') {
      const step = windowStep(input);
      for (const key of ['window_seconds', 'min_seconds'] as const) {
        const steps = (input[key] * input.sample_rate) / step;
        if (Math.abs(steps - Math.round(steps)) > 1e-6) {
          wrong([key], `a multiple of ${step / input.sample_rate}, so that both inputs have whole frames`);
        }
      }
      if (input.waveform_name === input.name) wrong(['waveform_name'], 'another input than "name"');
    }
    if (frontend.win_length > frontend.n_fft) {
      wrong(['frontend', 'win_length'], `at most n_fft, which is ${frontend.n_fft}`);
    }
    if (frontend.f_min >= frontend.f_max) {
      wrong(['frontend', 'f_min'], `less than f_max, which is ${frontend.f_max}`);
    }
    if (frontend.f_max > input.sample_rate / 2) {
      wrong(['frontend', 'f_max'], `at most half the sample rate, ${input.sample_rate / 2}`);
    }
    for (const key of ['mean', 'std'] as const) {
      const count = frontend[key]?.length;
      const wanted = frontend.kind === 'gmp' ? frontend.n_mels : undefined;
      if (count !== wanted) {
        wrong(
          ['frontend', key],
          wanted === undefined ? 'only for the kind "gmp"' : `a list of ${wanted} numbers`,
        );
      }
    }
  });

/** How long a window must be for the first frame in it to be final. */
export function firstFinalSeconds(
  frames: Pick<FramesSpec, 'offset_seconds' | 'hop_seconds' | 'context_seconds'>,
): number {
  return frames.offset_seconds + frames.hop_seconds + frames.context_seconds;
}

export type Manifest = z.infer<typeof manifestSchema>;

/** What is still to be done to the numbers of a network. */
export type Activation = Manifest['output']['activation'];

/**
 * A window is a whole multiple of so many samples. A network that takes samples and their log-mel joins the two by
 * frames, and pools both before: the first has one frame for every hop, the second one more, so the numbers only
 * agree while no hop is left over when they are halved (Wavegram_Logmel_Cnn14 of PANNs).
 */
export function windowStep(input: { kind: string; frontend?: { hop_length: number } }): number {
  return input.kind === 'waveform_log_mel' ? 2 * (input.frontend?.hop_length ?? 1) : 1;
}

/**
 * A manifest from the text of a file.
 * @param file its path, for messages.
 * @throws SoundpostError `model_manifest` naming the file, each key that is wrong and what is allowed there.
 */
export function parseManifest(text: string, file: string): Manifest {
  return parseJson(manifestSchema, text, file, 'model_manifest');
}
