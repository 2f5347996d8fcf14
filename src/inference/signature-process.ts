/**
 * Opens one ONNX file, says what its inputs and outputs are, and ends. It is forked by read-signature.ts and may be
 * killed at any time: a file that somebody gives may hang or break whoever opens it.
 */
import { failed } from '../common/failed.js';
import { leaveSignalsToParent } from '../common/signals.js';
import { checkDeclaredMemory, memoryFailure } from './network-memory.js';
import type { FromSignatureProcess, SignatureQuestion } from './read-signature.js';
import { loadRuntime, sessionOptions } from './runtime.js';

process.title = 'soundpost inference';
leaveSignalsToParent();
process.on('disconnect', () => process.exit(0));

async function answer({ path, memoryBytes }: SignatureQuestion): Promise<FromSignatureProcess> {
  try {
    checkDeclaredMemory(path, path, memoryBytes);
    const runtime = await loadRuntime();
    const session = await runtime.InferenceSession.create(path, {
      ...sessionOptions(1),
      // Nothing is computed.
      graphOptimizationLevel: 'disabled',
    });
    const plain = (values: typeof session.inputMetadata) =>
      values.map((value) => ({
        name: value.name,
        type: value.isTensor ? value.type : 'no tensor',
        shape: value.isTensor ? [...value.shape] : [],
      }));
    return {
      kind: 'signature',
      inputs: plain(session.inputMetadata),
      outputs: plain(session.outputMetadata),
    };
  } catch (error) {
    return failed(memoryFailure(path, error, memoryBytes) ?? error);
  }
}

process.on('message', (question: SignatureQuestion) => {
  void answer(question).then((said) => process.send?.(said, undefined, undefined, () => undefined));
});
