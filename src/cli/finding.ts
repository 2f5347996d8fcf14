/** What `soundpost doctor` says of one thing. */
export interface Finding {
  /** `warn`: something is missing that not everybody needs. */
  verdict: 'ok' | 'warn' | 'fail';
  /** What is there, or what is wrong and what to do. */
  detail: string;
}
