import { existsSync } from 'node:fs';
import { codeOf, messageOf } from '../common/errors.js';
import { silentLogger } from '../common/log.js';
import { isLoopback } from '../common/loopback.js';
import type { Config } from '../config/schema.js';
import { readHealth } from '../service/health-file.js';
import { builtPageFolder } from '../web/page-folder.js';
import { createWeb } from '../web/web.js';
import type { Finding } from './finding.js';

/** Where the page is, who may look, and whether it can be opened. The service works without it. */
export async function checkPage(config: Config): Promise<Finding> {
  const { web, data_dir: dataDir } = config;
  if (!web.enabled) return { verdict: 'ok', detail: 'off (web.enabled is false)' };
  const trial = createWeb({
    ...web,
    ingressFrom: null,
    pageFolder: null,
    openApiFile: null,
    execute: () => Promise.reject(new Error('it is a trial')),
    log: silentLogger,
  });
  let where: string;
  try {
    const { url } = await trial.start();
    where = web.port === 0 ? `${new URL(url).hostname}, on a free port (web.port is 0)` : url;
  } catch (error) {
    const { checks } = await readHealth(dataDir, Date.now());
    const isOurs = codeOf(error) === 'port_in_use' && checks[0]?.ok === true;
    if (!isOurs) return { verdict: 'warn', detail: messageOf(error) };
    where = `${web.host}:${web.port}, in use by the running service`;
  } finally {
    await trial.stop();
  }
  const detail = `${where}; ${whoMay(web)}`;
  return existsSync(builtPageFolder)
    ? { verdict: 'ok', detail }
    : { verdict: 'warn', detail: `${detail}; only its API: the page was not built (npm run build)` };
}

function whoMay({ host, password }: Config['web']): string {
  const from = isLoopback(host) ? 'for this machine alone' : `open to the network (web.host is ${host})`;
  if (password !== '') return `${from}, with the password`;
  return `${from}, without a password; for others set web.host and web.password`;
}
