import { join } from 'node:path';
import { InferenceSession } from 'onnxruntime-node';
import type { Test } from 'tap';
import { findArchitecture } from '../../src/convert/architectures/index.js';
import { readGoldenArchitecture, writeNetwork } from './golden-architectures.js';
import { temporaryFolder } from './temporary.js';

/** The network of an architecture with the parameters of its golden outputs, in a session that a test's end releases. */
export async function goldenSession(test: Test, name: string): Promise<InferenceSession> {
  const path = join(temporaryFolder(test), 'model.onnx');
  await writeNetwork(findArchitecture(name), readGoldenArchitecture(name), path);
  const session = await InferenceSession.create(path, { intraOpNumThreads: 1, logSeverityLevel: 4 });
  test.teardown(() => session.release());
  return session;
}
