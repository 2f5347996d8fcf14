import type { LeftEdge } from '../convert/streaming/plan.js';

/** `model.streaming` of the configuration. */
type Streaming = 'auto' | 'approximate' | 'off';

const EDGES: Readonly<Record<Streaming, LeftEdge | null>> = {
  auto: 'exact',
  approximate: 'stream',
  off: null,
};

/** What the beginning of a window is made of where networks are streams; null where none is to be one. */
export function leftEdgeOf(streaming: Streaming): LeftEdge | null {
  return EDGES[streaming];
}
