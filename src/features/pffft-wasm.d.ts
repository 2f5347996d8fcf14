/** The parts of PFFFT's WebAssembly build (pffft.h, Julien Pommier) that are used here; the package has no types. */
declare module '@echogarden/pffft-wasm' {
  export interface Pffft {
    /** The whole memory of the instance; replaced when the memory grows. */
    readonly HEAPF32: Float32Array;
    /** `transform`: 0 real, 1 complex. Returns 0 where PFFFT has no transform of that size. */
    _pffft_new_setup(size: number, transform: 0 | 1): number;
    /** `direction`: 0 forward. Addresses in bytes, multiples of 16. The output is in canonical order. */
    _pffft_transform_ordered(
      setup: number,
      input: number,
      output: number,
      work: number,
      direction: 0 | 1,
    ): void;
    _pffft_aligned_malloc(bytes: number): number;
    _pffft_simd_size(): number;
  }

  export interface PffftOptions {
    print?: (line: string) => void;
    printErr?: (line: string) => void;
  }

  const load: (options?: PffftOptions) => Promise<Pffft>;
  export default load;
}

declare module '@echogarden/pffft-wasm/simd' {
  export { default } from '@echogarden/pffft-wasm';
}
