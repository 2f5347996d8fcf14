import { join } from 'node:path';
import { silentLogger } from '../common/log.js';
import { projectRoot } from '../common/project.js';
import { loadConfig } from '../config/load.js';
import { createStartEngine } from '../inference/start-engine.js';
import { verifyModel } from '../inference/verify.js';
import { createRegistry, type InstalledModel, type ModelRegistry } from '../models/registry.js';
import type { CommandContext } from './context.js';
import { table } from './table.js';

/** The models that the configuration's data folder and the program hold. */
export function openRegistry(context: CommandContext): ModelRegistry {
  const { config } = loadConfig(context);
  return createRegistry({
    bundledFolder: join(projectRoot(), 'models'),
    dataDir: config.data_dir,
    log: silentLogger,
  });
}

/** `soundpost models list`: what is installed, and what is broken. */
export async function modelsListCommand(context: CommandContext): Promise<number> {
  const registry = openRegistry(context);
  const [models, problems] = await Promise.all([registry.list(), registry.problems()]);
  if (context.json) {
    const broken = problems.map(({ id, error }) => ({ id, error: error.message }));
    context.stdout.write(`${JSON.stringify({ models: models.map(summary), broken })}\n`);
    return 0;
  }
  context.stdout.write(
    table([
      ['ID', 'TITLE', 'LABELS', 'WINDOW', 'PARAMS', 'MACS', 'MAP', ''],
      ...models.map((model) => {
        const { manifest } = model;
        return [
          manifest.id,
          manifest.title,
          String(model.labels.length),
          `${manifest.input.window_seconds} s`,
          millions(manifest.parameters),
          millions(manifest.macs),
          manifest.metrics.audioset_map?.toFixed(3) ?? '-',
          model.bundled ? 'bundled' : '',
        ];
      }),
    ]),
  );
  for (const { id, error } of problems) context.stdout.write(`\nBROKEN ${id}: ${error.message}\n`);
  return 0;
}

/** `soundpost models info ID`: everything about one model. */
export async function modelsInfoCommand(context: CommandContext, [id = '']: string[]): Promise<number> {
  const model = await openRegistry(context).get(id);
  const { manifest, labels, folder } = model;
  if (context.json) {
    context.stdout.write(`${JSON.stringify({ ...summary(model), manifest, folder, labels })}\n`);
    return 0;
  }
  const { input } = manifest;
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
    ['parameters', millions(manifest.parameters)],
    ['MACs', millions(manifest.macs)],
    ['AudioSet mAP', manifest.metrics.audioset_map?.toFixed(3) ?? '-'],
    ['licence', manifest.licence],
    ['source', manifest.source?.url ?? '-'],
    ['sha256', manifest.onnx_sha256],
  ];
  context.stdout.write(table(rows));
  return 0;
}

/** `soundpost models verify ID`: digest, loading, and a check of the scores. Resolves to 1 where a step fails. */
export async function modelsVerifyCommand(context: CommandContext, [id = '']: string[]): Promise<number> {
  const { json, stdout } = context;
  const report = await verifyModel(id, {
    registry: openRegistry(context),
    startEngine: createStartEngine({ log: silentLogger }),
    onStep: ({ name, ok, detail }) => {
      if (!json) stdout.write(`${ok ? 'ok  ' : 'FAIL'}  ${name.padEnd(8)}  ${detail}\n`);
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

function millions(count: number | null): string {
  return count === null ? '-' : `${(count / 1e6).toFixed(count < 1e7 ? 2 : 1)} M`;
}
