/**
 * The piece manifest: a list of named, hashed slices of state. It is what a joiner fetches by, what a stage moves by and what an
 * audit compares. The form follows the geometric shard map (design section 7): every piece says which part of which logical
 * tensor it is, so state saved in one layout can be loaded in any other.
 */
import { z } from 'zod'
import { StarlingError } from '../errors.ts'
import type { Clock } from '../ports.ts'
import { type BlobReference, blobReferenceSchema, hashBlob } from '../transfer/index.ts'
import { defineMessage } from '../wire/index.ts'

/** Version of the form. */
export const PIECES_VERSION = 1

/** Most pieces of one manifest: a model of 4 GiB in three roles, cut at {@link PIECE_BYTES}, has 3,072. */
export const MAX_PIECES = 4000

/** Tensors longer than this are cut into rows, bytes. Four chunks: enough to fill a link, little to fetch again. */
export const PIECE_BYTES = 4 * 1024 * 1024

/** One slice of one tensor. */
export interface Piece {
  /** Name of the logical tensor. */
  tensor: string
  /** Shape of the logical tensor. */
  shape: number[]
  dtype: 'float32'
  /** First index of the slice in each dimension. Only the first may be above 0. */
  start: number[]
  /** Extent of the slice in each dimension. Only the first may be below the shape's. */
  length: number[]
  /** What the values are: 'theta', 'phi', 'delta', 'm', ... */
  role: string
  /** Root hash of the slice's little-endian bytes, as in bulk transfer. */
  hash: string
}

/** All pieces of a state. */
export interface PieceManifest {
  version: typeof PIECES_VERSION
  pieces: Piece[]
}

const extent = z
  .number()
  .int()
  .min(0)
  .max(2 ** 40)

/** Schema of {@link PieceManifest}. */
export const pieceManifestSchema = z.strictObject({
  version: z.literal(PIECES_VERSION),
  pieces: z
    .array(
      z
        .strictObject({
          tensor: z.string().min(1).max(256),
          shape: z.array(extent).max(8),
          dtype: z.literal('float32'),
          start: z.array(extent).max(8),
          length: z.array(extent).max(8),
          role: z.string().min(1).max(64),
          hash: blobReferenceSchema.shape.root,
        })
        .refine(
          ({ shape, start, length }) => isSliceOf(shape, start, length),
          'start and length do not cut rows of the shape',
        ),
    )
    .max(MAX_PIECES),
})

/** The manifest as a message. It travels as a blob itself, since it may be long. */
export const pieceManifestMessage = defineMessage<PieceManifest>('piece-manifest', pieceManifestSchema, {
  maxBytes: 4 * 1024 * 1024,
  maxDepth: 6,
  maxItems: MAX_PIECES * 48,
})

/** Where a tensor lies in its flat vector; the daemon's model layouts have this form. */
export interface PlacedTensor {
  name: string
  shape: readonly number[]
  /** First element in the flat vector. */
  offset: number
  /** Number of elements. */
  length: number
}

/** A slice and where its elements lie in the flat vector. */
export interface Slice {
  tensor: string
  shape: number[]
  start: number[]
  length: number[]
  /** First element in the flat vector. */
  offset: number
  /** Number of elements. */
  elements: number
}

/** Cuts the tensors into slices of at most `pieceBytes`, whole rows each, in the order of the layout. Pure. */
export function slicesOf(tensors: readonly PlacedTensor[], pieceBytes: number = PIECE_BYTES): Slice[] {
  const slices: Slice[] = []
  for (const { name, shape, offset, length } of tensors) {
    const rows = shape[0] ?? 1
    const row = rows === 0 ? 0 : length / rows
    const rowsEach = row === 0 ? Math.max(1, rows) : Math.max(1, Math.floor(pieceBytes / 4 / row))
    for (let first = 0; first < rows; first += rowsEach) {
      const count = Math.min(rowsEach, rows - first)
      slices.push({
        tensor: name,
        shape: [...shape],
        start: shape.map((_, dimension) => (dimension === 0 ? first : 0)),
        length: shape.map((size, dimension) => (dimension === 0 ? count : size)),
        offset: offset + first * row,
        elements: count * row,
      })
    }
  }
  return slices
}

/** A piece as the name of its bytes. */
export function referenceOf(piece: Piece): BlobReference {
  return { root: piece.hash, size: 4 * piece.length.reduce((product, size) => product * size, 1) }
}

/** Bytes of a slice of a float32 vector, without a copy. */
export function bytesOf(vector: Float32Array, slice: { offset: number; elements: number }): Uint8Array {
  return new Uint8Array(vector.buffer, vector.byteOffset + 4 * slice.offset, 4 * slice.elements)
}

/** Options of {@link describePieces} and {@link verifyPieces}. */
export interface PieceOptions {
  clock: Clock
  signal?: AbortSignal
  /** Default {@link PIECE_BYTES}. */
  pieceBytes?: number
}

/** Hashes the pieces of one vector, which must not change meanwhile. At most 1 MiB is hashed between two turns of the event loop. */
export async function describePieces(
  tensors: readonly PlacedTensor[],
  vector: Float32Array,
  role: string,
  options: PieceOptions,
): Promise<Piece[]> {
  const pieces: Piece[] = []
  for (const slice of slicesOf(tensors, options.pieceBytes)) {
    const { reference } = await hashBlob(bytesOf(vector, slice), options.clock, options.signal)
    await options.clock.sleep(0)
    pieces.push(pieceOf(slice, role, reference.root))
  }
  return pieces
}

/** The pieces whose bytes in the vectors (by role) do not have the hash they should; those of roles or tensors not given count as well. */
export async function verifyPieces(
  pieces: readonly Piece[],
  tensors: readonly PlacedTensor[],
  vectors: Readonly<Record<string, Float32Array>>,
  options: PieceOptions,
): Promise<Piece[]> {
  const wrong: Piece[] = []
  for (const piece of pieces) {
    const vector = Object.hasOwn(vectors, piece.role) ? vectors[piece.role] : undefined
    const place = vector === undefined ? undefined : placeOf(piece, tensors)
    if (vector === undefined || place === undefined) {
      wrong.push(piece)
      continue
    }
    const { reference } = await hashBlob(bytesOf(vector, place), options.clock, options.signal)
    await options.clock.sleep(0)
    if (reference.root !== piece.hash) {
      wrong.push(piece)
    }
  }
  return wrong
}

/** The piece of a slice. */
export function pieceOf(slice: Slice, role: string, hash: string): Piece {
  const { tensor, shape, start, length } = slice
  return { tensor, shape, dtype: 'float32', start, length, role, hash }
}

/** Where a piece belongs in the flat vector; undefined when the layout has no such tensor of that shape. */
export function placeOf(
  piece: Piece,
  tensors: readonly PlacedTensor[],
): { offset: number; elements: number } | undefined {
  const tensor = tensors.find(({ name }) => name === piece.tensor)
  if (
    tensor === undefined ||
    !sameNumbers(tensor.shape, piece.shape) ||
    !isSliceOf(piece.shape, piece.start, piece.length)
  ) {
    return undefined
  }
  const rows = piece.shape[0] ?? 1
  const row = rows === 0 ? 0 : tensor.length / rows
  return { offset: tensor.offset + (piece.start[0] ?? 0) * row, elements: (piece.length[0] ?? 1) * row }
}

/**
 * Throws StarlingError 'bad-pieces' unless the pieces cover every tensor of the layout exactly once in each of the roles; pieces of
 * other roles are left aside. Returns the pieces wanted, with their places.
 */
export function coverage(
  manifest: PieceManifest,
  tensors: readonly PlacedTensor[],
  roles: readonly string[],
): { piece: Piece; offset: number; elements: number }[] {
  const bad = (message: string, piece?: Piece): StarlingError =>
    new StarlingError('bad-pieces', `bad pieces: ${message}`, { piece })
  const known = new Map(tensors.map((tensor) => [tensor.name, [tensor] as const]))
  const wanted: { piece: Piece; offset: number; elements: number }[] = []
  const reached = new Map<string, number>()
  const ordered = manifest.pieces
    .filter(({ role }) => roles.includes(role))
    .sort((a, b) => (a.start[0] ?? 0) - (b.start[0] ?? 0) || (a.length[0] ?? 0) - (b.length[0] ?? 0))
  for (const piece of ordered) {
    const place = placeOf(piece, known.get(piece.tensor) ?? [])
    if (place === undefined) {
      throw bad(`this model has no tensor ${piece.tensor} of shape [${piece.shape.join(', ')}]`, piece)
    }
    const key = JSON.stringify([piece.role, piece.tensor])
    const rows = piece.start[0] ?? 0
    if ((reached.get(key) ?? 0) !== rows) {
      throw bad(`${piece.role} of ${piece.tensor} has a gap or an overlap at row ${rows}`, piece)
    }
    if (piece.shape.length === 0 && reached.has(key)) {
      throw bad(`${piece.role} of ${piece.tensor} is there twice`, piece)
    }
    reached.set(key, rows + (piece.length[0] ?? 1))
    wanted.push({ piece, ...place })
  }
  for (const role of roles) {
    for (const { name, shape } of tensors) {
      if ((reached.get(JSON.stringify([role, name])) ?? 0) !== (shape[0] ?? 1)) {
        throw bad(`${role} of ${name} is not complete`)
      }
    }
  }
  return wanted
}

/** Whether (start, length) is a run of whole rows of the shape. A scalar has no dimensions and is one row. */
function isSliceOf(shape: readonly number[], start: readonly number[], length: readonly number[]): boolean {
  if (start.length !== shape.length || length.length !== shape.length) {
    return false
  }
  return shape.every((size, dimension) => {
    const first = start[dimension] as number
    const count = length[dimension] as number
    return dimension === 0 ? count > 0 && first + count <= size : first === 0 && count === size
  })
}

const sameNumbers = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((value, index) => value === b[index])
