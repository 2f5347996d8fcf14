import { nearest } from '../../common/nearest.js';
import { SoundpostError } from '../../common/errors.js';
import type { Architecture } from '../architecture.js';
import { cnnArchitectures } from './cnn.js';
import { convnextArchitectures } from './convnext.js';
import { dymnArchitectures } from './dymn.js';
import { efficientatArchitectures } from './efficientat.js';
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
];

/** Throws SoundpostError `architecture_unknown`, with names that come near. */
export function findArchitecture(name: string): Architecture {
  const found = architectures.find((architecture) => architecture.name.toLowerCase() === name.toLowerCase());
  if (found !== undefined) return found;
  const names = architectures.map((architecture) => architecture.name);
  const near = nearest(name, names);
  throw new SoundpostError(
    'architecture_unknown',
    `there is no architecture "${name}"${near === undefined ? '' : `; did you mean ${near}?`} Known: ${names.join(', ')}`,
  );
}
