import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import t from 'tap';
import type { InferenceRequest } from '../../src/inference/engine.js';
import { createRequestReader, writeRequest } from '../../src/inference/request-pipe.js';

const requests = fc.array(
  fc.record({
    source: fc.nat({ max: 255 }),
    samples: fc.float32Array({ maxLength: 40 }),
    reset: fc.boolean(),
    windowSamples: fc.nat({ max: 2 ** 32 - 1 }),
    frames: fc.option(
      fc.record({ from: fc.nat({ max: 500 }), to: fc.integer({ min: 501, max: 2 ** 32 - 1 }) }),
      { nil: undefined },
    ),
    columns: fc.nat({ max: 2 ** 32 - 1 }),
    embeddings: fc.boolean(),
    onGrid: fc.boolean(),
  }),
  { maxLength: 12 },
);

/** What arrives, in pieces of these sizes over and over. */
function deliver(bytes: Uint8Array, pieces: readonly number[]): InferenceRequest[] {
  const seen: InferenceRequest[] = [];
  // Each is looked at when it is complete, as the process does.
  const reader = createRequestReader((request) =>
    seen.push({ ...request, samples: request.samples.slice() }),
  );
  let at = 0;
  for (let turn = 0; at < bytes.length; turn += 1) {
    const room = reader.room();
    const size = Math.min(pieces[turn % pieces.length]!, room.length, bytes.length - at);
    room.set(bytes.subarray(at, at + size));
    reader.arrived(size);
    at += size;
  }
  return seen;
}

t.test('requests arrive as they were written, whatever the pieces', async (t) => {
  const property = fc.asyncProperty(
    requests,
    fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 8 }),
    async (sent, pieces) => {
      const pipe = new PassThrough();
      for (const request of sent) writeRequest(pipe, request);
      pipe.end();
      const parts: Uint8Array[] = [];
      for await (const part of pipe as AsyncIterable<Uint8Array>) parts.push(part);
      t.same(deliver(Buffer.concat(parts), pieces), sent);
    },
  );
  await fc.assert(property, { numRuns: 200 });
});

t.test('the samples of a request stay while the next one arrives', (t) => {
  const seen: Float32Array[] = [];
  const reader = createRequestReader(({ samples }) => seen.push(samples));
  for (const value of [1, 2]) {
    const bytes = new Uint8Array(
      Float32Array.of(...new Float32Array(Float64Array.of(2, 2, 0, 0, 0, 1, 0, 0, 0).buffer), value, value)
        .buffer,
    );
    for (const byte of bytes) {
      reader.room()[0] = byte;
      reader.arrived(1);
    }
  }
  t.same(
    seen.map((samples) => [...samples]),
    [
      [1, 1],
      [2, 2],
    ],
  );
  t.end();
});

t.test('what cannot be a header is refused', (t) => {
  for (const header of [
    [2 ** 31, 1, 0, 0, 0, 0, 0, 0, 0],
    [0, 1, 0, 0, 0, 256, 0, 0, 0],
    [NaN, 1, 0, 0, 0, 0, 0, 0, 0],
  ]) {
    const reader = createRequestReader(() => t.fail('no request'));
    reader.room().set(new Uint8Array(Float64Array.from(header).buffer));
    t.throws(() => reader.arrived(72), RangeError);
  }
  t.end();
});
