import { silentLogger } from '../../src/common/log.js';
import { createLink } from '../../src/mqtt/link.js';

/** A process with nothing in it but a link, to be killed by a test. Arguments: broker URLs with commas
 * between them, device id. */
const [url = '', deviceId = ''] = process.argv.slice(2);
const link = createLink({
  url: url.split(','),
  baseTopic: 'soundpost',
  deviceId,
  log: silentLogger,
  onRequest: () => undefined,
});
await link.start();
