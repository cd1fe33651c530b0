import { cannotCode, checkChunks } from './checks.ts'
import { type CodecKernels, chunkBytes, keptOf, TOPK_CHUNK } from './types.ts'

const INFINITY_BITS = 0x7f800000

/** One chunk of a message. */
interface Chunk {
  number: number
  /** First value, and one past the last. */
  start: number
  end: number
  /** Values kept. */
  k: number
  /** The chunk's bytes. */
  bytes: DataView
  /** Where positions and codes begin. */
  positions: number
  codes: number
}

function* chunks(message: Uint8Array, length: number, kept: number): Generator<Chunk> {
  let at = message.byteOffset
  for (let number = 0, start = 0; start < length; number++, start += TOPK_CHUNK) {
    const end = Math.min(start + TOPK_CHUNK, length)
    const k = keptOf(end - start, kept)
    const bytes = new DataView(message.buffer, at, chunkBytes(k))
    yield { number, start, end, k, bytes, positions: 16, codes: 16 + Math.ceil((12 * k) / 8) }
    at += chunkBytes(k)
  }
}

/** `width` bits from bit number `bit` of the part that begins at `from`, low bits first. */
function readBits({ bytes }: Chunk, from: number, bit: number, width: number): number {
  let value = 0
  for (let k = 0; k < width; k++) value |= ((bytes.getUint8(from + ((bit + k) >>> 3)) >>> ((bit + k) & 7)) & 1) << k
  return value
}

function writeBits({ bytes }: Chunk, from: number, bit: number, width: number, value: number): void {
  for (let k = 0; k < width; k++) {
    const at = from + ((bit + k) >>> 3)
    bytes.setUint8(at, bytes.getUint8(at) | (((value >>> k) & 1) << ((bit + k) & 7)))
  }
}

/** Positions of the k largest magnitudes, rising; of equal ones the first. */
function largest(values: Float32Array, k: number): number[] {
  return Array.from(values.keys())
    .sort((a, b) => Math.abs(values[b]!) - Math.abs(values[a]!) || a - b)
    .slice(0, k)
    .sort((a, b) => a - b)
}

/** The codes of the kept values, and what each code stands for. */
function quantize(values: readonly number[]): { codes: number[]; table: number[] } {
  const mean = (list: readonly number[]): number => list.reduce((sum, value) => sum + value, 0) / list.length
  const centre = mean(values)
  const width = 1.5 * Math.sqrt(mean(values.map((value) => (value - centre) * (value - centre))))
  const edges = [centre - width, centre, centre + width]
  const codes = values.map((value) => edges.filter((edge) => value >= edge).length)
  const table = [0, 1, 2, 3].map((code) => {
    const members = values.filter((_, j) => codes[j] === code)
    return members.length === 0 ? 0 : mean(members)
  })
  return { codes, table }
}

/** The top-k kernels in plain TypeScript: they sort where the SIMD kernels search. */
export const topKTwins: Pick<CodecKernels, 'encodeTopK' | 'checkTopK' | 'decodeTopK'> = {
  encodeTopK(x, message, kept) {
    checkChunks('encodeTopK', x.length, message, kept)
    for (const chunk of chunks(message, x.length, kept)) {
      const values = x.subarray(chunk.start, chunk.end)
      if (!values.every(Number.isFinite)) throw cannotCode('encodeTopK', chunk.number, TOPK_CHUNK)
      const positions = largest(values, chunk.k)
      const { codes, table } = quantize(positions.map((position) => values[position]!))
      for (let at = 0; at < chunk.bytes.byteLength; at++) chunk.bytes.setUint8(at, 0)
      table.forEach((value, code) => {
        chunk.bytes.setFloat32(4 * code, value, true)
      })
      positions.forEach((position, j) => {
        writeBits(chunk, chunk.positions, 12 * j, 12, position)
        writeBits(chunk, chunk.codes, 2 * j, 2, codes[j]!)
      })
    }
  },

  checkTopK(message, length, kept) {
    checkChunks('checkTopK', length, message, kept)
    for (const chunk of chunks(message, length, kept)) {
      const { number, start, end, k, bytes } = chunk
      for (let entry = 0; entry < 16; entry += 4) {
        if ((bytes.getUint32(entry, true) & 0x7fffffff) >= INFINITY_BITS) return number
      }
      let last = -1
      for (let j = 0; j < k; j++) {
        const position = readBits(chunk, chunk.positions, 12 * j, 12)
        if (position <= last || position >= end - start) return number
        last = position
      }
      const positionBits = 8 * (chunk.codes - chunk.positions)
      const codeBits = 8 * (bytes.byteLength - chunk.codes)
      if (readBits(chunk, chunk.positions, 12 * k, positionBits - 12 * k) !== 0) return number
      if (readBits(chunk, chunk.codes, 2 * k, codeBits - 2 * k) !== 0) return number
    }
    return -1
  },

  decodeTopK(message, out, kept) {
    checkChunks('decodeTopK', out.length, message, kept)
    out.fill(0)
    for (const chunk of chunks(message, out.length, kept)) {
      for (let j = 0; j < chunk.k; j++) {
        const position = readBits(chunk, chunk.positions, 12 * j, 12)
        const code = readBits(chunk, chunk.codes, 2 * j, 2)
        out[chunk.start + position] = chunk.bytes.getFloat32(4 * code, true)
      }
    }
  },
}
