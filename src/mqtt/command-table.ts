import type { z } from 'zod';
import type { clipSpecs } from './clip-specs.js';
import type { historySpecs } from './history-specs.js';
import type { learnSpecs } from './learn-specs.js';
import type { thresholdSpecs } from './threshold-specs.js';
import { commandSpecs, type CommandData, type CommandInput, type CommandName } from './command-specs.js';
import { defineCommand, type Command, type CommandContext, type CommandSpec } from './command.js';

/** What commands do to the service. Every promise resolves to the `data` of the reply. */
export interface ServiceControl {
  setModel(id: string, signal: AbortSignal): Promise<CommandData<'model/set'>>;
  setRate(hz: number): Promise<CommandData<'rate/set'>>;
  /** Here and below, `source` names one of several sources; without it all of them are meant. */
  setPaused(paused: boolean, seconds?: number, source?: string): Promise<CommandData<'pause'>>;
  /** Null takes back what was set. */
  setThreshold(value: number | null, label?: string, source?: string): Promise<CommandData<'threshold/set'>>;
  setLabels(
    labels: CommandInput<'labels/set'>['labels'],
    source?: string,
  ): Promise<CommandData<'labels/set'>>;
  setTelemetryInterval(seconds: number): Promise<CommandData<'telemetry/set'>>;
  inputs(signal: AbortSignal): Promise<CommandData<'audio/list'>>;
  /** Without `source` the only microphone is meant; where there are several it rejects with `source_required`. */
  setInput(
    device: string | number | null,
    signal: AbortSignal,
    source?: string,
  ): Promise<CommandData<'audio/set'>>;
  /** Ends the process, to be started again by whoever started it. */
  restart(): void;
  info(): Promise<CommandData<'info'>>;
  models(): Promise<CommandData<'model/list'>>;
  /** A quick look whether a pull could be carried out at all; rejects with what `pullModel` would say. */
  admitPull(request: PullRequest): Promise<void>;
  pullModel(request: PullRequest, signal: AbortSignal): Promise<CommandData<'model/pull'>>;
  /** Calls off the installation that is under way, if there is one. */
  cancelPull(): Promise<CommandData<'model/cancel'>>;
  removeModel(id: string): Promise<CommandData<'model/remove'>>;
  health(): Promise<CommandData<'health'>>;
  /** What was heard before. */
  readonly history: HandlersOf<keyof typeof historySpecs>;
  /** Thresholds from what was heard before. */
  readonly thresholds: HandlersOf<keyof typeof thresholdSpecs>;
  /** Sounds of one's own. */
  readonly learn: HandlersOf<keyof typeof learnSpecs>;
  /** The sound of it. */
  readonly clips: HandlersOf<keyof typeof clipSpecs>;
}

/** What carries out these commands. */
export type HandlersOf<Names extends CommandName> = {
  [K in Names]: (input: CommandInput<K>, context: CommandContext) => Promise<CommandData<K>>;
};

/** A model of the catalogue, or a ready network at an address. */
export type PullRequest = CommandInput<'model/pull'>;

type Handlers = HandlersOf<CommandName>;

type Admissions = { [K in CommandName]?: (input: CommandInput<K>) => Promise<void> };

/** `commandSpecs` in a form in which a name leads to the matching types. */
type Specs = { [K in CommandName]: CommandSpec<z.ZodType<CommandInput<K>>> };

/** The reply names the source that the request named. */
async function about<Data extends object>(source: string | undefined, data: Promise<Data>): Promise<Data> {
  return source === undefined ? data : { ...(await data), source };
}

/** Every command of `commandSpecs`, bound to what it does. */
export function commandTable(service: ServiceControl): Command[] {
  const handlers: Handlers = {
    'model/set': ({ id }, { signal }) => service.setModel(id, signal),
    'model/list': () => service.models(),
    'model/pull': (input, { signal }) => service.pullModel(input, signal),
    'model/cancel': () => service.cancelPull(),
    'model/remove': ({ id }) => service.removeModel(id),
    'rate/set': ({ hz }) => service.setRate(hz),
    'paused/set': ({ paused, source }) => about(source, service.setPaused(paused, undefined, source)),
    pause: ({ seconds, source }) => about(source, service.setPaused(true, seconds, source)),
    resume: ({ source }) => about(source, service.setPaused(false, undefined, source)),
    'threshold/set': ({ value, label, source }) => about(source, service.setThreshold(value, label, source)),
    'labels/set': ({ labels, source }) => about(source, service.setLabels(labels, source)),
    'telemetry/set': ({ interval_seconds }) => service.setTelemetryInterval(interval_seconds),
    'audio/list': (_, { signal }) => service.inputs(signal),
    'audio/set': ({ device, source }, { signal }) => about(source, service.setInput(device, signal, source)),
    restart: (_, { afterReply }) => {
      afterReply(() => service.restart());
      return Promise.resolve({ restarting: true });
    },
    info: () => service.info(),
    health: () => service.health(),
    ...service.history,
    ...service.thresholds,
    ...service.learn,
    ...service.clips,
  };
  const admissions: Admissions = { 'model/pull': (input) => service.admitPull(input) };
  const specs: Specs = commandSpecs;
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- ties the spec to its handler
  const bind = <K extends CommandName>(name: K): Command =>
    defineCommand<CommandInput<K>>(name, specs[name], handlers[name], admissions[name]);
  return (Object.keys(commandSpecs) as CommandName[]).map((name) => bind(name));
}
