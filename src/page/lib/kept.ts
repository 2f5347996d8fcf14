/** What the browser keeps of choices; a browser that keeps nothing forgets them, and that is all. */
export function readKept(name: string): string | null {
  try {
    return localStorage.getItem(`soundpost.${name}`);
  } catch {
    return null;
  }
}

export function keep(name: string, value: string): void {
  try {
    localStorage.setItem(`soundpost.${name}`, value);
  } catch {
    // Then it holds until the page is closed.
  }
}
