/** What a source is called where there is only one, of a configuration without a list. */
export const ONLY_SOURCE = 'main';
