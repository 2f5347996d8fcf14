import { join } from 'node:path';

/** Where the build puts the page (src/page), beside the compiled program. */
export const builtPageFolder = join(import.meta.dirname, '..', 'page-files');
