import type { PipelineEvents } from '../../src/inference/pipeline.js';

/** For a pipeline of which only results matter. */
export const quietEvents: Omit<PipelineEvents, 'result'> = {
  modelChanged: () => undefined,
  engineLost: () => undefined,
  fellBack: () => undefined,
  stillOut: () => undefined,
  cameBack: () => undefined,
};
