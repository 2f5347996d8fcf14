/** Whether a host is one of a list; `*.example.org` stands for every host below example.org, not for itself. */
export function hostIsAmong(host: string, allowed: readonly string[]): boolean {
  const wanted = host.toLowerCase();
  return allowed.some((entry) => {
    const pattern = entry.toLowerCase();
    return pattern.startsWith('*.') ? wanted.endsWith(pattern.slice(1)) : wanted === pattern;
  });
}

/** An address as it may be shown: without credentials and without what follows the question mark. */
export function shownUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}
