import { capture } from './groups/capture.js';
import { cases } from './groups/cases.js';
import { configuration } from './groups/configuration.js';
import { host } from './groups/host.js';
import { inference } from './groups/inference.js';
import { mqttFaults } from './groups/mqtt.js';
import { sources } from './groups/sources.js';
import type { Inject } from './inject.js';
import type { FaultName } from './promises.js';

/** How each fault is injected; the compiler sees to it that there is one for every promise, and no other. */
export const matrix: Readonly<Record<FaultName, Inject>> = {
  ...capture,
  ...sources,
  ...inference,
  ...mqttFaults,
  ...host,
  ...configuration,
  ...cases,
} satisfies Record<FaultName, Inject>;
