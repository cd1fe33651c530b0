/** Hostile messages for the decoders: random bytes, damaged messages, wrong lengths. For the tests and scripts/soaks/fuzz-codecs.js. */
import { type Kernels, SharedVectors } from '../../../kernels/index.ts'
import { StarlingError } from '../../errors.ts'
import type { Random } from '../../ports.ts'
import { seededRandom } from '../../random.ts'
import type { TensorCodec } from '../codec.ts'

/** Tensor sizes about the blocks of the codes; the long ones, of more than a chunk, come rarely. */
const SIZES = [1, 2, 3, 7, 64, 255, 256, 257, 300, 511, 600]
const LONG_SIZES = [4095, 4096, 4097, 4500]
const LONGEST = 4500

/** Elements before and after the output that must stay as they are, and what they and the output are filled with. */
const GUARD = 64
const CANARY = 0x7f123456

/** What became of the messages. */
export interface FuzzCounts {
  inputs: number
  refused: number
  decoded: number
}

/** Throws unless the outcome is one of two: the codec's own error and nothing written, or finite values and nothing written outside. */
export function fuzzDecoder(
  codec: TensorCodec,
  loadKernels: (vectors: SharedVectors) => Kernels,
  options: { inputs: number; seed: number | string },
): FuzzCounts {
  const vectors = SharedVectors.create({
    values: { type: 'float32', length: LONGEST },
    message: { type: 'uint8', length: codec.bytes(LONGEST) + 64 },
    out: { type: 'float32', length: LONGEST + 2 * GUARD },
  })
  const kernels = loadKernels(vectors)
  const random = seededRandom('fuzz-codecs', codec.name, options.seed)
  const whole = vectors.bytes('message')
  const area = vectors.float32('out')
  const areaBits = new Int32Array(area.buffer, area.byteOffset, area.length)
  areaBits.fill(CANARY)
  const counts = { inputs: 0, refused: 0, decoded: 0 }
  for (; counts.inputs < options.inputs; counts.inputs++) {
    const sizes = random.integer(64) === 0 ? LONG_SIZES : SIZES
    const size = sizes[random.integer(sizes.length)]!
    const length = fill(codec, kernels, vectors.float32('values').subarray(0, size), whole, random)
    const message = whole.subarray(0, length)
    const out = area.subarray(GUARD, GUARD + size)
    let written = 0
    try {
      codec.decode(kernels, message, size, 0, out)
      written = size
      counts.decoded++
    } catch (error) {
      if (!(error instanceof StarlingError && error.code === 'bad-tensor')) {
        throw error
      }
      counts.refused++
    }
    const place = (what: string): Error =>
      new Error(`${codec.name}: ${what} by input ${counts.inputs} of seed ${options.seed}, size ${size}`)
    for (let i = 0; i < size + 2 * GUARD; i++) {
      if (i >= GUARD && i < GUARD + written) {
        if (!Number.isFinite(area[i]!)) {
          throw place(`${area[i]} was decoded`)
        }
        areaBits[i] = CANARY
      } else if (areaBits[i] !== CANARY) {
        throw place(`element ${i - GUARD} was written`)
      }
    }
  }
  return counts
}

/** Puts a message for a tensor like `values` into `whole`: valid and then damaged, or random, or of a wrong length. Returns its length. */
function fill(codec: TensorCodec, kernels: Kernels, values: Float32Array, whole: Uint8Array, random: Random): number {
  const size = values.length
  const bytes = codec.bytes(size)
  if (random.integer(3) === 0) {
    for (let i = 0; i < bytes; i++) {
      whole[i] = random.integer(256)
    }
  } else {
    for (let i = 0; i < size; i++) {
      values[i] = random.uniform() - 0.5
    }
    codec.encode(kernels, values, whole.subarray(0, bytes), size, 0, random.integer(2 ** 32))
    const hits = random.integer(4)
    for (let hit = 0; hit < hits; hit++) {
      const at = random.integer(bytes)
      // Extremes as well as any byte: exponents of all ones, zeros.
      whole[at] = [0, 0x7f, 0x80, 0xff, random.integer(256)][random.integer(5)]!
    }
    if (random.integer(8) === 0) {
      whole.copyWithin(random.integer(bytes), random.integer(bytes), bytes)
    }
  }
  switch (random.integer(16)) {
    case 0:
      return random.integer(bytes)
    case 1:
      return bytes + 1 + random.integer(64)
    default:
      return bytes
  }
}
