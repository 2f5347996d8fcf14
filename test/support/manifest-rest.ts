import type { Manifest } from '../../src/models/manifest.js';

/** What manifests of models for tests have in common: nothing is known of them but their network. */
export function manifestRest(
  onnxSha256: string,
): Pick<
  Manifest,
  'labels' | 'thresholds' | 'metrics' | 'parameters' | 'macs' | 'licence' | 'source' | 'onnx_sha256'
> {
  return {
    labels: 'labels.json',
    thresholds: null,
    metrics: {},
    parameters: null,
    macs: null,
    licence: 'MIT',
    source: null,
    onnx_sha256: onnxSha256,
  };
}
