import js from '@eslint/js';
import tseslint from 'typescript-eslint';

// The way of the data; a room may import from the rooms before it, never from one behind it.
const rooms = [
  'common',
  'audio',
  'features',
  'models',
  'convert',
  'inference',
  'install',
  'tagging',
  'telemetry',
  'learning',
  'mqtt',
  'config',
  'history',
  'clips',
  'home-assistant',
  'web',
  'page',
  'service',
  'bench',
  'evaluate',
  'cli',
];

/** What a room must not import. The configuration is for the service and the command line alone. */
function forbiddenFor(room) {
  const behind = rooms.slice(rooms.indexOf(room) + 1);
  return room === 'config' ? behind.concat('mqtt', 'inference') : behind;
}

/** Programs for developers are not shipped. */
const noTools = {
  group: ['**/tools/*', '**/tools/**'],
  message: 'src holds what the program runs; what is in tools/ may import it, and not the other way round.',
};

/** `patterns` of imports that these files must not have. */
const restricted = (files, patterns) => ({
  files,
  rules: { 'no-restricted-imports': ['error', { patterns: [...patterns, noTools] }] },
});

const oneWay = [
  restricted(['src/*.ts'], []),
  ...rooms.map((room) =>
    restricted(
      [`src/${room}/**/*.ts`],
      forbiddenFor(room).map((other) => ({
        group: [`../${other}/*`, `../../${other}/*`, `../${other}.js`, `../../${other}.js`],
        message: `src/${room} comes before src/${other}: imports do not run up the way of the data.`,
      })),
    ),
  ),
];

export default tseslint.config(
  { ignores: ['dist/', '.tap/', '.tmp/', 'coverage/', 'data/'] },
  js.configs.recommended,
  {
    files: ['**/*.{ts,tsx}'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      // Numbers are what this program is made of; they may be written into messages as they are.
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      // Indexed access is checked by the compiler; an assertion in a measured hot loop is deliberate.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
    },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      // tap returns promises from t.test and friends that the runner itself awaits.
      '@typescript-eslint/no-floating-promises': [
        'error',
        { allowForKnownSafeCalls: [{ from: 'package', name: ['test', 'end'], package: '@tapjs/test' }] },
      ],
    },
  },
  ...oneWay,
  {
    // It runs in the browser: of the rooms before it, it knows the forms of documents, and nothing that runs.
    files: ['src/page/**/*.{ts,tsx}'],
    rules: {
      'no-restricted-imports': ['error', { patterns: [noTools] }],
      '@typescript-eslint/no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              regex: `^(\\.\\./)+(${rooms.slice(0, rooms.indexOf('page')).join('|')})/(?!slug\\.js$|look\\.js$)`,
              message: 'The page takes only types from the service, and the look.',
              allowTypeImports: true,
            },
            {
              regex: `^(\\.\\./)+(${forbiddenFor('page').join('|')})/`,
              message: 'This room comes after the page.',
            },
            { group: ['node:*', 'zod'], message: 'The browser does not have it.', allowTypeImports: true },
          ],
        },
      ],
    },
  },
  {
    files: ['**/*.js'],
    languageOptions: {
      globals: { process: 'readonly', console: 'readonly', fetch: 'readonly', AbortSignal: 'readonly' },
    },
  },
);
