import { InferenceSession, Tensor } from 'onnxruntime-node';
import { tone } from './tone-models.js';

/*
 * Loads a waveform model by its path and runs it on one second of a 16 kHz tone, in a process of its own, since
 * some of the models hang or crash: node run-onnx.js PATH HZ AMPLITUDE [RANK]. Says on stdout how far it came.
 */
const [path = '', hz = '500', amplitude = '0', rank = '2'] = process.argv.slice(2);
const say = (line: unknown): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

const session = await InferenceSession.create(path, { intraOpNumThreads: 1, logSeverityLevel: 4 });
say('loaded');
const samples = tone(Number(hz), 1, 16_000, Number(amplitude));
const dims = rank === '2' ? [1, samples.length] : [1, 1, samples.length];
say('running');
const outputs = await session.run({ [session.inputNames[0] ?? '']: new Tensor('float32', samples, dims) });
const [name = '', output] = Object.entries(outputs as Record<string, Tensor>)[0] ?? [];
const data = output?.data as Float32Array | BigInt64Array;
const scores = Array.from(data as Iterable<number | bigint>, String);
say({ input: session.inputNames[0], output: name, type: output?.type, dims: output?.dims, scores });
