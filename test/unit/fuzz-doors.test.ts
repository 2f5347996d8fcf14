import t from 'tap';
import { doorNames } from '../../tools/fuzz/doors.js';
import { runDoor } from '../../tools/fuzz/run-door.js';

/** `npm run fuzz` puts many more in, from a new seed each time. */
const RUNS = 250;
const SEED = 20_260_101;

for (const name of doorNames) {
  t.test(`whatever comes through the door "${name}" is taken or refused`, async (t) => {
    const { failure, inputs } = await runDoor(name, { runs: RUNS, seed: SEED });
    t.equal(failure, null);
    t.ok(inputs >= RUNS, `${inputs} inputs`);
  });
}
