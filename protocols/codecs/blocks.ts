import { CODEC_BLOCK, type Kernels, LARGEST_CODED } from '../../kernels/index.ts'
import { badTensor, type CodecName, checkSlice, type TensorCodec } from './codec.ts'

/** What tells one code with a scale per block from another. */
interface BlockCode {
  name: CodecName
  /** Bits of code per value. */
  bits: 1 | 4 | 8
  /** Largest scale that an encoder writes: no code times it overflows. */
  largestScale: number
  encode(kernels: Kernels, values: Float32Array, part: Part, seed: number, start: number): void
  decode(kernels: Kernels, part: Part, out: Float32Array): void
}

/** The codes and scales of a slice, as views of the message. */
interface Part {
  codes: Uint8Array
  scales: Float32Array
}

/**
 * A code of some bits per value, and one float32 scale per {@link CODEC_BLOCK} values:
 *
 *     bytes 0 .. c-1               codes, c = ceil(size · bits / 8), unused bits 0
 *     bytes c .. 4·ceil(c/4)-1     zero, so that the scales are aligned
 *     then 4·ceil(size/256)        scales, little endian
 */
function blockCodec(code: BlockCode): TensorCodec {
  const codesEnd = (size: number): number => Math.ceil((size * code.bits) / 8)
  const scalesAt = (size: number): number => 4 * Math.ceil(codesEnd(size) / 4)

  function part(message: Uint8Array, size: number, start: number, length: number): Part {
    checkSlice(codec, message, size, start, length)
    const from = (start * code.bits) / 8
    const scales = message.byteOffset + scalesAt(size) + 4 * (start / CODEC_BLOCK)
    return {
      codes: message.subarray(from, from + codesEnd(length)),
      scales: new Float32Array(message.buffer, scales, Math.ceil(length / CODEC_BLOCK)),
    }
  }

  const codec: TensorCodec = {
    name: code.name,
    block: CODEC_BLOCK,
    bytes: (size) => scalesAt(size) + 4 * Math.ceil(size / CODEC_BLOCK),
    encode(kernels, values, message, size, start, seed) {
      const slice = part(message, size, start, values.length)
      code.encode(kernels, values, slice, seed, start)
      if (start + values.length === size) {
        message.fill(0, codesEnd(size), scalesAt(size))
      }
    },
    decode(kernels, message, size, start, out) {
      const slice = part(message, size, start, out.length)
      for (let block = 0; block < slice.scales.length; block++) {
        const scale = slice.scales[block]!
        if (!(scale >= 0 && scale <= code.largestScale)) {
          const number = start / CODEC_BLOCK + block
          throw badTensor(code.name, `has ${scale} for the scale of block ${number}`, { block: number, scale })
        }
      }
      if (start + out.length === size && !spareIsZero(message, size * code.bits, scalesAt(size))) {
        throw badTensor(code.name, 'has bits set between its codes and its scales', {})
      }
      code.decode(kernels, slice, out)
    },
  }
  return codec
}

/** Whether all bits from number `bits` to byte number `end` are 0. */
function spareIsZero(message: Uint8Array, bits: number, end: number): boolean {
  let spare = bits % 8 === 0 ? 0 : message[Math.floor(bits / 8)]! >>> (bits % 8)
  for (let at = Math.ceil(bits / 8); at < end; at++) {
    spare |= message[at]!
  }
  return spare === 0
}

const signed = ({ buffer, byteOffset, length }: Uint8Array): Int8Array => new Int8Array(buffer, byteOffset, length)

const decodeInt8: BlockCode['decode'] = (kernels, { codes, scales }, out) => {
  kernels.decodeInt8(signed(codes), scales, out)
}

/** 8 bits, rounded to the nearest code; the scale is the largest magnitude / 127. 1.016 bytes per value; errors of at most half a scale. */
export const int8 = blockCodec({
  name: 'int8',
  bits: 8,
  largestScale: Math.fround(LARGEST_CODED / 127),
  encode: (kernels, values, { codes, scales }) => kernels.encodeInt8(values, signed(codes), scales),
  decode: decodeInt8,
})

/** 8 bits, rounded up or down at random so that the mean is the value: twice the squared error of {@link int8}, but errors that average out. */
export const int8Stochastic = blockCodec({
  name: 'int8-stochastic',
  bits: 8,
  largestScale: Math.fround(LARGEST_CODED / 127),
  encode: (kernels, values, { codes, scales }, seed, first) =>
    kernels.encodeInt8Stochastic(values, signed(codes), scales, { seed, first }),
  decode: decodeInt8,
})

/** 4 bits, rounded at random; the scale is the largest magnitude / 7. 0.516 bytes per value. For differences, with error feedback. */
export const int4 = blockCodec({
  name: 'int4',
  bits: 4,
  largestScale: Math.fround(LARGEST_CODED / 7),
  encode: (kernels, values, { codes, scales }, seed, first) =>
    kernels.encodeInt4(values, codes, scales, { seed, first }),
  decode: (kernels, { codes, scales }, out) => kernels.decodeInt4(codes, scales, out),
})

/** The sign, scaled by the mean magnitude of the block (scaled sign compression, Karimireddy et al. 2019). 0.141 bytes per value. */
export const sign = blockCodec({
  name: 'sign',
  bits: 1,
  largestScale: 3.4028234663852886e38,
  encode: (kernels, values, { codes, scales }) => kernels.encodeSign(values, codes, scales),
  decode: (kernels, { codes, scales }, out) => kernels.decodeSign(codes, scales, out),
})
