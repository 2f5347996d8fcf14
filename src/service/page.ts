import { createReadStream, existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Clips } from '../clips/clips.js';
import { codeOf, messageOf } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { Config } from '../config/schema.js';
import type { ResponsePayload } from '../mqtt/contract.js';
import type { Link } from '../mqtt/link.js';
import { builtPageFolder } from '../web/page-folder.js';
import { createWeb, type Web } from '../web/web.js';
import type { Listening } from './listening.js';

/** From where Home Assistant's Supervisor sends visitors. */
const SUPERVISOR = '172.30.32.2';

/** The page of this device. */
export interface Page {
  /** The link, which shows what it publishes to whoever looks at the page as well. */
  readonly link: Link;
  /** Where it has a clip; null where it is not open. */
  urlOf(clipId: string): string | null;
  /** Opens it. What keeps it shut is logged: everything else works without. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

export function createPage(options: {
  config: Config;
  /** The program's folder. */
  root: string;
  link: Link;
  execute: (command: string, body: Uint8Array) => Promise<ResponsePayload>;
  clips: () => Clips;
  sources: () => readonly Pick<Listening, 'name' | 'windows'>[];
  log: Logger;
}): Page {
  const { config, root, link, log } = options;
  if (!config.web.enabled) return { link, urlOf: () => null, start: nothing, stop: nothing };
  // Where only the program was built, the API answers alone.
  const web = createWeb({
    host: config.web.host,
    port: config.web.port,
    password: config.web.password,
    hosts: config.web.hosts,
    proxies: config.web.proxies,
    ingressFrom: config.web.ingress ? SUPERVISOR : null,
    pageFolder: existsSync(builtPageFolder) ? builtPageFolder : null,
    openApiFile: join(root, 'config', 'openapi.json'),
    execute: options.execute,
    findClip: async (id) => {
      const found = await options.clips().get(id);
      // What `bytes` says is for the file and its note.
      const file = found === null ? null : await stat(found.path).catch(() => null);
      if (found === null || file === null) return null;
      return {
        contentType: 'audio/flac',
        fileName: basename(found.path),
        bytes: file.size,
        read: (start, end) => createReadStream(found.path, { start, end }),
      };
    },
    spectrogram: {
      watch(name, onColumns) {
        const source = options.sources().find((each) => each.name === name);
        if (source === undefined) return null;
        source.windows.look(({ bands, columnMs, values }, endMs) => {
          onColumns({ startMs: endMs - (values.length / bands) * columnMs, columnMs, bands, values });
        });
        return () => source.windows.look(null);
      },
    },
    log,
  });
  let url: string | null = null;
  return {
    link: shown(link, web),
    urlOf: (id) => (url === null ? null : new URL(`api/clips/${id}`, url).href),
    async start() {
      try {
        ({ url } = await web.start());
        // The link tells the broker itself; whoever sees the page has reached the device.
        web.publish('status', 'online');
        log.info({}, `The page of this device: ${url}`);
      } catch (error) {
        log.warn(
          { code: codeOf(error) },
          `The page of this device is not there, everything else is: ${messageOf(error)}`,
        );
      }
    },
    stop: () => web.stop(),
  };
}

const nothing = () => Promise.resolve();

/** The same link, getters and all; what is published is shown as well. */
function shown(link: Link, web: Web): Link {
  const both: Pick<Link, 'publish' | 'retire'> = {
    publish(...document) {
      link.publish(...document);
      web.publish(...document);
    },
    retire(...topic) {
      link.retire(...topic);
      web.retire(...topic);
    },
  };
  return Object.assign(Object.create(link) as Link, both);
}
