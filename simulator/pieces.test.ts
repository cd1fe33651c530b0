import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  type BlobReference,
  type Blobs,
  createBlobs,
  describePieces,
  fetchPieces,
  type Piece,
  type PieceProgress,
  type PlacedTensor,
  pieceManifestMessage,
  StarlingError,
  seededRandom,
  servePieces,
  slicesOf,
  verifyPieces,
} from '../protocols/index.ts'
import { createMemoryNetwork, type MemoryNetwork } from './index.ts'

const code = (wanted: string) => (error: unknown) => error instanceof StarlingError && error.code === wanted

/** Tensors one after the other, each at a multiple of 16 elements. */
function layout(shapes: readonly (readonly number[])[]): { tensors: PlacedTensor[]; size: number } {
  let size = 0
  const tensors = shapes.map((shape, index) => {
    const length = shape.reduce((product, extent) => product * extent, 1)
    const tensor = { name: `tensor.${index}`, shape, offset: size, length }
    size += Math.ceil(length / 16) * 16
    return tensor
  })
  return { tensors, size }
}

function filled(tensors: readonly PlacedTensor[], size: number, seed: string): Float32Array {
  const vector = new Float32Array(size)
  const random = seededRandom(seed)
  for (const { offset, length } of tensors) {
    for (let index = 0; index < length; index++) {
      vector[offset + index] = random.uniform() - 0.5
    }
  }
  return vector
}

const { tensors, size } = layout([[50, 40], [7], [], [33, 3, 5], [1, 64], [64, 1], [10, 10]])
const PIECE_BYTES = 2_000

async function donor(network: MemoryNetwork, vectors: Record<string, Float32Array>, name = 'donor') {
  const blobs = createBlobs(network.join(name))
  const served = await network.clock.run(servePieces(blobs, tensors, vectors, { ttl: 1e9, pieceBytes: PIECE_BYTES }))
  return { blobs, ...served }
}

describe('pieces', () => {
  test('a replica arrives bit for bit, piece by piece, and padding stays zero', async () => {
    const network = createMemoryNetwork({ seed: 1 })
    const [theta, phi] = [filled(tensors, size, 'theta'), filled(tensors, size, 'phi')]
    const served = await donor(network, { theta, phi })
    const joiner = createBlobs(network.join('joiner'))
    const into = { theta: new Float32Array(size), phi: new Float32Array(size) }
    const seen: PieceProgress[] = []
    const result = await network.clock.run(
      fetchPieces(joiner, ['donor'], served.reference, tensors, into, {
        clock: network.clock,
        onProgress: (each) => seen.push(each),
      }),
    )
    assert.deepEqual(into, { theta, phi })
    assert.equal(result.pieces, served.manifest.pieces.length)
    assert.equal(seen.length, result.pieces)
    assert.deepEqual(seen.at(-1), {
      pieces: result.pieces,
      of: result.pieces,
      bytes: seen[0]?.ofBytes,
      ofBytes: seen[0]?.ofBytes,
      holder: 'donor',
    })
    assert.equal(result.kept, 0)
    const wrong = await network.clock.run(verifyPieces(served.manifest.pieces, tensors, into, { clock: network.clock }))
    assert.deepEqual(wrong, [])
    into.phi[3]! += 1
    const now = await network.clock.run(verifyPieces(served.manifest.pieces, tensors, into, { clock: network.clock }))
    assert.deepEqual(
      now.map(({ role, tensor }) => [role, tensor]),
      [['phi', 'tensor.0']],
    )
    served.withdraw()
    assert.equal(served.blobs.offers, 0)
  })

  test('a fetch that failed goes on where it stopped, from another holder of the same hashes', async () => {
    const network = createMemoryNetwork({ seed: 2 })
    const theta = filled(tensors, size, 'theta')
    const first = await donor(network, { theta }, 'first')
    const joiner = createBlobs(network.join('joiner'))
    const into = { theta: new Float32Array(size) }
    const { clock } = network
    const dying = fetchPieces(joiner, ['first'], first.reference, tensors, into, {
      clock,
      onProgress: ({ pieces }) => pieces === 5 && network.peer('first').kill(),
    })
    await assert.rejects(clock.run(dying), code('no-holder'))
    const second = await donor(network, { theta }, 'second')
    assert.deepEqual(second.reference, first.reference, 'the same state has the same name')
    const result = await clock.run(fetchPieces(joiner, ['first', 'second'], first.reference, tensors, into, { clock }))
    assert.equal(result.kept, 5)
    assert.deepEqual(result.holders, ['second'])
    assert.deepEqual(into.theta, theta)
  })

  test('when a holder dies mid-way the others take over within one fetch', async () => {
    const network = createMemoryNetwork({ seed: 3 })
    const theta = filled(tensors, size, 'theta')
    const [{ reference }] = [await donor(network, { theta }, 'a'), await donor(network, { theta }, 'b')]
    const joiner = createBlobs(network.join('joiner'))
    const into = { theta: new Float32Array(size) }
    const { clock } = network
    const result = await clock.run(
      fetchPieces(joiner, ['a', 'b'], reference, tensors, into, {
        clock,
        onProgress: ({ pieces }) => pieces === 4 && network.peer('a').kill(),
      }),
    )
    assert.deepEqual(result.holders, ['a', 'b'])
    assert.deepEqual(into.theta, theta)
  })

  /** A donor of a manifest that is not what it should be. */
  async function liar(change: (pieces: Piece[]) => Piece[], theta = filled(tensors, size, 'theta')) {
    const network = createMemoryNetwork({ seed: 4 })
    const { blobs, manifest } = await donor(network, { theta })
    const encoded = pieceManifestMessage.encode({ version: 1, pieces: change(structuredClone(manifest.pieces)) })
    const reference = await blobs.offer(encoded, { ttl: 1e9 })
    const joiner = createBlobs(network.join('joiner'))
    const into = { theta: new Float32Array(size) }
    const fetching = fetchPieces(joiner, ['donor'], reference, tensors, into, { clock: network.clock })
    return { fetching: network.clock.run(fetching), into }
  }

  test('a manifest that does not cover this model exactly is refused before anything is fetched', async () => {
    const changes: [string, (pieces: Piece[]) => Piece[]][] = [
      ['a piece is missing', (pieces) => pieces.slice(1)],
      ['the last piece is missing', (pieces) => pieces.slice(0, -1)],
      ['a piece is there twice', (pieces) => [...pieces, pieces[0]!]],
      ['the scalar is there twice', (pieces) => [...pieces, pieces.find(({ shape }) => shape.length === 0)!]],
      [
        'another tensor',
        (pieces) => pieces.map((piece, index) => (index === 0 ? { ...piece, tensor: 'other' } : piece)),
      ],
      ['another role', (pieces) => pieces.map((piece) => ({ ...piece, role: 'phi' }))],
      ['nothing', () => []],
      [
        'another shape of the same size',
        (pieces) =>
          pieces.map((piece) => (piece.tensor === 'tensor.4' ? { ...piece, shape: [64, 1], length: [64, 1] } : piece)),
      ],
    ]
    for (const [name, change] of changes) {
      const { fetching, into } = await liar(change)
      await assert.rejects(fetching, code('bad-pieces'), name)
      assert.ok(
        into.theta.every((value) => value === 0),
        name,
      )
    }
  })

  test('values that are not finite never reach a vector', async () => {
    for (const poison of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const theta = filled(tensors, size, 'theta')
      theta[tensors[3]!.offset + 10] = poison
      const { fetching, into } = await liar((pieces) => pieces, theta)
      await assert.rejects(fetching, code('bad-pieces'))
      assert.ok(into.theta.every(Number.isFinite))
    }
  })

  test('a manifest of garbage is refused', async () => {
    const network = createMemoryNetwork({ seed: 5 })
    const blobs: Blobs = createBlobs(network.join('donor'))
    const joiner = createBlobs(network.join('joiner'))
    const { clock } = network
    const into = { theta: new Float32Array(size) }
    const fetchFrom = (reference: BlobReference) =>
      clock.run(fetchPieces(joiner, ['donor'], reference, tensors, into, { clock }))
    const reference = await blobs.offer(new Uint8Array(1000).fill(0x81), { ttl: 1e9 })
    await assert.rejects(fetchFrom(reference), code('bad-message'))
    await assert.rejects(fetchFrom({ root: reference.root, size: 2 ** 33 }), code('bad-pieces'))
  })

  test('slices cover every layout exactly once, in pieces no longer than asked for unless one row is', () => {
    const shape = fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 4 })
    fc.assert(
      fc.property(fc.array(shape, { maxLength: 8 }), fc.integer({ min: 4, max: 600 }), (shapes, pieceBytes) => {
        const made = layout(shapes)
        const covered = new Uint8Array(made.size)
        for (const slice of slicesOf(made.tensors, pieceBytes)) {
          const row = slice.shape.slice(1).reduce((product, extent) => product * extent, 1)
          assert.ok(slice.elements * 4 <= Math.max(pieceBytes, row * 4))
          assert.equal(
            slice.elements,
            slice.length.reduce((product, extent) => product * extent, 1),
          )
          for (let index = slice.offset; index < slice.offset + slice.elements; index++) {
            covered[index]!++
          }
        }
        for (const { offset, length } of made.tensors) {
          assert.ok(covered.subarray(offset, offset + length).every((times) => times === 1))
        }
        assert.equal(
          covered.reduce((sum, times) => sum + times, 0),
          made.tensors.reduce((sum, { length }) => sum + length, 0),
        )
      }),
      { numRuns: 500, seed: 1 },
    )
  })

  test('changed manifests are decoded to the same bytes or refused', async () => {
    const network = createMemoryNetwork({ seed: 6 })
    const pieces = await network.clock.run(
      describePieces(tensors, filled(tensors, size, 'x'), 'theta', { clock: network.clock }),
    )
    const good = pieceManifestMessage.encode({ version: 1, pieces })
    const random = seededRandom('piece fuzz')
    let refused = 0
    for (let round = 0; round < 2_000; round++) {
      const bytes = good.slice(0, random.integer(4) === 0 ? random.integer(good.length) : good.length)
      for (let flips = random.integer(4); flips > 0 && bytes.length > 0; flips--) {
        bytes[random.integer(bytes.length)] = random.integer(256)
      }
      try {
        assert.deepEqual(pieceManifestMessage.encode(pieceManifestMessage.decode(bytes)), bytes)
      } catch (error) {
        assert.ok(code('bad-message')(error), String(error))
        refused++
      }
    }
    assert.ok(refused > 1_000)
  })
})
