/** Whether the memory that this process may have suffices for a run, before any of it is taken. */
import { totalmem } from 'node:os'
import { SharedVectors, type VectorSpec } from '../../kernels/index.ts'
import type { Engine } from '../../models/index.ts'
import { StarlingError } from '../../protocols/index.ts'

const MEBIBYTE = 2 ** 20

/**
 * What a node takes beside its vectors, bytes: the program, libp2p, the engine and what a step of gpt-nano holds. Measured under a limit of the
 * kernel without swap, on Linux with Node 20: with gpt-nano, whose vectors take 25 MiB, a native node died at 288 MiB and trained, slowly, at 320; one
 * with WebAssembly died at 192 and trained at 256. `usual` is where nothing is evicted all the time. Plain JavaScript loads less than WebAssembly.
 */
const BASE: Record<Engine['name'], { least: number; usual: number }> = {
  native: { least: 260 * MEBIBYTE, usual: 480 * MEBIBYTE },
  wasm: { least: 165 * MEBIBYTE, usual: 320 * MEBIBYTE },
  js: { least: 150 * MEBIBYTE, usual: 320 * MEBIBYTE },
}

/** Bytes that the vectors take. */
export function bytesOf(spec: VectorSpec): number {
  return Object.values(spec).reduce(
    (sum, { type, length }) => sum + length * (type === 'float32' || type === 'int32' ? 4 : 1),
    0,
  )
}

/** Bytes that this process may use: what its control group allows (Linux, both versions), else what the machine has. */
export function memoryLimit(): { bytes: number; container: boolean } {
  // 0, or a number beyond all memory: nothing limits this process.
  const limit = process.constrainedMemory()
  const total = totalmem()
  return limit > 0 && limit < total ? { bytes: limit, container: true } : { bytes: total, container: false }
}

/**
 * Looks whether vectors of so many bytes and a node with that engine fit the limit. The kernel ends who goes beyond it without a word (exit code 137), so
 * it is said before. Returns a warning where it may not suffice; that is a lower bound, because what a step holds grows with the batch and the layers
 * (gpt-micro was seen to take 920 MiB). Throws
 * 'memory-too-small' where even the start cannot succeed.
 */
export function checkMemory(
  vectors: number,
  engine: Engine['name'],
  limit: { bytes: number; container: boolean },
): string | undefined {
  const { least, usual } = BASE[engine]
  const mebibytes = (bytes: number): number => Math.ceil(bytes / MEBIBYTE)
  const there = `${limit.container ? 'this container may use' : 'this machine has'} ${Math.floor(limit.bytes / MEBIBYTE)} MiB of memory`
  const parts = `${mebibytes(vectors)} MiB for the model, its optimizer and the strategy, the rest for the ${engine} engine and the node`
  if (limit.bytes < least + vectors) {
    const other = engine === 'native' && limit.bytes >= BASE.wasm.least + vectors ? ', or take --engine wasm' : ''
    throw new StarlingError(
      'memory-too-small',
      `${there}, and this run needs at least ${mebibytes(least + vectors)} MiB (${parts}); allow more${other}`,
      { limit: limit.bytes, least: least + vectors, vectors, engine },
    )
  }
  // A checkpoint is copied out of the vectors before it is written.
  const wanted = usual + 2 * vectors
  if (limit.bytes >= wanted) return undefined
  return `${there}, and this run takes ${mebibytes(wanted)} MiB or more (${parts}); the system may kill it (exit code 137)`
}

/** Memory for the vectors. Throws 'memory-too-small' where it is not given in one piece. */
export function createVectors(spec: VectorSpec): SharedVectors {
  try {
    return SharedVectors.create(spec)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    const bytes = bytesOf(spec)
    const message = `the model, its optimizer and the strategy need ${Math.ceil(bytes / MEBIBYTE)} MiB in one piece, which this machine does not give`
    throw new StarlingError('memory-too-small', message, { bytes }, { cause: error })
  }
}
