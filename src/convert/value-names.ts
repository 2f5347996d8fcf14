/** Names of the graph's inputs and outputs. */
export const LOG_MEL = 'logmel';
export const WAVEFORM = 'waveform';
export const SCORES = 'probs';
export const EMBEDDING = 'embedding';
export const FRAMES = 'frames';
