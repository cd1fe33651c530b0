import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadKernels, SharedVectors } from '../../kernels/index.ts'
import { decodeByte } from './byte.ts'
import { directionKeys } from './directions.ts'
import { spsaOptionsSchema } from './options.ts'
import { replay, replayVectors } from './replay.ts'
import { weightOf, weightRule } from './weights.ts'

const SIZE = 2_048 + 300
const STEPS = 120
const RUN = 'bafyrun'

/** Authors that came to different steps. */
const authors = new Map(
  [
    ['ada', STEPS],
    ['bob', 70],
    ['cyd', 1],
  ].map(([author, count], a) => [
    String(author),
    Uint8Array.from({ length: Number(count) }, (_, i) => (i % 3 === 1 ? 0x80 : 0) | (1 + ((31 * i + a) % 100))),
  ]),
)

function memory() {
  const vectors = SharedVectors.create({ ...replayVectors(SIZE), z: { type: 'float32', length: SIZE } })
  vectors.float32('base').forEach((_, i, base) => {
    base[i] = Math.sin(i)
  })
  return {
    kernels: loadKernels(vectors),
    float32: (name: string) => vectors.float32(name),
    int32: (name: string) => vectors.int32(name),
    bytes: (name: string) => vectors.bytes(name),
  }
}

for (const scaling of ['sum', 'sqrt', 'mean'] as const) {
  test(`a replay is what the contributions say, one by one, with scaling ${scaling}`, async () => {
    const rule = weightRule(spsaOptionsSchema.parse({ scaling, warmup: 10 }), STEPS)
    const context = memory()
    const seen: number[] = []
    const progress = async (done: number, all: number): Promise<void> => {
      seen.push(done)
      assert.equal(all, STEPS + 71)
    }
    await replay(context, { run: RUN, rule, authors }, progress)
    assert.equal(seen.at(-1), STEPS + 71)

    const [base, z] = [context.float32('base'), context.float32('z')]
    const sums = new Float64Array(SIZE)
    const key = context.bytes('spsa-keys').subarray(0, 32)
    const zero = new Float32Array(SIZE)
    for (const [author, bytes] of authors) {
      const keys = directionKeys(RUN, author)
      for (const [i, byte] of bytes.entries()) {
        const round = [...authors.values()].filter(({ length }) => length > i).length
        key.set(keys.of(i + 1))
        z.set(zero)
        context.kernels.perturb(z, z, key, 1, rule.directions, 0)
        const weight = weightOf(rule, i + 1, round) * decodeByte(byte, rule.limit)
        for (let p = 0; p < SIZE; p++) {
          sums[p]! += weight * z[p]!
        }
      }
    }
    const expected = base.map((value, p) => value - rule.unit * sums[p]!)
    assert.deepEqual(context.float32('theta'), expected)
  })
}

test('a replay of nothing is the common start', async () => {
  const context = memory()
  const rule = weightRule(spsaOptionsSchema.parse({}), STEPS)
  await replay(context, { run: RUN, rule, authors: new Map() }, async () => assert.fail('there is no progress to tell'))
  assert.deepEqual(context.float32('theta'), context.float32('base'))
})
