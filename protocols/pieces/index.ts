/**
 * State by pieces: a donor offers a consistent copy of its vectors cut into named, hashed slices; a joiner fetches what it lacks, from
 * any holder of the same hashes, and starts again where it stopped.
 */
import { StarlingError } from '../errors.ts'
import type { Clock, PeerName } from '../ports.ts'
import { type BlobReference, type Blobs, hashBlob, type PullOptions } from '../transfer/index.ts'
import {
  bytesOf,
  coverage,
  PIECES_VERSION,
  type Piece,
  type PieceManifest,
  type PlacedTensor,
  pieceManifestMessage,
  pieceOf,
  referenceOf,
  slicesOf,
} from './format.ts'

export {
  describePieces,
  MAX_PIECES,
  PIECE_BYTES,
  PIECES_VERSION,
  type Piece,
  type PieceManifest,
  type PieceOptions,
  type PlacedTensor,
  pieceManifestMessage,
  pieceManifestSchema,
  referenceOf,
  slicesOf,
  verifyPieces,
} from './format.ts'

/** State that stands to be fetched. */
export interface ServedPieces {
  /** Tells a joiner what to fetch: the blob of the encoded manifest. */
  reference: BlobReference
  manifest: PieceManifest
  /** Ends the offers. The vectors may be written to from then on. */
  withdraw(): void
}

/** Options of {@link servePieces}. */
export interface ServePiecesOptions {
  /** How long the offer stands, ms. */
  ttl: number
  signal?: AbortSignal
  /** Largest piece, bytes; default 4 MiB. */
  pieceBytes?: number
}

/**
 * Offers the vectors (by role) as pieces. They are not copied and must not change until withdrawn or expired: hand over a snapshot.
 * Throws StarlingError 'aborted', and 'bad-message' for a model with more than {@link MAX_PIECES} pieces; nothing is offered then.
 */
export async function servePieces(
  blobs: Blobs,
  tensors: readonly PlacedTensor[],
  vectors: Readonly<Record<string, Float32Array>>,
  options: ServePiecesOptions,
): Promise<ServedPieces> {
  const offered: [root: string, bytes: Uint8Array][] = []
  const withdraw = (): void => {
    for (const [root, bytes] of offered.splice(0)) {
      blobs.withdraw(root, bytes)
    }
  }
  const offer = async (bytes: Uint8Array): Promise<BlobReference> => {
    const { ttl, signal } = options
    const reference = await blobs.offer(bytes, signal === undefined ? { ttl } : { ttl, signal })
    offered.push([reference.root, bytes])
    return reference
  }
  try {
    const pieces: Piece[] = []
    for (const [role, vector] of Object.entries(vectors)) {
      for (const slice of slicesOf(tensors, options.pieceBytes)) {
        const { root } = await offer(bytesOf(vector, slice))
        pieces.push(pieceOf(slice, role, root))
      }
    }
    const manifest: PieceManifest = { version: PIECES_VERSION, pieces }
    return { reference: await offer(pieceManifestMessage.encode(manifest)), manifest, withdraw }
  } catch (error) {
    withdraw()
    throw error
  }
}

/** How a fetch is doing: "34 of 60 pieces from ...". */
export interface PieceProgress {
  pieces: number
  of: number
  bytes: number
  ofBytes: number
  /** Who gave the latest piece; undefined when it was there already. */
  holder?: PeerName
}

/** Options of {@link fetchPieces}. */
export interface FetchPiecesOptions extends Omit<PullOptions, 'onProgress'> {
  clock: Clock
  onProgress?: (progress: PieceProgress) => void
}

/** What a fetch did. */
export interface FetchedPieces {
  pieces: number
  /** Pieces that were there already, from an earlier attempt. */
  kept: number
  /** Bytes fetched, the manifest included. */
  bytes: number
  milliseconds: number
  holders: PeerName[]
}

/**
 * Fills the vectors (by role) with the pieces that the manifest behind `reference` lists. The manifest must cover every tensor of the
 * layout in every role given, exactly once, or nothing is fetched; values are checked to be finite before they reach a vector; padding
 * between tensors is left alone. Call it again after a failure: pieces that are in place are hashed, not fetched.
 *
 * Throws StarlingError 'bad-pieces' (manifest or values are not acceptable; the holders gave what they promised, so it is for the
 * caller to choose another donor), 'bad-message', and what {@link Blobs.pull} throws.
 */
export async function fetchPieces(
  blobs: Blobs,
  holders: readonly PeerName[],
  reference: BlobReference,
  tensors: readonly PlacedTensor[],
  vectors: Readonly<Record<string, Float32Array>>,
  options: FetchPiecesOptions,
): Promise<FetchedPieces> {
  const { clock, onProgress, ...pulling } = options
  const started = clock.now()
  if (reference.size > pieceManifestMessage.maxBytes) {
    throw new StarlingError(
      'bad-pieces',
      `a piece manifest of ${reference.size} bytes is above ${pieceManifestMessage.maxBytes}`,
      {
        size: reference.size,
      },
    )
  }
  const encoded = new Uint8Array(reference.size)
  const first = await blobs.pull(holders, reference, encoded, pulling)
  const wanted = coverage(pieceManifestMessage.decode(encoded), tensors, Object.keys(vectors))
  const used = new Set(first.holders)
  const ofBytes = wanted.reduce((sum, { elements }) => sum + 4 * elements, 0)
  const progress = { pieces: 0, of: wanted.length, bytes: 0, ofBytes }
  let kept = 0
  let fetched = reference.size
  // Holders that failed on one piece are asked last for the next ones.
  let order = [...holders]

  for (const { piece, offset, elements } of wanted) {
    const vector = vectors[piece.role] as Float32Array
    const place = bytesOf(vector, { offset, elements })
    let holder: PeerName | undefined
    if ((await hashBlob(place, clock, options.signal)).reference.root === piece.hash) {
      kept++
      await clock.sleep(0)
    } else {
      const staged = new Float32Array(elements)
      const bytes = new Uint8Array(staged.buffer)
      const result = await blobs.pull(order, referenceOf(piece), bytes, pulling)
      const late = new Set(result.failures.map((failure) => failure.holder))
      order = [...order.filter((each) => !late.has(each)), ...order.filter((each) => late.has(each))]
      if (!allFinite(staged)) {
        throw new StarlingError(
          'bad-pieces',
          `bad pieces: ${piece.role} of ${piece.tensor} holds a value that is not finite`,
          { piece },
        )
      }
      vector.set(staged, offset)
      fetched += bytes.byteLength
      holder = result.holders.at(-1)
      for (const each of result.holders) {
        used.add(each)
      }
    }
    progress.pieces++
    progress.bytes += 4 * elements
    onProgress?.(holder === undefined ? { ...progress } : { ...progress, holder })
  }
  return { pieces: wanted.length, kept, bytes: fetched, milliseconds: clock.now() - started, holders: [...used] }
}

/** A plain loop: a callback per element would hold the network thread for 10 ms a piece. */
function allFinite(values: Float32Array): boolean {
  for (let index = 0; index < values.length; index++) {
    if (!Number.isFinite(values[index])) {
      return false
    }
  }
  return true
}
