/** The parts of the Speex resampler's WebAssembly build (speex_resampler.h) that are used here; it has no types. */
declare module '@echogarden/speex-resampler-wasm' {
  export interface SpeexResampler {
    /** The whole memory of the instance; replaced when the memory grows. */
    readonly HEAPF32: Float32Array;
    readonly HEAPU32: Uint32Array;
    /** `quality` 0 … 10. Returns 0 and writes an error code to the address `error` where it fails. */
    _speex_resampler_init(channels: number, from: number, to: number, quality: number, error: number): number;
    /** Makes the output begin with the first input sample instead of the filter's delay. */
    _speex_resampler_skip_zeros(state: number): number;
    /** `inputLength`, `outputLength`: addresses of lengths: what there is before, what was used after the call. */
    _speex_resampler_process_float(
      state: number,
      channel: number,
      input: number,
      inputLength: number,
      output: number,
      outputLength: number,
    ): number;
    _malloc(bytes: number): number;
  }

  export interface SpeexResamplerOptions {
    print?: (line: string) => void;
    printErr?: (line: string) => void;
  }

  const load: (options?: SpeexResamplerOptions) => Promise<SpeexResampler>;
  export default load;
}

declare module '@echogarden/speex-resampler-wasm/simd' {
  export { default } from '@echogarden/speex-resampler-wasm';
}
