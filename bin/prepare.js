// npm runs this after "npm ci" and before "npm pack" ("prepare" in package.json): it builds the program, where what
// builds it is here. "npm ci --omit=dev" has no compiler, and takes what has been built elsewhere.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

if (existsSync('node_modules/typescript')) {
  const { status } = spawnSync('npm run build --silent', { shell: true, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
} else if (!existsSync('dist/src/main.js')) {
  console.error(
    'soundpost: not built, because the development dependencies are left out. Build it elsewhere and copy dist/ here, or run "npm ci".',
  );
  // A package without the program would be of no use to anybody.
  if (['pack', 'publish'].includes(process.env.npm_command)) process.exit(1);
}

// npm leaves out without a word what is optional and cannot be compiled.
if (!existsSync('node_modules/naudiodon')) {
  console.error(
    'soundpost: naudiodon could not be compiled, so there is no microphone here; everything else works. "npx soundpost doctor" says what to do.',
  );
}
