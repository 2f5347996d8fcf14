// Starts the program as an app of Home Assistant: reads the form (/data/options.json), asks the Supervisor for the
// broker, and goes on as "soundpost run" in the same process, which so gets the signals itself.
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { settingsOf } from './settings.js';
import { brokerOf } from './supervisor.js';

// What the Supervisor mounts; named otherwise by tests only.
const {
  SOUNDPOST_DATA_DIR: dataDir = '/data',
  SOUNDPOST_APP_CONFIG: configFolder = '/config',
  SUPERVISOR_API: supervisor = 'http://supervisor',
  SUPERVISOR_TOKEN: token = '',
} = process.env;
const tell = (message) => console.error(message);

const file = join(dataDir, 'options.json');
let options;
try {
  options = JSON.parse(await readFile(file, 'utf8'));
} catch (error) {
  tell(`${file} cannot be read (${error.message}). Save the configuration of the app once more.`);
  process.exit(1);
}

const broker = await brokerOf(supervisor, token, tell);
Object.assign(process.env, settingsOf(options, broker));

const own = join(configFolder, 'soundpost.yaml');
if (
  await access(own).then(
    () => true,
    () => false,
  )
)
  process.env.SOUNDPOST_CONFIG = own;

// The key to Home Assistant is not for the program, nor for what it starts.
delete process.env.SUPERVISOR_TOKEN;
delete process.env.HASSIO_TOKEN;

const main = join(import.meta.dirname, '..', 'dist', 'src', 'main.js');
process.argv.splice(1, Infinity, main, 'run', '--keep-going');
await import(main);
