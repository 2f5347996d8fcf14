import { z } from 'zod';

const PROBLEM = 'has to be a name, a part of one or an index; in JSON null for the default input';

/** What names an audio input other than the default one, as `findDevice` takes it: its name, a part of it, its index. */
export const inputName = z.union(
  [
    z
      .string()
      .trim()
      .min(1, PROBLEM)
      .max(200, PROBLEM)
      .regex(/^\P{Cc}*$/u, PROBLEM),
    z.number().int(PROBLEM).nonnegative(PROBLEM),
  ],
  PROBLEM,
);

/** The same, and null for the default input. */
export const inputNameOrDefault = z.union([...inputName.options, z.null()], PROBLEM);
