// Part of verify.sh: compares what "soundpost tag --json" has said in the image with what it says on this machine.
// Exit code 1 where a top label differs or one of the first three scores by more than rounding can explain, or where
// the image has tagged nothing; 3 where there is nothing to compare it with.
//
//   node compare-tags.js IMAGE.json HERE.json
import { existsSync, readFileSync } from 'node:fs';

const SCORES = 3;
const TOLERANCE = 1e-3;

/** The windows of one report, or null where nothing was written. */
function windowsOf(path) {
  const text = existsSync(path) ? readFileSync(path, 'utf8').trim() : '';
  return text === '' ? null : JSON.parse(text).windows;
}

const first = (window) => window.tags.slice(0, SCORES);
const shown = (window) =>
  first(window)
    .map(({ label, score }) => `${label} ${score}`)
    .join(', ');

const [image, here] = process.argv.slice(2).map(windowsOf);
if (image === null || image === undefined) {
  console.log('nothing was tagged');
  process.exit(1);
}
console.log(`first window: ${shown(image[0])}`);
if (here === null || here === undefined) {
  console.log('not compared: nothing was tagged on this machine');
  process.exit(3);
}
let worst = 0;
let others = image.length === here.length ? 0 : 1;
for (const [index, window] of image.entries()) {
  const scores = new Map(here[index].tags.map(({ label, score }) => [label, score]));
  if (window.tags[0].label !== here[index].tags[0].label) others += 1;
  for (const { label, score } of first(window)) {
    worst = Math.max(worst, Math.abs(score - (scores.get(label) ?? Infinity)));
  }
}
console.log(`on this machine: ${shown(here[0])}`);
console.log(
  `${image.length} windows, ${others} with another top label, scores within ${worst.toExponential(1)}`,
);
process.exitCode = others > 0 || worst > TOLERANCE ? 1 : 0;
