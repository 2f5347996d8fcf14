import type { GoldenResult } from './golden-architectures.js';

const HEADINGS = [
  'architecture',
  'tensors',
  'parameters',
  'nodes',
  'file, MB',
  'body',
  'whole path',
  'embedding',
  'seconds',
  'peak, MB',
];

const small = (value: number | null): string => value?.toExponential(1) ?? '–';
const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);

/** The results as a Markdown table, one architecture a line. */
export function goldenTable(results: readonly GoldenResult[]): string {
  const rows = results.map((result) => [
    result.name,
    String(result.tensors),
    String(result.parameters),
    String(result.nodes),
    megabytes(result.fileBytes),
    small(result.body),
    small(result.whole),
    small(result.embedding),
    result.seconds.toFixed(2),
    String(Math.round(result.peakBytes / 1e6)),
  ]);
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const rule = HEADINGS.map((_, column) => (column === 0 ? '---' : '---:'));
  return [line(HEADINGS), line(rule), ...rows.map(line)].join('\n') + '\n';
}
