// Part of verify.sh: a line for each thing that test/support/app-run.ts has found of the app in its container, which
// begins with "ok" where it is as it has to be.
//
//   node deploy/home-assistant/verify/judge.js FILE
import { readFileSync } from 'node:fs';

const found = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const { asked, info, audio, components, page, session, stranger, health, rights, exit, stopMs } = found;

let isWell = true;
const judge = (fits, what, seen) => {
  if (!fits) isWell = false;
  console.log(`${fits ? 'ok' : 'FAIL'} ${what}: ${typeof seen === 'string' ? seen : JSON.stringify(seen)}`);
};

judge(
  asked.length === 1 && asked[0].path === '/services/mqtt',
  'asks the Supervisor for the broker',
  asked[0]?.path,
);
judge(
  info.device.id === 'home' && info.device.name === 'Soundpost',
  'is at the broker, by the form',
  info.device,
);
judge(audio === 'online', "hears PulseAudio's default input", audio);
judge(
  ['label_bark', 'label_doorbell', 'label_smoke_alarm', 'label_baby'].every((id) => components.includes(id)),
  'describes its entities',
  `${components.length}, with ${components.filter((id) => id.startsWith('label_')).join(', ')}`,
);
judge(
  page.status === 200 && /<!doctype html>/i.test(page.text),
  'shows its page through the ingress',
  `${page.status} ${page.type}`,
);
judge(JSON.parse(session).data?.password_required === false, 'asks nobody who comes that way', session);
judge(stranger !== '200', 'lets no other app in', stranger);
judge(health === 0, 'passes its health check', `exit code ${health}`);
judge(rights.write !== 0 && rights.write !== null, 'cannot write its program', `exit code ${rights.write}`);
judge(
  rights.processes.length > 0 && rights.processes.every((line) => /^(node|1000) +none /.test(line)),
  "has no process that is not node's, and none with a capability",
  `${rights.processes.length} processes`,
);
judge(exit.code === 0, 'stops by itself', `exit code ${exit.code} after ${stopMs} ms`);
if (!isWell) console.log(`FAIL it said: ${JSON.stringify([rights, found.said.slice(-2000)])}`);
