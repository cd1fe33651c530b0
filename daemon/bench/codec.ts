import { loadKernels, SharedVectors } from '../../kernels/index.ts'
import { CODEC_NAMES, type CodecName, codecs, createFeedback, type FeedbackOptions } from '../../protocols/index.ts'
import { median } from './median.ts'

/** Values in the measured tensor: 40 MB, the size at which hivemind's compression benchmark was published, well outside the caches. */
const VALUES = 10_000_000

/** Values coded at a time, as the strategies do it. */
const SLICE = 65_536

/** What `starling bench codec` measures of one code. Speeds are of float32 bytes, MB/s. */
export interface CodecFigures {
  codec: CodecName
  /** Bytes of the whole message. */
  bytes: number
  encode: number
  /** With every check of what a stranger sends. */
  decode: number
  /** Mean squared error on N(0, 1). */
  meanSquaredError: number
}

/** Memories of what a code dropped, in front of top-k. */
const MEMORIES = [
  { memory: 'none' },
  { memory: 'decay', beta: 0.95 },
  { memory: 'ef21' },
  { memory: 'econtrol', eta: 1 / 64 },
] as const satisfies readonly FeedbackOptions[]

/** What `starling bench codec` measures of one memory. */
export interface MemoryFigures {
  memory: (typeof MEMORIES)[number]['memory']
  codec: CodecName
  /** To encode and to remember the rest, MB/s of float32. */
  send: number
}

/** What `starling bench codec` measures, on one core. Speeds are medians. */
export interface CodecReport {
  values: number
  runs: number
  /** A plain copy of the same float32 bytes in the same runs: the limit. MB/s. */
  copy: number
  codecs: CodecFigures[]
  memories: MemoryFigures[]
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

/** Times of one code, or of the copy; seconds. */
interface Times {
  encode: number[]
  decode: number[]
}

/**
 * Measures every code, slice by slice as strategies use them, and a memory copy, interleaved; then every memory with top-k. Takes some seconds for ten runs.
 *
 * @throws the signal's reason between two runs
 */
export function benchCodec(options: { runs?: number; values?: number; signal?: AbortSignal } = {}): CodecReport {
  const { runs = 10, values: size = VALUES, signal } = options
  const vectors = SharedVectors.create({
    x: { type: 'float32', length: size },
    out: { type: 'float32', length: size },
    message: { type: 'uint8', length: 4 * size },
    error: { type: 'float32', length: size },
    estimate: { type: 'float32', length: size },
    sent: { type: 'float32', length: SLICE },
    difference: { type: 'float32', length: SLICE },
  })
  const kernels = loadKernels(vectors)
  const [x, out, memory] = [vectors.float32('x'), vectors.float32('out'), vectors.bytes('message')]
  fillNormal(x)
  const seconds = (body: () => void): number => {
    const start = performance.now()
    body()
    return (performance.now() - start) / 1000
  }
  const eachSlice = (body: (start: number, end: number) => void): number =>
    seconds(() => {
      for (let start = 0; start < size; start += SLICE) body(start, Math.min(start + SLICE, size))
    })
  const copies: number[] = []
  const times = CODEC_NAMES.map((): Times => ({ encode: [], decode: [] }))
  const errors = CODEC_NAMES.map(() => 0)
  for (let run = -2; run < runs; run++) {
    for (const [index, name] of CODEC_NAMES.entries()) {
      signal?.throwIfAborted()
      const codec = codecs[name]
      const message = memory.subarray(0, codec.bytes(size))
      const copy = seconds(() => out.set(x))
      const encode = eachSlice((start, end) => codec.encode(kernels, x.subarray(start, end), message, size, start, 1))
      const decode = eachSlice((start, end) => codec.decode(kernels, message, size, start, out.subarray(start, end)))
      errors[index] = kernels.squaredDistance(x, out) / size
      // The first two runs warm up.
      if (run < 0) continue
      copies.push(copy)
      times[index]!.encode.push(encode)
      times[index]!.decode.push(decode)
    }
  }
  const sending = MEMORIES.map((): number[] => [])
  const { topk } = codecs
  const message = memory.subarray(0, topk.bytes(size))
  const state = { error: vectors.float32('error'), estimate: vectors.float32('estimate') }
  for (const [index, memoryOptions] of MEMORIES.entries()) {
    const feedback = createFeedback(memoryOptions)
    state.error.fill(0)
    state.estimate.fill(0)
    for (let run = -1; run < runs; run++) {
      signal?.throwIfAborted()
      const time = eachSlice((start, end) => {
        const length = end - start
        feedback.send(kernels, topk, {
          values: x.subarray(start, end),
          state: { error: state.error.subarray(start, end), estimate: state.estimate.subarray(start, end) },
          scratch: [vectors.float32('sent').subarray(0, length), vectors.float32('difference').subarray(0, length)],
          message,
          size,
          start,
          seed: run + 1,
        })
      })
      if (run >= 0) sending[index]!.push(time)
    }
  }
  const speed = (list: number[]): number => (size * 4) / median(list) / 1e6
  return {
    values: size,
    runs,
    copy: speed(copies),
    codecs: CODEC_NAMES.map((codec, index) => ({
      codec,
      bytes: codecs[codec].bytes(size),
      encode: speed(times[index]!.encode),
      decode: speed(times[index]!.decode),
      meanSquaredError: errors[index]!,
    })),
    memories: MEMORIES.map(({ memory: name }, index) => ({
      memory: name,
      codec: 'topk' as const,
      send: speed(sending[index]!),
    })),
  }
}
