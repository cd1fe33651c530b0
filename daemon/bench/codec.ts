import { CODEC_BLOCK, loadKernels, SharedVectors } from '../../kernels/index.ts'

/** Values in the measured tensor: 40 MB, the size at which hivemind's compression benchmark was published, well outside the caches. */
const VALUES = 10_000_000

/** What `starling bench codec` measures, on one core. Speeds count float32 bytes and are medians. */
export interface CodecFigures {
  values: number
  runs: number
  /** A plain copy of the same float32 bytes in the same run: the limit. MB/s. */
  copy: number
  encode: number
  decode: number
  /** Mean squared error on N(0, 1). */
  meanSquaredError: number
  /** Bytes of codes and scales. */
  bytes: number
}

/** Median of a non-empty list. */
function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** Fills with N(0, 1) by the polar method from a linear congruential stream: good enough to measure an error, the same every time. */
function fillNormal(x: Float32Array): void {
  let state = 1
  const uniform = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 4_294_967_296
  }
  for (let i = 0; i < x.length; i++) {
    let u: number
    let s: number
    do {
      u = 2 * uniform() - 1
      const v = 2 * uniform() - 1
      s = u * u + v * v
    } while (s >= 1 || s === 0)
    x[i] = u * Math.sqrt((-2 * Math.log(s)) / s)
  }
}

/**
 * Measures the int8 code of {@link CODEC_BLOCK} values a block against a memory copy, interleaved. Takes about a second for ten runs.
 *
 * @throws the signal's reason between two runs
 */
export function benchCodec(options: { runs?: number; values?: number; signal?: AbortSignal } = {}): CodecFigures {
  const { runs = 10, values = VALUES, signal } = options
  const vectors = SharedVectors.create({
    x: { type: 'float32', length: values },
    out: { type: 'float32', length: values },
    codes: { type: 'int8', length: values },
    scales: { type: 'float32', length: Math.ceil(values / CODEC_BLOCK) },
  })
  const kernels = loadKernels(vectors)
  const [x, out, codes, scales] = [
    vectors.float32('x'),
    vectors.float32('out'),
    vectors.int8('codes'),
    vectors.float32('scales'),
  ]
  fillNormal(x)
  const seconds = { copy: [] as number[], encode: [] as number[], decode: [] as number[] }
  const time = (list: number[], body: () => void) => {
    const start = performance.now()
    body()
    list.push((performance.now() - start) / 1000)
  }
  for (let run = -2; run < runs; run++) {
    signal?.throwIfAborted()
    time(seconds.copy, () => out.set(x))
    time(seconds.encode, () => kernels.encodeInt8(x, codes, scales))
    time(seconds.decode, () => kernels.decodeInt8(codes, scales, out))
    if (run < 0) for (const list of Object.values(seconds)) list.length = 0
  }
  const speed = (list: number[]) => (values * 4) / median(list) / 1e6
  return {
    values,
    runs,
    copy: speed(seconds.copy),
    encode: speed(seconds.encode),
    decode: speed(seconds.decode),
    meanSquaredError: kernels.squaredDistance(x, out) / values,
    bytes: codes.byteLength + scales.byteLength,
  }
}
