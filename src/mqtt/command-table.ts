import { z } from 'zod';
import { manifestSchema } from '../models/manifest.js';
import { defineCommand, type Command } from './commands.js';

/** What commands do to the service. Every promise resolves to the `data` of the reply. */
export interface ServiceControl {
  setModel(id: string, signal: AbortSignal): Promise<object>;
  setRate(hz: number): Promise<object>;
  setPaused(paused: boolean, seconds?: number): Promise<object>;
  setThreshold(value: number, label?: string): Promise<object>;
  info(): object;
  models(): object;
  pullModel(request: PullRequest, signal: AbortSignal): Promise<object>;
  removeModel(id: string): Promise<object>;
  health(): object;
}

/** A model of the catalogue, or a ready network at an address. */
export type PullRequest = z.output<typeof pullRequest>;

/** A swap loads, checks and warms up a network; the largest take a minute on the smallest machine. */
const SWAP_TIMEOUT_MS = 180_000;
/** 350 MB over a slow line, and their conversion on a slow machine. */
const PULL_TIMEOUT_MS = 6 * 3600 * 1000;
const REMOVE_TIMEOUT_MS = 60_000;
const MAX_PAUSE_SECONDS = 7 * 24 * 3600;

const hz = z
  .number('has to be a number')
  .min(0.01, 'has to be at least 0.01 Hz')
  .max(20, 'has to be at most 20 Hz');
const threshold = z.number('has to be a number').min(0, 'has to be at least 0').max(1, 'has to be at most 1');
const seconds = z
  .number('has to be a number')
  .positive('has to be above 0')
  .max(MAX_PAUSE_SECONDS, 'has to be at most 7 days');

const sha256 = z
  .string()
  .toLowerCase()
  .regex(/^[0-9a-f]{64}$/, 'has to be a SHA-256: 64 hexadecimal digits')
  .optional();
const pullRequest = z.union(
  [
    z.strictObject({ id: manifestSchema.shape.id, sha256 }),
    z.strictObject({
      url: z.string().max(2048),
      sha256,
      /** As in model.json; `installer` checks it. */
      manifest: z.record(z.string(), z.unknown()),
      labels: z.array(z.string()).min(1).optional(),
    }),
  ],
  'has to be {"id"} for a model of the catalogue, or {"url","sha256","manifest"} for a network at an address',
);

/** A decimal number in plain text; anything else stays text, for the schema to refuse. */
function numberIn(text: string): unknown {
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : text;
}

function switchIn(text: string): unknown {
  const word = text.toLowerCase();
  if (word === 'on' || word === 'true') return true;
  if (word === 'off' || word === 'false') return false;
  return text;
}

/** The commands and what they do. */
export function commandTable(service: ServiceControl): Command[] {
  return [
    defineCommand({
      name: 'model/set',
      schema: z.strictObject({ id: manifestSchema.shape.id }),
      parseSet: (text) => ({ id: text }),
      exclusive: true,
      timeoutMs: SWAP_TIMEOUT_MS,
      run: ({ id }, { signal }) => service.setModel(id, signal),
    }),
    defineCommand({
      name: 'model/list',
      schema: z.strictObject({}),
      run: () => service.models(),
    }),
    defineCommand({
      name: 'model/pull',
      schema: pullRequest,
      exclusive: true,
      timeoutMs: PULL_TIMEOUT_MS,
      run: (input, { signal }) => service.pullModel(input, signal),
    }),
    defineCommand({
      name: 'model/remove',
      schema: z.strictObject({ id: manifestSchema.shape.id }),
      // A model that is being installed or loaded must not go away meanwhile.
      exclusive: true,
      timeoutMs: REMOVE_TIMEOUT_MS,
      run: ({ id }) => service.removeModel(id),
    }),
    defineCommand({
      name: 'rate/set',
      schema: z.strictObject({ hz }),
      parseSet: (text) => ({ hz: numberIn(text) }),
      run: (input) => service.setRate(input.hz),
    }),
    defineCommand({
      name: 'paused/set',
      schema: z.strictObject({ paused: z.boolean('has to be ON or OFF (in JSON true or false)') }),
      parseSet: (text) => ({ paused: switchIn(text) }),
      run: ({ paused }) => service.setPaused(paused),
    }),
    defineCommand({
      name: 'pause',
      schema: z.strictObject({ seconds: seconds.optional() }),
      run: (input) => service.setPaused(true, input.seconds),
    }),
    defineCommand({
      name: 'resume',
      schema: z.strictObject({}),
      run: () => service.setPaused(false),
    }),
    defineCommand({
      name: 'threshold/set',
      schema: z.strictObject({ value: threshold, label: z.string().min(1).max(200).optional() }),
      parseSet: (text) => ({ value: numberIn(text) }),
      run: ({ value, label }) => service.setThreshold(value, label),
    }),
    defineCommand({ name: 'info', schema: z.strictObject({}), run: () => service.info() }),
    defineCommand({ name: 'health', schema: z.strictObject({}), run: () => service.health() }),
  ];
}
