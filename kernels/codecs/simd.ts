import { cannotCode, checkBlocks, checkChunks, checkDither, checkHalves } from './checks.ts'
import { ditherKeys } from './dither.ts'
import { type CodecKernels, TOPK_CHUNK } from './types.ts'

/** What kernels/assembly exports for the codes: vectors as byte addresses, lengths in elements. */
export interface CodecExports {
  encodeInt8(x: number, codes: number, scales: number, length: number): number
  encodeInt8Stochastic(...a: number[]): number
  decodeInt8(codes: number, scales: number, out: number, length: number): void
  encodeInt4(...a: number[]): number
  decodeInt4(codes: number, scales: number, out: number, length: number): void
  encodeSign(x: number, signs: number, scales: number, length: number): number
  decodeSign(signs: number, scales: number, out: number, length: number): void
  encodeFloat16(x: number, halves: number, length: number): number
  allFiniteFloat16(halves: number, length: number): number
  decodeFloat16(halves: number, out: number, length: number): void
  encodeTopK(x: number, message: number, length: number, kept: number): number
  checkTopK(message: number, length: number, kept: number): number
  decodeTopK(message: number, out: number, length: number, kept: number): void
}

/** The SIMD kernels of the codes; `at` gives the address of a view. */
export function codecKernels(wasm: CodecExports, at: (view: ArrayBufferView) => number): CodecKernels {
  return {
    encodeInt8(x, codes, scales) {
      checkBlocks('encodeInt8', 8, x, codes, scales)
      const bad = wasm.encodeInt8(at(x), at(codes), at(scales), x.length)
      if (bad >= 0) throw cannotCode('encodeInt8', bad)
    },
    encodeInt8Stochastic(x, codes, scales, dither) {
      checkBlocks('encodeInt8Stochastic', 8, x, codes, scales)
      checkDither('encodeInt8Stochastic', dither, x)
      const { key0, key1 } = ditherKeys(dither)
      const bad = wasm.encodeInt8Stochastic(at(x), at(codes), at(scales), x.length, key0, key1, dither.first)
      if (bad >= 0) throw cannotCode('encodeInt8Stochastic', bad)
    },
    decodeInt8(codes, scales, out) {
      checkBlocks('decodeInt8', 8, out, codes, scales)
      wasm.decodeInt8(at(codes), at(scales), at(out), out.length)
    },
    encodeInt4(x, codes, scales, dither) {
      checkBlocks('encodeInt4', 4, x, codes, scales)
      checkDither('encodeInt4', dither, x)
      const { key0, key1 } = ditherKeys(dither)
      const bad = wasm.encodeInt4(at(x), at(codes), at(scales), x.length, key0, key1, dither.first)
      if (bad >= 0) throw cannotCode('encodeInt4', bad)
    },
    decodeInt4(codes, scales, out) {
      checkBlocks('decodeInt4', 4, out, codes, scales)
      wasm.decodeInt4(at(codes), at(scales), at(out), out.length)
    },
    encodeSign(x, signs, scales) {
      checkBlocks('encodeSign', 1, x, signs, scales)
      const bad = wasm.encodeSign(at(x), at(signs), at(scales), x.length)
      if (bad >= 0) throw cannotCode('encodeSign', bad)
    },
    decodeSign(signs, scales, out) {
      checkBlocks('decodeSign', 1, out, signs, scales)
      wasm.decodeSign(at(signs), at(scales), at(out), out.length)
    },
    encodeFloat16(x, halves) {
      checkHalves('encodeFloat16', x, halves)
      const bad = wasm.encodeFloat16(at(x), at(halves), x.length)
      if (bad >= 0) throw cannotCode('encodeFloat16', bad)
    },
    allFiniteFloat16: (halves) => wasm.allFiniteFloat16(at(halves), halves.length) === 1,
    decodeFloat16(halves, out) {
      checkHalves('decodeFloat16', out, halves)
      wasm.decodeFloat16(at(halves), at(out), out.length)
    },
    encodeTopK(x, message, kept) {
      checkChunks('encodeTopK', x.length, message, kept)
      const bad = wasm.encodeTopK(at(x), at(message), x.length, kept)
      if (bad >= 0) throw cannotCode('encodeTopK', bad, TOPK_CHUNK)
    },
    checkTopK(message, length, kept) {
      checkChunks('checkTopK', length, message, kept)
      return wasm.checkTopK(at(message), length, kept)
    },
    decodeTopK(message, out, kept) {
      checkChunks('decodeTopK', out.length, message, kept)
      wasm.decodeTopK(at(message), at(out), out.length, kept)
    },
  }
}
