import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  type Answerer,
  type BlobReference,
  type Blobs,
  CHUNK_BYTES,
  createBlobs,
  hashBlob,
  MAX_OFFERS,
  type PullOptions,
  type PullResult,
  StarlingError,
  seededRandom,
} from '../protocols/index.ts'
import { createMemoryNetwork, type MemoryNetwork, type MemoryPeer } from './index.ts'

const MIB = CHUNK_BYTES
const code = (wanted: string) => (error: unknown) => error instanceof StarlingError && error.code === wanted

/** Bytes that differ everywhere, so that a chunk in the wrong place is noticed. */
function noise(length: number, seed = 1): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4))
  const random = seededRandom('noise', seed)
  const [a, b] = [random.integer(2 ** 32) | 1, random.integer(2 ** 32)]
  for (let index = 0; index < words.length; index++) {
    words[index] = Math.imul(index ^ b, a)
  }
  return new Uint8Array(words.buffer, 0, length)
}

interface Scene {
  network: MemoryNetwork
  taker: MemoryPeer
  peers: MemoryPeer[]
  blobs: Blobs[]
  pull(bytes: Uint8Array, into: Uint8Array, options?: PullOptions): Promise<PullResult>
}

/** One taker and some holders that all offer the same bytes. */
async function scene(bytes: Uint8Array, holders = 2): Promise<Scene> {
  const network = createMemoryNetwork({ seed: 7, latency: [10, 20] })
  const taker = network.join('taker')
  const own = createBlobs(taker)
  const peers = Array.from({ length: holders }, (_, index) => network.join(`holder-${index}`))
  const blobs = peers.map((peer) => createBlobs(peer))
  for (const each of blobs) {
    await network.clock.run(each.offer(bytes, { ttl: 1_000_000 }))
  }
  return {
    network,
    taker,
    peers,
    blobs,
    async pull(wanted, into, options) {
      const { reference } = await network.clock.run(hashBlob(wanted, network.clock))
      return network.clock.run(
        own.pull(
          peers.map(({ self }) => self),
          reference,
          into,
          options,
        ),
      )
    },
  }
}

/** Replaces a holder's answers to one method. */
function lie(scene: Scene, holder: number, method: string, answer: (honest: Answerer) => Answerer): void {
  const peer = scene.peers[holder] as MemoryPeer
  const honest = scene.network.answererOf(peer.self, method)
  scene.network.replaceAnswerer(peer.self, method, answer(honest))
}

describe('bulk transfer', () => {
  test('a blob of any length arrives whole, from the first holder', async () => {
    for (const length of [0, 1, 1000, MIB - 1, MIB, MIB + 1, 3 * MIB + 12_345]) {
      const bytes = noise(length)
      const place = await scene(bytes)
      const into = new Uint8Array(length)
      const seen: number[] = []
      const result = await place.pull(bytes, into, { onProgress: (progress) => seen.push(progress.bytes) })
      assert.deepEqual(Buffer.compare(into, bytes), 0)
      assert.equal(result.bytes, length)
      assert.deepEqual(result.holders, length === 0 ? [] : ['holder-0'])
      assert.deepEqual(result.failures, [])
      assert.equal(seen.at(-1) ?? 0, length)
      assert.deepEqual(place.taker.penalties, [])
    }
  })

  test('bytes go in and out of shared memory', async () => {
    const memory = new WebAssembly.Memory({ initial: 64, maximum: 64, shared: true })
    const source = new Uint8Array(memory.buffer, 64, MIB + 100)
    source.set(noise(MIB + 100))
    const into = new Uint8Array(memory.buffer, 2 * MIB, MIB + 100)
    const place = await scene(source, 1)
    await place.pull(source, into)
    assert.equal(Buffer.compare(into, source), 0)
  })

  test('never more than two chunks are outstanding, and as many as asked for where more are allowed', async () => {
    const bytes = noise(8 * MIB)
    const place = await scene(bytes, 1)
    await place.pull(bytes, new Uint8Array(bytes.length))
    assert.equal(place.taker.mostOutstanding, 2)
    await place.pull(bytes, new Uint8Array(bytes.length), { outstanding: 4 })
    assert.equal(place.taker.mostOutstanding, 4)
    await assert.rejects(place.pull(bytes, new Uint8Array(bytes.length), { outstanding: 0 }), RangeError)
  })

  test('a holder that dies mid-way is replaced, and what was checked is not fetched again', async () => {
    const bytes = noise(8 * MIB)
    const place = await scene(bytes)
    const asked = [0, 0]
    for (const holder of [0, 1]) {
      lie(place, holder, 'blob-chunk', (honest) => (...args) => {
        asked[holder]!++
        return honest(...args)
      })
    }
    const into = new Uint8Array(bytes.length)
    const result = await place.pull(bytes, into, {
      onProgress: ({ bytes: done }) => done === 4 * MIB && place.peers[0]?.kill(),
    })
    assert.equal(Buffer.compare(into, bytes), 0)
    assert.deepEqual(result.holders, ['holder-0', 'holder-1'])
    assert.deepEqual(
      result.failures.map((failure) => [failure.holder, failure.code]),
      [['holder-0', 'peer-unreachable']],
    )
    assert.equal(asked[1], 4)
    assert.ok((asked[0] as number) <= 6)
    assert.deepEqual(place.taker.penalties, [], 'dying is no proven fault')
  })

  test('a corrupted chunk is refused, held against its sender and fetched elsewhere', async () => {
    const bytes = noise(4 * MIB)
    const place = await scene(bytes)
    let calls = 0
    lie(place, 0, 'blob-chunk', (honest) => async (...args) => {
      const chunk = (await honest(...args)).slice()
      if (++calls >= 3) {
        chunk[500_000]! ^= 1
      }
      return chunk
    })
    const into = new Uint8Array(bytes.length)
    const result = await place.pull(bytes, into)
    assert.equal(Buffer.compare(into, bytes), 0)
    assert.equal(result.failures[0]?.code, 'bad-chunk')
    assert.ok(place.taker.penalties.some(({ peer, reason }) => peer === 'holder-0' && reason === 'bad-chunk'))
  })

  test('liars about length and about the hash list are refused before any data moves', async () => {
    const bytes = noise(3 * MIB)
    const liars: [string, string, (honest: Uint8Array) => Uint8Array][] = [
      ['blob-hashes', 'bad-hash-list', (list) => list.slice(32)],
      ['blob-hashes', 'answer-too-large', (list) => new Uint8Array([...list, ...list])],
      ['blob-hashes', 'bad-hash-list', (list) => list.map((byte) => byte ^ 255)],
      ['blob-chunk', 'bad-chunk', (chunk) => chunk.slice(1)],
      ['blob-chunk', 'answer-too-large', (chunk) => new Uint8Array(chunk.length + 1)],
      ['blob-chunk', 'bad-chunk', () => new Uint8Array(0)],
    ]
    for (const [method, fault, change] of liars) {
      const place = await scene(bytes)
      lie(
        place,
        0,
        method,
        (honest) =>
          async (...args) =>
            change(await honest(...args)),
      )
      const into = new Uint8Array(bytes.length)
      const result = await place.pull(bytes, into)
      assert.equal(Buffer.compare(into, bytes), 0)
      assert.equal(result.failures[0]?.code, fault)
      assert.equal(place.taker.penalties[0]?.reason, fault)
    }
  })

  test('a reference that lies about the size is found out by the root', async () => {
    const bytes = noise(MIB)
    const place = await scene(bytes, 1)
    const { reference } = await place.network.clock.run(hashBlob(bytes, place.network.clock))
    const taker = createBlobs(place.network.join('other'))
    const wrong = { root: reference.root, size: MIB - 1 }
    const pulling = taker.pull(['holder-0'], wrong, new Uint8Array(MIB - 1))
    await assert.rejects(place.network.clock.run(pulling), code('no-holder'))
    for (const bad of [
      { root: 'x', size: 1 },
      { root: reference.root, size: -1 },
      { root: reference.root, size: 2 ** 50 },
    ]) {
      await assert.rejects(taker.pull(['holder-0'], bad, new Uint8Array(1)), code('bad-reference'))
    }
    await assert.rejects(taker.pull(['holder-0'], reference, new Uint8Array(5)), code('bad-reference'))
  })

  test('a holder that stops answering costs one time-out and no penalty', async () => {
    const bytes = noise(4 * MIB)
    const place = await scene(bytes)
    const into = new Uint8Array(bytes.length)
    const result = await place.pull(bytes, into, {
      chunkTimeout: 3_000,
      onProgress: ({ bytes: done }) => done === MIB && place.peers[0]?.freeze(),
    })
    assert.equal(Buffer.compare(into, bytes), 0)
    assert.equal(result.failures[0]?.code, 'ask-timeout')
    assert.ok(result.milliseconds >= 3_000 && result.milliseconds < 3_500, String(result.milliseconds))
    assert.deepEqual(place.taker.penalties, [])
  })

  test('when every holder fails the error says why for each', async () => {
    const bytes = noise(2 * MIB)
    const place = await scene(bytes)
    place.blobs[0]?.stop()
    place.peers[1]?.kill()
    await assert.rejects(place.pull(bytes, new Uint8Array(bytes.length)), (error) => {
      assert.ok(code('no-holder')(error))
      const failures = (error as StarlingError).data.failures as { code: string }[]
      assert.deepEqual(
        failures.map((failure) => failure.code),
        ['unknown-method', 'peer-unreachable'],
      )
      return true
    })
  })

  test('aborting ends a pull at once at every phase, and nothing is written afterwards', async () => {
    const bytes = noise(4 * MIB)
    const whole = await (await scene(bytes, 1)).pull(bytes, new Uint8Array(bytes.length))
    // Before, while the hashes are on their way, between chunks, with the last chunk outstanding.
    for (const share of [0, 0.05, 0.3, 0.5, 0.7, 0.9, 0.99]) {
      const moment = share * whole.milliseconds
      const place = await scene(bytes, 1)
      const controller = new AbortController()
      const into = new Uint8Array(bytes.length)
      const pulling = place.pull(bytes, into, { signal: controller.signal })
      const caught = assert.rejects(pulling, code('aborted'))
      if (moment === 0) {
        controller.abort()
      } else {
        place.network.clock.schedule(moment, () => controller.abort())
      }
      await caught
      assert.equal(place.taker.outstanding, 0)
      const left = into.slice()
      await place.network.clock.advance(10_000)
      assert.equal(Buffer.compare(into, left), 0)
      for (let chunk = 0; chunk < 4; chunk++) {
        const part = into.subarray(chunk * MIB, (chunk + 1) * MIB)
        assert.ok(
          part.every((byte) => byte === 0) ||
            Buffer.compare(part, bytes.subarray(chunk * MIB, (chunk + 1) * MIB)) === 0,
        )
      }
    }
  })

  test('stopping ends pulls, offers and answers', async () => {
    const bytes = noise(2 * MIB)
    const network = createMemoryNetwork({ seed: 1 })
    const [a, b] = [network.join('a'), network.join('b')]
    const [giver, taker] = [createBlobs(a), createBlobs(b)]
    const reference = await network.clock.run(giver.offer(bytes, { ttl: 1000 }))
    const pulling = taker.pull(['a'], reference, new Uint8Array(bytes.length))
    taker.stop()
    await assert.rejects(pulling, code('aborted'))
    giver.stop()
    assert.equal(giver.offers, 0)
    await assert.rejects(network.clock.run(b.ask('a', 'blob-hashes', new Uint8Array())), code('unknown-method'))
  })

  test('offers end when withdrawn or expired, and equal offers end one by one', async () => {
    const bytes = noise(1000)
    const network = createMemoryNetwork({ seed: 1 })
    const [a, b] = [network.join('a'), network.join('b')]
    const [giver, taker] = [createBlobs(a), createBlobs(b)]
    const { clock } = network
    const take = async () => clock.run(taker.pull(['a'], reference, new Uint8Array(1000)))
    const reference = await giver.offer(bytes, { ttl: 5_000 })
    const twin = bytes.slice()
    await giver.offer(twin, { ttl: 60_000 })
    giver.withdraw(reference.root, bytes)
    bytes.fill(0)
    await take()
    await clock.advance(61_000)
    await assert.rejects(take(), code('no-holder'))
    assert.equal(giver.offers, 0)
    await giver.offer(twin, { ttl: 5_000 })
    await take()
    giver.withdraw(reference.root)
    await assert.rejects(take(), code('no-holder'))
  })

  test('offers are bounded, and the one that expires first makes room', async () => {
    const network = createMemoryNetwork({ seed: 1 })
    const giver = createBlobs(network.join('a'))
    const taker = createBlobs(network.join('b'))
    const references: BlobReference[] = []
    for (let number = 0; number < MAX_OFFERS + 10; number++) {
      references.push(await giver.offer(new Uint8Array([number, number >> 8]), { ttl: 10_000 + number }))
    }
    assert.equal(giver.offers, MAX_OFFERS)
    const take = (index: number) => network.clock.run(taker.pull(['a'], references[index]!, new Uint8Array(2)))
    await assert.rejects(take(9), code('no-holder'))
    assert.equal((await take(10)).bytes, 2)
  })

  test('a peer that takes too much is slowed down to its rate, others are not', async () => {
    const bytes = noise(8 * MIB)
    const network = createMemoryNetwork({ seed: 1, latency: [1, 1] })
    const { clock } = network
    const giver = createBlobs(network.join('a'), { peerRate: MIB })
    const [greedy, modest] = [createBlobs(network.join('b')), createBlobs(network.join('c'))]
    const reference = await clock.run(giver.offer(bytes, { ttl: 1e9 }))
    const small = await clock.run(giver.offer(bytes.subarray(0, 1000), { ttl: 1e9 }))
    const slow = greedy.pull(['a'], reference, new Uint8Array(bytes.length))
    await clock.advance(2000)
    const quick = await clock.run(modest.pull(['a'], small, new Uint8Array(1000)))
    assert.ok(quick.milliseconds < 10)
    // 8 MiB at 1 MiB/s with a burst of two.
    const { milliseconds, failures } = await clock.run(slow)
    assert.ok(milliseconds > 5_900 && milliseconds < 12_000, String(milliseconds))
    assert.deepEqual(failures, [])
  })

  test('hashing gives the event loop a turn after every MiB', async () => {
    let turns = 0
    const clock = {
      now: () => 0,
      sleep: async () => {
        turns++
      },
    }
    await hashBlob(noise(5 * MIB + 1), clock)
    assert.equal(turns, 5)
    const controller = new AbortController()
    controller.abort()
    await assert.rejects(hashBlob(noise(MIB), clock, controller.signal), code('aborted'))
  })

  test('questions that are not questions are refused', async () => {
    const network = createMemoryNetwork({ seed: 1 })
    const [a, b] = [network.join('a'), network.join('b')]
    createBlobs(a)
    const random = seededRandom('questions')
    for (let round = 0; round < 500; round++) {
      const bytes = Uint8Array.from({ length: random.integer(100) }, () => random.integer(256))
      const asking = b.ask('a', round % 2 === 0 ? 'blob-hashes' : 'blob-chunk', bytes)
      await assert.rejects(network.clock.run(asking), code('bad-message'))
    }
  })
})
