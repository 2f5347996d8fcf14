import { keep, readKept } from '../lib/kept.js';
import { createStore, useStore } from '../lib/store.js';
import { de } from './de.js';
import { en, type Texts } from './en.js';
import { createFormats, type Formats } from './formats.js';

/** Another language is another file like `en.ts`, and a line here. */
const languages = { en, de } satisfies Record<string, Texts>;
export type Language = keyof typeof languages;
export const languageNames: Readonly<Record<Language, string>> = { en: 'English', de: 'Deutsch' };

export interface Words {
  language: Language;
  t: Texts;
  format: Formats;
}

const isLanguage = (text: string): text is Language => Object.hasOwn(languages, text);

/** What was chosen here before, or the first of the browser's languages that there is. */
function firstLanguage(): Language {
  const wanted = [
    readKept('language') ?? '',
    ...navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase()),
  ];
  return wanted.find(isLanguage) ?? 'en';
}

function wordsOf(language: Language): Words {
  document.documentElement.lang = language;
  // Numbers and times as the browser's own region writes this language, where it speaks it.
  const region = navigator.languages.find((tag) => tag.toLowerCase().startsWith(language)) ?? language;
  return { language, t: languages[language], format: createFormats(region, languages[language]) };
}

const words = createStore(wordsOf(firstLanguage()));

export function chooseLanguage(language: Language): void {
  keep('language', language);
  words.set(wordsOf(language));
}

/** The texts of the page in the language that was chosen. */
export function useWords(): Words {
  return useStore(words, (now) => now);
}

export type { Texts, Formats };
