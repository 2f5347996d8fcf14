import type { z } from 'zod';
import type { suggestionSchema } from '../mqtt/threshold-specs.js';

type Facts = Omit<z.output<typeof suggestionSchema>, 'advice'>;

/** What a suggestion says, for people, with how much it rests on. */
export function adviceOf(facts: Facts, perDay: number): string {
  const { label, judged } = facts;
  const sentences = [rateSentence(facts, perDay)];
  const { without_wrong: without } = judged;
  if (without !== null) {
    const lost = without.loses === 0 ? 'and none' : `and ${without.loses}`;
    sentences.push(
      `At ${without.threshold} none of the ${judged.wrong} that were called wrong would have started, ${lost} of the ${judged.right} that were called right would have been lost.`,
    );
  } else if (judged.wrong > 0) {
    sentences.push('No threshold keeps out all that were called wrong.');
  } else if (judged.right === 0 && facts.started > 0) {
    sentences.push(`Say of some events of ${label} whether they were right, to know more.`);
  }
  return sentences.join(' ');
}

function rateSentence(facts: Facts, perDay: number): string {
  const { label, suggested, heard_hours: hours, suggested_per_day: rate } = facts;
  const heard = hours < 2 ? `${Math.round(60 * hours)} min of sound` : `${Math.round(hours)} h of sound`;
  if (facts.why === 'nothing_heard') {
    return `Nothing was counted yet for ${label} with the model and the rules that are at work now.`;
  }
  const little = facts.rests_on === 'little' ? ` That is little to go by: it rests on ${heard}.` : '';
  if (facts.why === 'too_often') {
    return `In ${heard} ${label} would have started more than ${perDay} times a day even at 0.99.${little}`;
  }
  if (suggested === null || rate === null) {
    return `In ${heard} ${label} would have started at most ${perDay} times a day with any threshold: there is nothing to choose by.${little}`;
  }
  return `At ${suggested} ${label} would have started ${facts.suggested_would_have_started} times in ${heard}, which is between ${rate.low} and ${rate.high} a day.${little}`;
}
