import { z } from 'zod';
import type { SourceKind } from '../audio/source.js';
import type { ThresholdOrigin } from '../tagging/watch.js';

/*
 * What the topics of the contract carry. Each field says what it means, since the documents come from here; its
 * unit is the end of its name (`_hz`, `_ms`, …). `_mb` has meant MiB from the beginning, 1,048,576 bytes, and stays so;
 * everywhere else MB are 1,000,000 bytes.
 */

/** A moment as `isoTime` writes it. */
const time = z.iso.datetime({ precision: 3 });
/** When a message was written. */
const ts = time.describe('When this was written.');
const label = z.string().min(1).describe('Name of the sound, as the model has it.');
const mid = z
  .string()
  .nullable()
  .describe('AudioSet’s machine identifier of the label; null for a class of the model’s own.');
const score = z.number().min(0).max(1);
const milliseconds = z.number().nonnegative();
/** A reading that this machine does not have is null, never 0. */
const reading = z.number().nullable();
const flag = z.boolean().nullable();
const count = z.number().int().nonnegative();
/** The name of one of several sources of sound. */
const source = z.string().min(1);
const device = z.string().nullable();
export const availability = z.enum(['online', 'offline']);

const sourceKinds = ['microphone', 'file', 'stream', 'demo'] as const satisfies readonly SourceKind[];

/** In the order in which they win. */
const thresholdOrigins = [
  'thresholds',
  'group',
  'learnt',
  'threshold',
  'model',
  'label_set',
  'label_set_default',
  'default',
] as const satisfies readonly ThresholdOrigin[];

const modelSummary = z.object({
  id: z.string().describe('What commands call it.'),
  title: z.string().describe('What people call it.'),
  labels: count.nullable().describe('How many labels it knows.'),
  audioset_map: reading.describe('Published mean average precision on AudioSet, 0 to 1.'),
  macs: reading.describe('Multiplications and additions of one inference.'),
  time_resolution_s: reading
    .optional()
    .describe(
      'How finely it says when a sound is: the length of a frame, or that of a window where it only says what a window holds; null where that is not known before it is installed.',
    ),
});

export const info = z.object({
  schema_version: z
    .number()
    .int()
    .describe('Version of this contract; raised when its meaning grows. Nothing is ever renamed or removed.'),
  version: z.string().describe('Version of the program.'),
  device: z.object({
    id: z.string().describe('`device.id`, as in the topics.'),
    name: z.string().describe('`device.name`, for people.'),
  }),
  time_resolution_s: reading
    .optional()
    .describe(
      'How finely the model at work says when a sound is; null until one has been loaded. As long as a window: times of events are as coarse as that.',
    ),
  models: z.object({
    installed: z.array(modelSummary).describe('What `model/set` takes.'),
    known: z.array(modelSummary).describe('What `model/pull` takes.'),
  }),
  config: z
    .record(z.string(), z.unknown())
    .describe(
      'The effective configuration as docs/configuration.md names its keys, nested; secrets are `***`.',
    ),
  config_problems: z
    .array(z.string())
    .optional()
    .describe(
      'What was wrong with the configuration and is left out of it, a sentence for people each; only where the service was started to keep going (`run --keep-going`, as the container does).',
    ),
  safe_mode: z
    .string()
    .nullable()
    .optional()
    .describe(
      'Why the service does without the configured model and what was set over MQTT before, for people; null: it does not. It ends when a model is set, or with the next start after a change of the configuration.',
    ),
  thresholds: z
    .array(
      z.object({
        label,
        group: z.string().nullable().describe('The watched group that it is in; null for a single label.'),
        source: source.optional().describe('For which of several sources; only where there are several.'),
        threshold: score.describe('Score at which it starts an event.'),
        from: z
          .enum(thresholdOrigins)
          .describe(
            'Where that comes from. Of the settings: `thresholds` for single labels and groups, the `group`’s own, `threshold` for all. Recommended: by the `model`, by its `label_set` for this label, or `label_set_default` for all its other labels; `learnt`: found when the sound was taught. Else the `default`, 0.5.',
          ),
      }),
    )
    .optional()
    .describe(
      'The thresholds in force, for the labels and groups that `tagging.labels` or `labels/set` name and the model at work knows; empty where every label of the model is watched.',
    ),
  omitted: z
    .record(z.string(), count)
    .optional()
    .describe(
      'What was left out, so that every broker takes this message: the lists that were cut, and by how many entries; only where there are any.',
    ),
});

export const state = z.object({
  model: z.string().nullable().describe('Id of the model at work; null until one has been loaded.'),
  rate_hz: z.number().describe('Inferences per second that were asked for.'),
  effective_rate_hz: z.number().describe('Inferences per second after throttling.'),
  paused: z.boolean().describe('Whether listening has been paused.'),
  threshold: score
    .nullable()
    .describe(
      'Score at which a sound starts an event; null where each label has the one that is recommended for it.',
    ),
  labels: z
    .array(label)
    .describe('What may start an event: names of labels and groups; empty for every label of the model.'),
  labels_omitted: count.optional().describe('How many of `labels` were left out; only where there are any.'),
  source: z
    .enum(sourceKinds)
    .describe('Where the sound comes from; with several sources, that of the first.'),
  audio_device: device.describe(
    'The microphone that was chosen, as it was named; null for the default input, and for other sources.',
  ),
  sources: z
    .array(
      z.object({
        name: source.describe('As in `source/<source>/…`, and what commands take for `source`.'),
        source: z.enum(sourceKinds).describe('Where its sound comes from.'),
        audio_device: device.describe(
          'The microphone that was chosen for it; null for the default input, and for other sources.',
        ),
        paused: z.boolean().describe('Whether it has been paused.'),
        threshold: score
          .nullable()
          .describe('As `threshold` above, for this source; null where each label has its recommended one.'),
        labels: z.array(label).describe('What may start an event here; empty for every label of the model.'),
        labels_omitted: count
          .optional()
          .describe('How many of its `labels` were left out; only where there are any.'),
        audio: availability.describe('Whether its sound arrives.'),
      }),
    )
    .optional()
    .describe(
      'Each source, in the order of `audio.sources`; only where there are several. The fields above then say what was set for all of them.',
    ),
  telemetry_interval_seconds: z.number().positive().describe('Time between two messages on `telemetry`.'),
  learning: z
    .array(z.string())
    .optional()
    .describe('The sounds of one’s own that are being taught now, by their names (`learn/begin`).'),
  throttle: z.object({
    active: z.boolean().describe('Whether the rate is lowered at present.'),
    reason: z.string().nullable().describe('Why, for people; null where it is not.'),
  }),
  swap: z.object({
    state: z
      .string()
      .describe(
        '`idle`, or the step that long work is at: `downloading`, `converting`, `verifying`, `loading`.',
      ),
    model: z.string().nullable().describe('The model that is being worked on; null when idle.'),
    progress: score.nullable().describe('How far the step is, 0 to 1; null where that is not known.'),
  }),
  stand_in: z
    .object({
      for: z.string().describe('Id of the model that was given up.'),
      reason: z.string().describe('Why, for people.'),
      retry_at: ts.describe('When it is tried again.'),
    })
    .nullable()
    .optional()
    .describe(
      'Where a model was given up because it failed again and again: which one `model` stands in for; else null. It is tried again later and later, until it works or another model is chosen.',
    ),
});

const tagList = z.array(
  z.object({ label, mid, score: score.describe('0 to 1; not a probability of being right.') }),
);

export const tags = z.object({
  ts,
  seq: count.describe('Number of the window since the start; a gap is a window that was dropped.'),
  model: z.string().describe('Id of the model that answered.'),
  window: z.object({
    start: time.describe('When the sound that was looked at begins.'),
    end: time.describe('When it ends.'),
  }),
  tags: tagList.describe('What the whole window holds: the best `tagging.top_k` labels, best first.'),
  now: tagList.describe(
    'What the sound holds that is new since the message before, in the same form; may be empty. The same as `tags` with a model that cannot say when (see `time_resolution_s` in `info`).',
  ),
  level_dbfs: reading.describe(
    'RMS level since the window before; digital silence is -120, null where no sound came.',
  ),
  latency_ms: milliseconds.describe('From the arrival of the last sample to the hand-over of this message.'),
  idle: z
    .boolean()
    .optional()
    .describe(
      'True where it was so quiet (`inference.idle_below_dbfs`) that this was answered as silence, without asking the network; else false, or left out.',
    ),
});

export const event = z.object({
  id: z
    .string()
    .min(1)
    .describe('The same for the start and the end of one sound, and for a message that is delivered twice.'),
  event_type: z.enum(['started', 'ended']),
  label: label.describe('Name of the sound; in a group the strongest of its labels so far.'),
  mid,
  group: z.string().nullable().describe('Name of the watched group; null for a single label.'),
  score: score.describe('When it was decided that it started; at the end the last with which it was heard.'),
  peak: score.describe('The highest score so far.'),
  started_at: time.describe(
    'When the sound begins, as exactly as the model can tell (`time_resolution_s` in `info`).',
  ),
  ended_at: time.nullable().describe('When it ends; null in `started`.'),
  duration_s: z.number().nonnegative().nullable().describe('How long it lasted; null in `started`.'),
  detected_at: time.describe('When the service decided this: later than the sound itself.'),
  model: z.string().describe('Id of the model that heard it.'),
  source: source
    .optional()
    .describe('Name of the source that heard it, of several the loudest; only where there are several.'),
  sources: z
    .array(
      z.object({
        name: source.describe('Name of the source.'),
        score: score.describe('The highest score that it was heard with there.'),
        level_dbfs: reading.describe('Its RMS level there.'),
      }),
    )
    .optional()
    .describe(
      'All sources that heard this one sound (`fusion.window_seconds`), the loudest first; only where sources are put together.',
    ),
  clip: z
    .string()
    .optional()
    .describe(
      'Id of the clip of its sound, for the command `clip`; only where one is made (`clips.enabled`), of `ended`. Of a sound that several sources heard it is that of the loudest that makes one; the clip says in `source` which. It may come to nothing, where speech is in it.',
    ),
  /** The outbox writes it, whatever the publisher said. */
  late: z.boolean().describe('True where the message waited for the broker.'),
});

/** Of a watched label or group. */
export const heard = z.enum(['ON', 'OFF']);

/** What `event` said of it last. */
export const last = event.pick({
  id: true,
  label: true,
  score: true,
  peak: true,
  started_at: true,
  ended_at: true,
  duration_s: true,
});

export const level = z.object({
  ts,
  dbfs: reading.describe('RMS level; digital silence is -120.'),
  peak_dbfs: reading.describe('Highest sample.'),
  dba_fs: reading.optional().describe('A-weighted RMS level (IEC 61672): at 1 kHz the same as `dbfs`.'),
  leq_60s: reading
    .optional()
    .describe('Equivalent level of the last 60 s of sound, A-weighted like `dba_fs`.'),
  background_dbfs: reading
    .optional()
    .describe(
      'How quiet it is between sounds: a tenth of the last 10 minutes of sound stays below this; not weighted.',
    ),
  spl_dba: reading
    .optional()
    .describe('Sound pressure level, A-weighted; only where `audio.calibration_db` says what 0 dBFS is.'),
});

export const telemetry = z.object({
  ts,
  interval_seconds: z.number().positive().describe('Until the next message.'),
  uptime_s: z.number().nonnegative().describe('Since the service started.'),
  model: z.string().nullable().describe('Id of the model at work; null until one has been loaded.'),
  rate_hz: z.object({
    requested: z.number().describe('Inferences per second that were asked for.'),
    effective: z.number().describe('After throttling.'),
    measured: reading.describe('What was done; null while there are too few windows to tell.'),
  }),
  latency_ms: z
    .object({
      count: count.describe('Windows since the message before.'),
      mean: reading,
      p50: reading.describe('Median.'),
      p95: reading.describe('95 % of the windows were faster.'),
      p99: reading.describe('99 % of the windows were faster.'),
      max: reading,
      features_p50: reading.describe('Median of the time for the spectrogram.'),
      inference_p50: reading.describe('Median of the time for the network.'),
      queue_p50: reading.describe('Median of the wait for the inference process.'),
      publish_p50: reading.describe('Median of the time from the scores to the hand-over.'),
    })
    .describe(
      'From the arrival of a window’s last sample to the hand-over of its result, since the message before; null where there was no window.',
    ),
  windows: z
    .object({
      processed: count.describe('Windows that were answered.'),
      dropped: count.describe('Windows that were given up because inference fell behind.'),
      idle: count
        .optional()
        .describe('Of the processed ones, those that were answered as silence without asking the network.'),
      streamed: count
        .optional()
        .describe(
          'Of the processed ones, those for which only what is new was computed (`model.streaming`), the `begun` ones with them.',
        ),
      begun: count
        .optional()
        .describe('Windows for which a stream had to be begun anew: all of it was computed, once.'),
    })
    .describe('Since the start.'),
  soc: z
    .object({
      temperature_c: reading.describe('Hottest sensor of the processor.'),
      frequency_mhz: reading.describe('Clock of the first core.'),
      throttled: flag.describe('The firmware lowers the clock at present.'),
      under_voltage: flag.describe('The supply is too weak at present.'),
      throttled_since_boot: flag.describe('It has been lowered since the machine started.'),
    })
    .describe('The processor.'),
  host: z
    .object({
      cpu_percent: reading.describe('Of the whole machine; 100 is every core busy.'),
      load_1m: reading.describe('Load average of the machine.'),
      memory_rss_mb: reading.describe('Of the processes of this service together, in MiB (1,048,576 bytes).'),
      memory_available_mb: reading.describe('That the machine could still give, in MiB.'),
      disk_free_mb: reading.describe('In the data folder, in MiB.'),
    })
    .describe('The machine.'),
  audio: z.object({
    overruns: count.describe('Breaks in the sound.'),
    restarts: count.describe('How often the source was started again.'),
    clipped: count.optional().describe('Samples that were too loud for full scale after `audio.gain_db`.'),
  }),
  inference: z.object({
    restarts: count.describe('How often the inference process was started again.'),
    stream: z
      .object({
        grid_s: z.number().positive().describe('Full windows end on a grid of so many seconds.'),
        kept_mb: z
          .number()
          .nonnegative()
          .describe('What is kept of each source between two windows, in MiB (1,048,576 bytes).'),
        approximate: z
          .boolean()
          .optional()
          .describe(
            'Whether scores differ a little from those of whole windows (`model.streaming: approximate`).',
          ),
      })
      .nullable()
      .optional()
      .describe(
        'How the model at work is computed as a stream (`model.streaming`); null where each window is computed as a whole.',
      ),
  }),
  outbox: z.object({
    queued: count.describe('Events that wait for the broker.'),
    dropped: count.describe('Events that will never be delivered.'),
  }),
  commands: z
    .object({
      refused: count.describe('Requests that were answered with `busy`.'),
      unanswered: count.describe('Replies for which there was no room while the broker did not take them.'),
    })
    .optional()
    .describe('Since the start.'),
  sources: z
    .record(
      z.string(),
      z.object({
        processed: count.describe('Windows of this source that were answered.'),
        dropped: count.describe('Windows of this source that were given up because inference fell behind.'),
        idle: count.describe('Of the processed ones, those that were answered as silence without a run.'),
        streamed: count
          .optional()
          .describe('Of the processed ones, those for which only what is new was computed.'),
        begun: count.optional().describe('Windows for which its stream had to be begun anew.'),
        overruns: count.describe('Breaks in its sound.'),
        restarts: count.describe('How often it was started again.'),
        clipped: count.describe('Its samples that were too loud for full scale.'),
      }),
    )
    .optional()
    .describe(
      'Each source by its name, since the start; only where there are several. The counters above are those of all together.',
    ),
  event_loop_ms: z
    .object({ p50: reading, p99: reading, max: reading })
    .optional()
    .describe('Delay of the service’s event loop; only with `telemetry.event_loop`.'),
});

export const install = z.object({
  installed_version: z.string().describe('`not installed`, or the same as `latest_version`.'),
  latest_version: z.string().describe('Names the checkpoint that the model is made of.'),
  title: z.string().describe('What people call the model.'),
  release_summary: z
    .string()
    .max(255)
    .describe('Accuracy, size, effort and licence, in at most 255 characters.'),
  release_url: z.url().optional().describe('The page of the checkpoint, where it is known.'),
  in_progress: z.boolean().describe('Whether it is being installed.'),
  update_percentage: z
    .number()
    .int()
    .min(0)
    .max(100)
    .nullable()
    .describe('How far the installation is; null where that is not known, and while there is none.'),
});

export const log = z.object({
  ts,
  level: z.enum(['warn', 'error']),
  message: z.string().describe('A sentence for people.'),
  code: z.string().nullable().describe('Stable name of the kind of fault.'),
});

export const transaction = z
  .union([z.string().max(256), z.number()])
  .describe('What a requester may add to any request, at most 256 characters; it comes back in the reply.');

export const request = z.looseObject({ transaction: transaction.optional() });

const errorReply = z
  .object({
    code: z.string().describe('Stable name of the kind of fault, for programs.'),
    message: z.string().describe('What is wrong and what to do, for people.'),
  })
  .describe('Only where `status` is `error`.');
const replyData = z.record(z.string(), z.unknown());

export const response = z.discriminatedUnion('status', [
  z.object({
    status: z.literal('ok'),
    data: replyData.describe('As the command describes it.'),
    transaction: transaction.optional(),
  }),
  z.object({
    status: z.literal('error'),
    error: errorReply,
    data: replyData.describe('Empty.'),
    transaction: transaction.optional(),
  }),
]);
