/** What visitors of the page may take, each and all together. */
export const WEB_LIMITS = {
  /** Of feeds and of spectrograms, each. */
  viewers: 200,
  connections: 600,
  /** From one address; not for this machine, and not for proxies and the ingress, behind which many stand. */
  connectionsPerAddress: 60,
  /** Of the head of a request. */
  headerBytes: 16 * 1024,
  headersMs: 10_000,
  /** For a whole request, its body with it. */
  requestMs: 20_000,
  /** Between two requests of one connection. */
  idleMs: 10_000,
  /** How long a reply may go without anything of it being taken. */
  replyMs: 30_000,
  /** What may wait for one viewer to read it, beside the snapshot that it began with. */
  viewerBytes: 512 * 1024,
  /** With so much waiting for all viewers together nobody else is let in. */
  viewersBytes: 32 * 1024 * 1024,
  /** Comments go out so often, and a viewer that has taken nothing between two of them is dropped. */
  keepAliveMs: 15_000,
  sessions: 1000,
  /** Of a session that is not used. */
  sessionIdleMs: 14 * 24 * 3600 * 1000,
  sessionMs: 90 * 24 * 3600 * 1000,
  /** Of the page's files, in all. */
  pageBytes: 32 * 1024 * 1024,
} as const;

export type WebLimits = { readonly [K in keyof typeof WEB_LIMITS]: number };
