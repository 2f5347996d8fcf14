import { didYouMean } from '../../common/nearest.js';
import { SoundpostError } from '../../common/errors.js';
import type { Architecture } from '../architecture.js';
import { cnnArchitectures } from './cnn.js';
import { convnextArchitectures } from './convnext.js';
import { dymnArchitectures } from './dymn.js';
import { efficientatArchitectures } from './efficientat.js';
import { fmnArchitectures, whyNoFmn } from './fmn.js';
import { mobilenetArchitectures } from './mobilenet.js';
import { resnetArchitectures } from './resnet.js';
import { wavegramArchitectures } from './wavegram.js';
import { waveformArchitectures } from './waveform.js';

/** Every network that can be built. */
export const architectures: readonly Architecture[] = [
  ...cnnArchitectures,
  ...resnetArchitectures,
  ...mobilenetArchitectures,
  ...waveformArchitectures,
  ...wavegramArchitectures,
  ...convnextArchitectures,
  ...efficientatArchitectures,
  ...dymnArchitectures,
  ...fmnArchitectures,
];

/** Throws SoundpostError `architecture_unknown`, with names that come near, or the reason why it cannot be built. */
export function findArchitecture(name: string): Architecture {
  const found = architectures.find((architecture) => architecture.name.toLowerCase() === name.toLowerCase());
  if (found !== undefined) return found;
  const why = whyNoFmn(name);
  if (why !== undefined) throw new SoundpostError('architecture_unknown', why);
  const names = architectures.map((architecture) => architecture.name);
  throw new SoundpostError(
    'architecture_unknown',
    `there is no architecture "${name}".${didYouMean(name, names)} Known: ${names.join(', ')}`,
  );
}
