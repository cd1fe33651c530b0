/** Room for encoded tensors, and the way from there to the vector 'stream' and back. */
import { codecs } from '../../codecs/index.ts'
import type { Learner, StageCut } from '../../ports.ts'
import type { PipelineOptions } from '../options.ts'
import { decodeStreamTask, encodeStreamTask, type StreamTensor, strideOf, TENSORS } from '../tasks.ts'

export class Tensors {
  readonly #learner: Learner
  readonly #cut: StageCut
  readonly #codec: PipelineOptions['codec']
  readonly #stride: number

  constructor(learner: Learner, cut: StageCut, codec: PipelineOptions['codec']) {
    this.#learner = learner
    this.#cut = cut
    this.#codec = codec
    this.#stride = strideOf(cut, codec)
  }

  /** Encoded length of what leaves that part (0: the embedding) with so many rows, or of the gradient at it. */
  size(rows: number, part: number): number {
    return codecs[this.#codec].bytes(rows * this.#cut.stream[part]!)
  }

  /** The bytes of a slot that hold such a tensor. */
  bytes(slot: number, rows: number, part: number): Uint8Array {
    const { offset, size } = this.#tensor(slot, rows, part)
    return this.#learner.bytes(TENSORS).subarray(offset, offset + size)
  }

  /** Slot <- stream. Throws 'not-finite'. */
  async encode(slot: number, rows: number, part: number): Promise<{ exponent: number }> {
    return this.#learner.compute(encodeStreamTask, this.#tensor(slot, rows, part))
  }

  /** stream <- slot. Throws 'bad-tensor'. */
  async decode(slot: number, rows: number, part: number, exponent: number): Promise<void> {
    await this.#learner.compute(decodeStreamTask, { ...this.#tensor(slot, rows, part), exponent })
  }

  #tensor(slot: number, rows: number, part: number): StreamTensor {
    const count = rows * this.#cut.stream[part]!
    return { codec: this.#codec, count, offset: slot * this.#stride, size: this.size(rows, part) }
  }
}

/** Numbers from a range, each given to one taker at a time, to the one that has waited longest first. */
export class SlotPool {
  /** Bounded by the range. */
  readonly #free: number[]
  /** Bounded by those who wait: a data peer's microbatches, or one question each. */
  readonly #waiting: ((slot: number) => void)[] = []
  readonly size: number

  constructor(first: number, count: number) {
    this.size = count
    this.#free = Array.from({ length: count }, (_, i) => first + i)
  }

  get free(): number {
    return this.#free.length
  }

  /** Rejects with the signal's reason. */
  take(signal: AbortSignal): Promise<number> {
    signal.throwIfAborted()
    const free = this.#free.shift()
    if (free !== undefined) {
      return Promise.resolve(free)
    }
    return new Promise((resolve, reject) => {
      const give = (slot: number): void => {
        signal.removeEventListener('abort', onAbort)
        resolve(slot)
      }
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(give), 1)
        reject(signal.reason)
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiting.push(give)
    })
  }

  give(slot: number): void {
    const next = this.#waiting.shift()
    if (next === undefined) {
      this.#free.push(slot)
    } else {
      next(slot)
    }
  }
}
