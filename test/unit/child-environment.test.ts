import t from 'tap';
import { childEnvironment } from '../../src/common/child-environment.js';

t.test('children are given what they need, and nothing that opens a door', (t) => {
  const secrets = {
    SOUNDPOST_MQTT_PASSWORD: 'x',
    BALENA_API_KEY: 'x',
    BALENA_SUPERVISOR_API_KEY: 'x',
    RESIN_API_KEY: 'x',
    AWS_SECRET_ACCESS_KEY: 'x',
    SOME_TOKEN: 'x',
  };
  const needed = {
    PATH: process.env['PATH'],
    LC_ALL: 'C.UTF-8',
    ALSA_CONFIG_PATH: '/a',
    XDG_RUNTIME_DIR: '/b',
  };
  const before = { ...process.env };
  t.teardown(() => {
    process.env = before;
  });
  Object.assign(process.env, secrets, needed);
  const given = childEnvironment({ EXTRA: '1' });
  for (const name of Object.keys(secrets)) t.equal(given[name], undefined, name);
  t.match(given, { ...needed, EXTRA: '1', ORT_DISABLE_TELEMETRY: '1' });
  t.end();
});
