import { findArchitecture } from '../../src/convert/architectures/index.js';
import { readGoldenArchitecture } from './golden-architectures.js';
import type { SyntheticArchitecture } from './synthetic.js';

type StateDict = SyntheticArchitecture['state_dict'];

/** The classes of the weak and of the strong head of a released checkpoint, where nobody has said otherwise. */
const WEAK_LABELS = 527;

/**
 * The state dict of any frame-wise network, from those of the originals that are golden: the convolutions of its
 * width, a network over time scaled from the one that is golden, and heads that fit. Whether it is right, the numbers
 * of entries and of parameters of the released checkpoints tell.
 */
export function framewiseStateDict(name: string): StateDict {
  const match = /^(fmn\d\d)(?:\+(gru|tf)-(\d+))?(_weak)?$/.exec(name);
  if (match === null) throw new Error(`${name} is no frame-wise network`);
  const [, width = '', kind, text, weak] = match;
  const body = readGoldenArchitecture(width).state_dict;
  const features = headInputs(body);
  const sequence = kind === undefined ? [] : sequenceTensors(kind as 'gru' | 'tf', Number(text), features);
  const inputs = kind === undefined ? features : Number(text) * (kind === 'gru' ? 2 : 1);
  return [
    ...body.filter(([tensor]) => tensor.startsWith('model.fmn.')),
    ...sequence,
    ...body
      .filter(([tensor]) => /^(strong|weak)_head\./.test(tensor))
      .map(([tensor, [labels = 0, ...rest], type]) => {
        const classes = weak !== undefined && tensor.startsWith('weak_') ? WEAK_LABELS : labels;
        return [tensor, rest.length === 0 ? [classes] : [classes, inputs], type] as const;
      }),
  ];
}

function headInputs(tensors: StateDict): number {
  return tensors.find(([tensor]) => tensor === 'strong_head.weight')![1][1]!;
}

/** What the lengths of the golden network over time stand for. */
function sequenceTensors(kind: 'gru' | 'tf', size: number, features: number): StateDict {
  const heads = size < 128 ? 4 : 8;
  const lengths: Record<string, Record<number, number>> = {
    gru: { 256: size, 512: 2 * size, 768: 3 * size, 960: features },
    tf: {
      8: heads,
      16: size / heads / 2,
      256: size,
      768: 3 * size,
      1024: 4 * size,
      960: features,
    },
  };
  return readGoldenArchitecture(`fmn10+${kind}-256`)
    .state_dict.filter(([tensor]) => tensor.startsWith('seq_model.'))
    .map(([tensor, shape, type]) => [tensor, shape.map((length) => lengths[kind]![length]!), type] as const);
}

/** The tensors of any architecture's checkpoint. */
export function stateDictOf(name: string): StateDict {
  if (findArchitecture(name).family === 'fmn') return framewiseStateDict(name);
  // The same networks behind another front end have no golden file of their own.
  return readGoldenArchitecture(name.replace(/_hop500$/, '')).state_dict;
}
