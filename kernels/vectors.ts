import { KernelError } from './errors.ts'
import type { VectorSpec, VectorType } from './types.ts'

const PAGE = 65_536

/** Every vector starts on a multiple of this many bytes: a cache line, and what TensorFlow needs to use the memory without copying it. */
const ALIGNMENT = 64

/**
 * Page 0 is the kernels' own: a counter at address 0 (no constant lies there), their constants up to {@link SCRATCH_BYTES}, and after that scratch for
 * {@link SCRATCHES} of their instances.
 */
const RESERVED = PAGE
const SCRATCH_BYTES = 4096
const SCRATCHES = PAGE / SCRATCH_BYTES - 1

/**
 * Address of scratch of {@link SCRATCH_BYTES} for one more instance of the kernels over this memory. The latest 15 instances have scratch of their
 * own; a trainer that died left one behind, which is taken again by the sixteenth.
 */
export function claimScratch(memory: WebAssembly.Memory): number {
  const instance = Atomics.add(new Uint32Array(memory.buffer, 0, 1), 0, 1)
  return SCRATCH_BYTES * (1 + (instance % SCRATCHES))
}

const ELEMENT_BYTES: Record<VectorType, number> = { float32: 4, int32: 4, int8: 1, uint8: 1 }

/** Where one vector lies. */
export interface VectorEntry {
  type: VectorType
  /** Bytes from the start of the memory; a multiple of 64. */
  offset: number
  /** Elements. */
  length: number
}

/** What another thread needs to see the same vectors; may be posted to a worker. */
export interface VectorsHandle {
  memory: WebAssembly.Memory
  entries: Record<string, VectorEntry>
}

/**
 * Named typed arrays in one shared `WebAssembly.Memory`: the parameters of a model, its gradient, the optimizer's moments, what a strategy needs.
 * They are laid out once and never move, so a view stays valid for the life of the memory, in every thread and across the death of any.
 *
 * @example
 * const vectors = SharedVectors.create({ theta: { type: 'float32', length: 1024 } })
 * const worker = new Worker(url, { workerData: vectors.handle }) // there: SharedVectors.attach(workerData)
 */
export class SharedVectors {
  readonly memory: WebAssembly.Memory
  private readonly entries: Record<string, VectorEntry>

  private constructor(handle: VectorsHandle) {
    this.memory = handle.memory
    this.entries = handle.entries
  }

  /** Lays the vectors out in a new memory, all zero. Throws a RangeError when the machine does not have that much memory, or above 4 GiB. */
  static create(spec: VectorSpec): SharedVectors {
    const entries: Record<string, VectorEntry> = {}
    let offset = RESERVED
    for (const [name, { type, length }] of Object.entries(spec)) {
      entries[name] = { type, offset, length }
      offset += Math.ceil((length * ELEMENT_BYTES[type]) / ALIGNMENT) * ALIGNMENT
    }
    const pages = Math.ceil(offset / PAGE)
    return new SharedVectors({
      memory: new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }),
      entries,
    })
  }

  /** The same vectors in another thread. */
  static attach(handle: VectorsHandle): SharedVectors {
    return new SharedVectors(handle)
  }

  get handle(): VectorsHandle {
    return { memory: this.memory, entries: this.entries }
  }

  /** Names of all vectors, in the order of their memory. */
  get names(): string[] {
    return Object.keys(this.entries)
  }

  has(name: string): boolean {
    return Object.hasOwn(this.entries, name)
  }

  /** @throws KernelError 'vector-unknown' or 'vector-type' */
  float32(name: string): Float32Array {
    const { offset, length } = this.entry(name, 'float32')
    return new Float32Array(this.memory.buffer, offset, length)
  }

  /** @throws KernelError 'vector-unknown' or 'vector-type' */
  int32(name: string): Int32Array {
    const { offset, length } = this.entry(name, 'int32')
    return new Int32Array(this.memory.buffer, offset, length)
  }

  /** @throws KernelError 'vector-unknown' or 'vector-type' */
  int8(name: string): Int8Array {
    const { offset, length } = this.entry(name, 'int8')
    return new Int8Array(this.memory.buffer, offset, length)
  }

  /** Any vector's bytes, without its padding. @throws KernelError 'vector-unknown' */
  bytes(name: string): Uint8Array {
    const { offset, length, type } = this.entry(name)
    return new Uint8Array(this.memory.buffer, offset, length * ELEMENT_BYTES[type])
  }

  private entry(name: string, type?: VectorType): VectorEntry {
    const entry = Object.hasOwn(this.entries, name) ? this.entries[name] : undefined
    if (entry === undefined)
      throw new KernelError('vector-unknown', `no vector is named '${name}'`, { name, known: this.names })
    if (type !== undefined && entry.type !== type) {
      throw new KernelError('vector-type', `vector '${name}' is ${entry.type}, not ${type}`, {
        name,
        type,
        actual: entry.type,
      })
    }
    return entry
  }
}
