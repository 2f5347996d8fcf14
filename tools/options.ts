import { InvalidArgumentError } from '@commander-js/extra-typings';

/* What the options of the tools take. */

export function number(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('It is not a number.');
  return value;
}

export function positive(text: string): number {
  const value = number(text);
  if (value <= 0) throw new InvalidArgumentError('It must be above 0.');
  return value;
}

export function whole(text: string): number {
  const value = number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('It must be 1, 2, 3, …');
  return value;
}

/**
 * Names of a list, with commas between them.
 * @param what one of them is called
 * @param hint where the names can be found; by default it lists them
 */
export function namesOf<T extends string>(
  known: readonly T[],
  what: string,
  hint = `there are ${known.join(', ')}`,
): (text: string) => T[] {
  return (text) =>
    text.split(',').map((name) => {
      const found = known.find((one) => one === name);
      if (found === undefined) throw new InvalidArgumentError(`There is no ${what} "${name}"; ${hint}.`);
      return found;
    });
}
