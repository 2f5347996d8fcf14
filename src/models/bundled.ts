/** The id of the model that ships with the program: the default, and what the service falls back to. */
export const BUNDLED_MODEL = 'soundpost-home';

/** Ids of models that shipped with earlier versions, and of the one that has taken the place of each. */
const SUCCESSORS: ReadonlyMap<string, string> = new Map([['soundpost-mini', BUNDLED_MODEL]]);
/** The ids of models that shipped with earlier versions. */
export const FORMER_MODELS: readonly string[] = [...SUCCESSORS.keys()];

/**
 * The id that is meant by `id` today: configurations, remembered states and automations outlive the model they name.
 * Any id that is not that of a former bundled model is given back as it is.
 */
export function currentModelId(id: string): string {
  return SUCCESSORS.get(id) ?? id;
}

/** What to tell where a former id was given and its successor is taken. */
export function successorMessage(id: string): string {
  return `The model ${id} is no longer part of Soundpost; ${currentModelId(id)} has taken its place and is used instead`;
}
