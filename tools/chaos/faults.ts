import { randomBytes } from 'node:crypto';
import type { Mosquitto } from '../../test/support/broker.js';
import type { PacedMicrophone } from '../../test/support/microphone.js';
import type { SmallDisk } from '../../test/support/small-disk.js';
import type { SysFolder } from '../../test/support/sys-folders.js';
import type { TcpProxy } from '../../test/support/tcp-proxy.js';
import type { FaultName } from '../faults/promises.js';
import { childrenOf, openHandles, setLimit, type Rig } from '../faults/rig.js';

/** Everything that can be mistreated. */
export interface World {
  rig: Rig;
  broker: Mosquitto;
  proxy: TcpProxy;
  sensors: SysFolder;
  /** null where none can be mounted. */
  disk: SmallDisk | null;
  /** null where none can be made. */
  microphone: PacedMicrophone | null;
}

/** A fault of the matrix that can come at any time, and go. */
export interface PassingFault {
  name: FaultName;
  /** Whether it can happen here. */
  possible(world: World): boolean;
  begin(world: World): unknown;
  end(world: World): unknown;
}

const nothing = (): void => undefined;
const always = (): boolean => true;
/** A broker that another fault has frozen acknowledges nothing until that is over. */
const unawaited = (sent: Promise<unknown>): void => void sent.catch(nothing);

const signalled = (name: FaultName, kind: 'capture' | 'inference', signal: NodeJS.Signals): PassingFault => ({
  name,
  possible: ({ microphone }) => kind === 'inference' || microphone !== null,
  async begin({ rig }) {
    for (const pid of await childrenOf(rig.service.pid, kind)) {
      try {
        process.kill(pid, signal);
      } catch {
        // It went by itself in between.
      }
    }
  },
  // What hangs is the service's to end.
  end: nothing,
});

const withMicrophone = (
  name: FaultName,
  begin: (microphone: PacedMicrophone) => unknown,
  end: (microphone: PacedMicrophone) => unknown,
): PassingFault => ({
  name,
  possible: ({ microphone }) => microphone !== null,
  begin: ({ microphone }) => begin(microphone!),
  end: ({ microphone }) => end(microphone!),
});

const onNetwork = (name: FaultName, begin: (proxy: TcpProxy) => unknown): PassingFault => ({
  name,
  possible: always,
  begin: ({ proxy }) => begin(proxy),
  end: ({ proxy }) => proxy.mend(),
});

export const passingFaults: readonly PassingFault[] = [
  signalled('capture-killed', 'capture', 'SIGKILL'),
  signalled('capture-stopped', 'capture', 'SIGSTOP'),
  withMicrophone(
    'microphone-dead',
    (microphone) => microphone.killSource(),
    (microphone) => microphone.startSource(),
  ),
  withMicrophone(
    'microphone-stalled',
    (microphone) => microphone.stallSource(),
    (microphone) => microphone.resumeSource(),
  ),
  signalled('inference-killed', 'inference', 'SIGKILL'),
  signalled('inference-stopped', 'inference', 'SIGSTOP'),
  {
    name: 'broker-killed',
    possible: always,
    begin: ({ broker }) => broker.crash(),
    end: ({ broker }) => broker.revive(),
  },
  {
    name: 'broker-frozen',
    possible: always,
    begin: ({ broker }) => broker.freeze(),
    end: ({ broker }) => broker.thaw(),
  },
  onNetwork('connection-cut', (proxy) => {
    proxy.cut();
  }),
  onNetwork('half-open', (proxy) => proxy.halfOpen()),
  onNetwork('slow-reader', (proxy) => proxy.slice(16)),
  {
    name: 'large-request',
    possible: always,
    begin({ rig: { watcher } }) {
      if (watcher.connected) unawaited(watcher.send('model/set', randomBytes(1_000_000).toString('hex')));
    },
    end: nothing,
  },
  {
    name: 'request-burst',
    possible: always,
    begin({ rig: { watcher } }) {
      if (!watcher.connected) return;
      for (let request = 0; request < 300; request += 1) unawaited(watcher.send('info'));
    },
    end: nothing,
  },
  {
    name: 'disk-full',
    possible: ({ disk }) => disk !== null,
    begin: ({ disk }) => disk!.fill(),
    end: ({ disk }) => disk!.free(),
  },
  {
    name: 'no-handles',
    possible: always,
    async begin({ rig: { service } }) {
      await setLimit(service.pid, 'nofile', await openHandles(service.pid));
    },
    end: ({ rig: { service } }) => setLimit(service.pid, 'nofile', 4096),
  },
  {
    name: 'sensors-lie',
    possible: always,
    begin: ({ sensors }) => sensors.write('sys/devices/virtual/thermal/thermal_zone0/temp', 'hot\n'),
    end: ({ sensors }) => sensors.setTemperature(50),
  },
];
