import { interruptible } from '../common/interrupt.js';
import { MOST_P95_OF_HOP, MOST_UTILISATION } from '../bench/models/recommend.js';
import type { Projection } from '../bench/models/projection.js';
import { recommendModels, type Recommendation } from '../bench/models/run-recommendation.js';
import { readMachine } from '../bench/models/model-bench-report.js';
import { describeMachine, short } from '../bench/models/table.js';
import { SoundpostError } from '../common/errors.js';
import { silentLogger } from '../common/log.js';
import { RATE_HZ, rateHz } from '../common/rules.js';
import { loadConfig } from '../config/load.js';
import { createStartEngine } from '../inference/start-engine.js';
import { readSoc } from '../telemetry/soc.js';
import { createBar } from './bar.js';
import type { CommandContext } from './context.js';
import { openRegistry } from './models.js';
import { table } from './table.js';
import { positive } from './tag.js';
import { programVersion } from './version.js';

const SECONDS = 90;
/** A model is measured for at least so long where nobody says how long it may take. */
const LEAST_SECONDS_PER_MODEL = 12;

/**
 * `soundpost recommend`: measures this board and names the installed models that hold the rate with headroom, best
 * mAP first. Resolves to 1 where none does.
 */
export async function recommendCommand(
  context: CommandContext,
  _args: string[],
  own: Record<string, string | boolean | undefined>,
): Promise<number> {
  const { config } = loadConfig(context);
  const rate = positive('--rate', own['rate'], config.inference.rate_hz);
  if (!rateHz.safeParse(rate).success) {
    throw new SoundpostError('usage', `--rate ${rate}: must be ${RATE_HZ.min} to ${RATE_HZ.max} Hz`);
  }
  const maxTemperature = positive('--max-temp', own['maxTemp'], 70);
  const models = await openRegistry(context).list();
  const seconds = positive(
    '--seconds',
    own['seconds'],
    Math.max(SECONDS, models.length * LEAST_SECONDS_PER_MODEL),
  );
  const { sys_root: sysRoot, proc_root: procRoot } = config.telemetry;
  const interrupt = interruptible(() => process.stderr.write('\ninterrupted\n'));
  const { signal } = interrupt;
  const bar = createBar();
  try {
    const recommendation = await recommendModels({
      models,
      wish: { rate_hz: rate, max_temperature_c: maxTemperature },
      seconds,
      threads: config.model.threads,
      machine: await readMachine({ sysRoot, procRoot, version: programVersion() }),
      startEngine: createStartEngine({ log: silentLogger }),
      readSoc: () => readSoc({ sysRoot }),
      signal,
      onProgress: (progress) => bar.update(progress),
    });
    bar.done();
    context.stdout.write(
      context.json ? `${JSON.stringify(recommendation)}\n` : formatRecommendation(recommendation),
    );
    return recommendation.recommended === null ? 1 : 0;
  } catch (error) {
    if (!signal.aborted) throw error;
    return interrupt.exitCode ?? 1;
  } finally {
    bar.done();
    interrupt.release();
  }
}

/** `~66 °C (58-75)`: an estimate with its range. */
function temperatureText(projection: Projection | null): string {
  if (projection === null) return '-';
  const { about_c: about, low_c: low, high_c: high } = projection;
  return `~${about.toFixed(0)} °C (${low.toFixed(0)}-${high.toFixed(0)})`;
}

/** The recommendation for people. */
export function formatRecommendation(recommendation: Recommendation): string {
  const { machine, wish, recommended, models, failed, heat, unknown } = recommendation;
  const percent = (part: number) => `${(part * 100).toFixed(part < 0.1 ? 1 : 0)} %`;
  const rows = models.map((model) => [
    model.id,
    model.published_map?.toFixed(3) ?? '-',
    percent(model.utilisation),
    `${short(model.p95_ms)} ms`,
    percent(model.p95_of_hop),
    short(model.highest_rate_hz),
    ...(heat === null ? [] : [temperatureText(model.projected_temperature_c)]),
    model.peak_mb === null ? '-' : `${model.peak_mb.toFixed(0)} MB`,
    [model.fits ? 'holds' : `no: ${model.reasons.join('; ')}`, ...model.warnings].join('; '),
  ]);
  const head = [
    'MODEL',
    'MAP',
    'BUSY',
    'P95',
    'OF HOP',
    'MAX HZ',
    ...(heat === null ? [] : ['TEMP']),
    'MEMORY',
    '',
  ];
  const verdict =
    recommended === null
      ? `No installed model holds ${wish.rate_hz} Hz on this board with headroom. Lower the rate (MAX HZ is what each holds), or install a smaller model ("npx soundpost models list").`
      : `Recommended for ${wish.rate_hz} Hz: ${recommended}\n  npx soundpost run --model.id ${recommended} --inference.rate_hz ${wish.rate_hz}`;
  return [
    describeMachine(machine),
    '',
    table([head, ...rows]).trimEnd(),
    '',
    `A model holds the rate when it is busy for at most ${percent(MOST_UTILISATION)} of the time, p95 is at most ${percent(MOST_P95_OF_HOP)} of a hop${heat === null ? '' : `, and no more than ${wish.max_temperature_c} °C are certain`}.`,
    ...failed.map(({ id, message }) => `FAILED ${id}: ${message}`),
    ...(unknown.length === 0 ? [] : ['', 'Not known:', ...unknown.map((line) => `  ${line}`)]),
    '',
    verdict,
    '',
  ].join('\n');
}
