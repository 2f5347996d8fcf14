import type { InstalledModel } from '../models/registry.js';

/** How labels are spelt: the same label has the same name with a model that does not know it. */
export interface Spellings {
  /** Takes the names of a model's labels. */
  learn(model: Pick<InstalledModel, 'labels'>): void;
  /** The name of a label that is given by its name in any case or by its MID; as it is given where nobody knows it. */
  of(text: string): string;
}

export function createSpellings(): Spellings {
  const names = new Map<string, string>();
  return {
    learn({ labels }) {
      for (const { name, mid } of labels) {
        for (const text of [name, mid ?? name]) names.set(text.toLowerCase(), name);
      }
    },
    of: (text) => names.get(text.trim().toLowerCase()) ?? text.trim(),
  };
}
