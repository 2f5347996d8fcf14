import { join } from 'node:path';
import { codeOf } from '../common/errors.js';
import { silentLogger } from '../common/log.js';
import { projectRoot } from '../common/project.js';
import { loadConfig } from '../config/load.js';
import type { EngineStream } from '../inference/engine.js';
import { optimizedFolderIn } from '../inference/optimized-copy.js';
import { createStartEngine } from '../inference/start-engine.js';
import { latestStreamRecord } from '../inference/stream-record.js';
import { verifyModel } from '../inference/verify.js';
import { licenceOf, readCatalogue, type CatalogueEntry } from '../models/catalogue.js';
import { megabytes } from '../common/size-text.js';
import type { FramesSpec } from '../models/manifest.js';
import { createRegistry, type InstalledModel, type ModelRegistry } from '../models/registry.js';
import { recommendedThreshold } from '../tagging/watch.js';
import type { CommandContext } from './context.js';
import { staleFramesAdvice } from './stale-frames.js';
import { clip, table } from './table.js';
import { summariseThresholds } from './thresholds.js';

/** The models that the configuration's data folder and the program hold. Where a former id is given, stderr says so. */
export function openRegistry(context: CommandContext): ModelRegistry {
  const { config, notes } = loadConfig(context);
  const tell = (note: string) => void process.stderr.write(`soundpost: ${note}\n`);
  notes.forEach(tell);
  return createRegistry({
    bundledFolder: bundledFolder(),
    dataDir: config.data_dir,
    log: { ...silentLogger, info: (_fields, message) => tell(message) },
  });
}

/** `soundpost models list`: what is here, what is broken, and what the catalogue has besides. */
export async function modelsListCommand(context: CommandContext): Promise<number> {
  const registry = openRegistry(context);
  const [models, problems, catalogue] = await Promise.all([
    registry.list(),
    registry.problems(),
    readCatalogue(bundledFolder()),
  ]);
  const here = new Set(models.map(({ manifest }) => manifest.id));
  const available = catalogue.models.filter(({ id }) => !here.has(id));
  if (context.json) {
    const broken = problems.map(({ id, error }) => ({ id, error: error.message }));
    const document = { models: models.map(summary), broken, available: available.map(catalogueSummary) };
    context.stdout.write(`${JSON.stringify(document)}\n`);
    return 0;
  }
  context.stdout.write(
    table(
      [
        ['ID', 'LABELS', 'MACS', 'MAP', 'SIZE', 'LICENCE', 'STATE'],
        ...models.map((model) => {
          const { manifest } = model;
          return [
            manifest.id,
            String(model.labels.length),
            amount(manifest.macs),
            manifest.metrics.audioset_map?.toFixed(3) ?? '-',
            manifest.source?.bytes == null ? '-' : megabytes(manifest.source.bytes),
            clip(shortLicence(manifest.licence), LICENCE_WIDTH),
            model.bundled ? 'bundled' : 'installed',
          ];
        }),
        ...available.map((entry) => [
          entry.id,
          // Sets end in their number: audioset-527, audioset-strong-447.
          entry.labels.replace(/^.*-/, ''),
          amount(entry.macs),
          entry.audioset_map?.toFixed(3) ?? '-',
          sizeOf(entry),
          shortLicence(licenceOf(entry)),
          entry.url === null ? 'no address' : 'available',
        ]),
      ],
      ID_WIDTH,
    ),
  );
  context.stdout.write(
    `\n${here.size} here, ${available.length} to be had with "npx soundpost models pull ID".\nMACs for 10 s of sound. Licence of the code / of the weights, ? where it is not\nstated. ~: about. "npx soundpost models info ID" has the rest.\n`,
  );
  for (const { id, error } of problems) context.stdout.write(`\nBROKEN ${id}: ${error.message}\n`);
  return 0;
}

/** `soundpost models info ID`: everything about one model, installed or known. */
export async function modelsInfoCommand(context: CommandContext, [id = '']: string[]): Promise<number> {
  const registry = openRegistry(context);
  let model: InstalledModel;
  try {
    model = await registry.get(id);
  } catch (error) {
    if (codeOf(error) !== 'model_unknown') throw error;
    const catalogue = await readCatalogue(bundledFolder());
    const entry = catalogue.models.find((candidate) => candidate.id === id);
    if (entry === undefined) throw error;
    context.stdout.write(
      context.json
        ? `${JSON.stringify({ ...catalogueSummary(entry), ...entry })}\n`
        : table(catalogueRows(entry)),
    );
    return 0;
  }
  const { manifest, labels, folder } = model;
  const stream = await streamOf(context, manifest.id);
  if (context.json) {
    const document = { ...summary(model), manifest, folder, labels, stream };
    context.stdout.write(`${JSON.stringify(document)}\n`);
    return 0;
  }
  const { input } = manifest;
  const catalogue = await readCatalogue(bundledFolder());
  const stale = staleFramesAdvice(model, catalogue.models);
  const released = catalogue.models.find(
    (entry) => entry.id === manifest.id && entry.architecture === manifest.architecture,
  );
  const rows = [
    ['id', manifest.id],
    ['title', manifest.title],
    ['family', `${manifest.family} (${manifest.architecture})`],
    ['folder', folder + (model.bundled ? ' (bundled)' : '')],
    [
      'input',
      `${input.kind}, ${input.sample_rate} Hz, ${input.window_seconds} s (at least ${input.min_seconds} s)`,
    ],
    ...(input.kind !== 'waveform'
      ? [
          [
            'front end',
            `${input.frontend.kind}, ${input.frontend.n_mels} mels, hop ${input.frontend.hop_length}`,
          ],
        ]
      : []),
    [
      'labels',
      `${labels.length}: ${labels
        .slice(0, 6)
        .map(({ name }) => name)
        .join('; ')} …`,
    ],
    ['thresholds', summariseThresholds(labels.map(recommendedThreshold))],
    ...framesRow(manifest.output.frames),
    ...(stale === undefined ? [] : [['frames', `none: ${stale}`]]),
    ...streamRow(stream),
    ['parameters', amount(manifest.parameters)],
    ['MACs', amount(manifest.macs)],
    ['AudioSet mAP', manifest.metrics.audioset_map?.toFixed(3) ?? '-'],
    ['licence', manifest.licence],
    ...(released?.licence.attribution == null ? [] : [['attribution', released.licence.attribution]]),
    ['source', manifest.source?.url ?? '-'],
    ['sha256', manifest.onnx_sha256],
  ];
  context.stdout.write(table(rows));
  return 0;
}

/** What the service has found out about a model as a stream; null where it has not tried. */
async function streamOf(
  context: CommandContext,
  id: string,
): Promise<EngineStream | { reason: string } | null> {
  const record = await latestStreamRecord(optimizedFolderIn(loadConfig(context).config.data_dir), id);
  if (record === null) return null;
  return 'reason' in record ? { reason: record.reason } : record.stream;
}

function streamRow(stream: EngineStream | { reason: string } | null): string[][] {
  if (stream === null) return [];
  if ('reason' in stream) return [['stream', `no: ${stream.reason}`]];
  const { gridSeconds, keptBytes, streamMs, wholeMs, leftEdge, scoreOff } = stream;
  const off =
    leftEdge === 'exact' ? '' : `, approximate: scores up to ${scoreOff.toFixed(3)} off when it was tried`;
  return [
    [
      'stream',
      `windows end every ${gridSeconds} s, ${megabytes(keptBytes)} are kept of each source, ${streamMs.toFixed(1)} ms a hop (whole window ${wholeMs.toFixed(1)} ms)${off}`,
    ],
  ];
}

/** What a model can tell of when. */
function framesRow(frames: FramesSpec | null): string[][] {
  if (frames === null) return [];
  const { role, hop_seconds: hop, context_seconds: context } = frames;
  return [['frames', `${role} every ${Math.round(1000 * hop)} ms, final ${context} s later`]];
}

/** `soundpost models verify ID`: digest, loading, and a check of the scores. Resolves to 1 where a step fails. */
export async function modelsVerifyCommand(context: CommandContext, [id = '']: string[]): Promise<number> {
  const { json, stdout } = context;
  const report = await verifyModel(id, {
    registry: openRegistry(context),
    startEngine: createStartEngine({ log: silentLogger }),
    onStep: ({ name, ok, detail }) => {
      if (!json) stdout.write(`${ok ? 'ok  ' : 'FAIL'}  ${name.padEnd(9)}  ${detail}\n`);
    },
  });
  if (json) stdout.write(`${JSON.stringify(report)}\n`);
  return report.ok ? 0 : 1;
}

function summary({ manifest, labels, bundled }: InstalledModel) {
  return {
    id: manifest.id,
    title: manifest.title,
    family: manifest.family,
    labels: labels.length,
    parameters: manifest.parameters,
    macs: manifest.macs,
    audioset_map: manifest.metrics.audioset_map ?? null,
    licence: manifest.licence,
    bundled,
  };
}

function catalogueSummary(entry: CatalogueEntry) {
  return {
    id: entry.id,
    title: entry.title,
    family: entry.family,
    labels: entry.labels,
    parameters: entry.parameters,
    macs: entry.macs,
    audioset_map: entry.audioset_map,
    bytes: entry.bytes,
    approximate_bytes: entry.approximate_bytes,
    licence: licenceOf(entry),
    url: entry.url,
  };
}

function catalogueRows(entry: CatalogueEntry): string[][] {
  const { licence, md5, evidence } = entry;
  const from = (source: string | undefined) => (source === undefined ? '' : ` (${source})`);
  const optional = (name: string, value: string | null) => (value === null ? [] : [[name, value]]);
  return [
    ['id', entry.id],
    ['title', entry.title],
    ['state', `not installed; get it with: npx soundpost models pull ${entry.id}`],
    ['family', `${entry.family} (${entry.architecture})`],
    ['input', `${entry.frontend ?? 'samples'}, ${entry.sample_rate} Hz`],
    ['labels', entry.labels],
    ['parameters', amount(entry.parameters)],
    ['MACs', `${amount(entry.macs)} for 10 s of sound`],
    ['AudioSet mAP', entry.audioset_map?.toFixed(3) ?? 'not stated'],
    ['licence', licenceOf(entry)],
    ...optional('', licence.evidence === null ? null : `of the weights: ${licence.evidence}`),
    ...optional('', licence.note),
    ...optional('attribution', licence.attribution),
    [
      'file',
      `${entry.file}, ${entry.bytes === null ? sizeOf(entry) : `${entry.bytes} bytes`}${from(evidence.bytes)}`,
    ],
    ['source', `${entry.url ?? 'no address is known'}${from(evidence.url)}`],
    [
      'sha256',
      entry.sha256 === null
        ? 'not known: pull asks you to accept what comes'
        : `${entry.sha256}${from(evidence.sha256)}`,
    ],
    ...optional('md5', md5 === null ? null : `${md5.value} (${md5.evidence})`),
    ...optional(
      '',
      md5 === null || entry.sha256 !== null ? null : 'finds a damaged file, does not prove who made it',
    ),
    ...optional('note', entry.note),
  ];
}

/** A longer id shifts its own row only. With it the widest row has 80 characters. */
const ID_WIDTH = 24;
const LICENCE_WIDTH = 11;

/** `MIT/?`: the licence of the code and that of the weights. */
function shortLicence(licence: string): string {
  const match = /^code (.+), weights (.+)$/.exec(licence);
  const word = (text: string | undefined) =>
    text === 'not stated' ? '?' : (text ?? '?').replace(/^CC-BY-[\d.]+$/, 'CC BY');
  return match === null ? licence.replace('unknown', '?') : `${word(match[1])}/${word(match[2])}`;
}

function sizeOf({ bytes, approximate_bytes }: CatalogueEntry): string {
  return bytes === null ? `~${megabytes(approximate_bytes)}` : megabytes(bytes);
}

/** A large number in four characters and a unit. */
function amount(count: number | null): string {
  if (count === null) return '-';
  const [value, unit] = count < 1e9 ? [count / 1e6, 'M'] : [count / 1e9, 'G'];
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${unit}`;
}

function bundledFolder(): string {
  return join(projectRoot(), 'models');
}
