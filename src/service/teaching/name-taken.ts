import type { Label } from '../../models/labels.js';
import { LOUD_NOISE, LOUD_NOISE_SLUG } from '../../tagging/loud.js';
import { fold } from '../../tagging/rules.js';
import { slugOf } from '../../tagging/slug.js';

/** The label or group that has this name, or one that would have the same topic; null: it is free. */
export function nameTakenBy(
  name: string,
  there: {
    labels: readonly Pick<Label, 'name' | 'mid'>[];
    watched: readonly { name: string; slug: string }[];
  },
): string | null {
  const slug = slugOf(name);
  if (slug === LOUD_NOISE_SLUG) return LOUD_NOISE;
  const label = there.labels.find(
    (each) => slugOf(each.name) === slug || (each.mid !== null && fold(each.mid) === fold(name)),
  );
  return label?.name ?? there.watched.find((each) => each.slug === slug)?.name ?? null;
}
