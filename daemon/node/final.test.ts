import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Layout } from '../../models/index.ts'
import { type Blobs, type Member, StarlingError, type Swarm, seededRandom } from '../../protocols/index.ts'
import { quietLog } from '../log/index.ts'
import type { LocalLearner } from '../trainer/index.ts'
import { averageReplicas, type FinalModel } from './final.ts'

const layout = { parameters: 4, length: 4 } as Layout
const root = 'ab'.repeat(32)

interface Other {
  phase: Member['status']['phase']
  values?: number[]
  /** Code of the failure with which it answers; called for each question. */
  refuses?: (now: number) => string | undefined
  /** Virtual time at which it has finished. */
  finishesAt?: number
}

/** Averages with these other peers in virtual time. */
async function average(
  others: Record<string, Other>,
): Promise<FinalModel & { mean: number[]; penalties: string[]; waits: string[]; elapsed: number }> {
  let now = 0
  const penalties: string[] = []
  const waits: string[] = []
  const asked: string[] = []
  let named: (() => Uint8Array) | undefined
  const swarm = {
    self: 'me',
    clock: {
      now: () => now,
      sleep: async (ms: number) => {
        now += ms
      },
    },
    random: (purpose: string) => seededRandom(purpose),
    connected: () => Object.keys(others).filter((peer) => others[peer]?.phase !== 'leaving'),
    members: () =>
      Object.entries(others).map(([peer, { phase, finishesAt }]) => ({
        peer,
        seenAt: now,
        status: { phase: finishesAt !== undefined && now >= finishesAt ? 'finished' : phase },
      })),
    announce() {},
    answer(_method: string, answerer: () => Uint8Array) {
      named = answerer
      return () => {}
    },
    penalize: (peer: string, reason: string) => penalties.push(`${peer} ${reason}`),
    async ask(peer: string) {
      asked.push(peer)
      const code = others[peer]?.refuses?.(now)
      if (code !== undefined) throw new StarlingError(code, 'no', { remote: true })
      // All of them have the same size, so what this peer says of itself does for them too.
      return (named as () => Uint8Array)()
    },
  } as unknown as Swarm
  const vectors: Record<string, Float32Array> = {
    theta: Float32Array.of(1, 2, 3, 4),
    gradient: new Float32Array(4),
  }
  const float32 = (name: string): Float32Array => vectors[name] as Float32Array
  const learner = {
    float32,
    bytes: (name: string) => new Uint8Array(float32(name).buffer),
    step: () => 7,
    evaluate: async () => ({ step: 7, loss: 1, samples: 1, milliseconds: 1 }),
  } as unknown as LocalLearner
  const blobs = {
    offer: async () => ({ root, size: 16 }),
    async pull([peer]: string[], _reference: unknown, into: Uint8Array) {
      new Float32Array(into.buffer).set(others[peer as string]?.values ?? [])
    },
  } as unknown as Blobs
  const waiting = (what: string): void => void waits.push(what)
  const result = await averageReplicas(
    layout,
    { swarm, blobs, learner, log: quietLog, waiting },
    new AbortController().signal,
  )
  return { ...result, mean: [...float32('gradient')], penalties, waits, elapsed: now }
}

describe('the average of the replicas', () => {
  it('takes those that have finished, and waits for those that will', async () => {
    const { replicas, mean, waits, elapsed } = await average({
      done: { phase: 'finished', values: [3, 4, 5, 6] },
      slow: { phase: 'training', finishesAt: 5_000, values: [5, 6, 7, 8] },
    })
    assert.deepEqual([replicas, mean, waits], [3, [3, 4, 5, 6], ['the others to finish']])
    assert.ok(elapsed >= 5_000 && elapsed < 6_000)
  })

  it('asks again where a peer has finished a moment before it can name its parameters', async () => {
    const { replicas, elapsed } = await average({
      hasty: {
        phase: 'finished',
        values: [3, 4, 5, 6],
        refuses: (now) => (now < 3_000 ? 'unknown-method' : undefined),
      },
    })
    assert.equal(replicas, 2)
    assert.ok(elapsed < 4_000)
  })

  it('does not wait for ever, nor at all for peers that are leaving', async () => {
    const never = await average({ a: { phase: 'finished', refuses: () => 'unknown-method' }, b: { phase: 'training' } })
    assert.equal(never.replicas, 1)
    assert.ok(never.elapsed >= 60_000 && never.elapsed < 62_000)
    assert.deepEqual(never.penalties, [])
    const left = await average({ a: { phase: 'finished', refuses: () => 'peer-unreachable' }, b: { phase: 'leaving' } })
    assert.deepEqual([left.replicas, left.elapsed, left.penalties], [1, 0, []])
  })

  it('refuses parameters that are not finite or of another scale, and holds them against their peer', async () => {
    const { replicas, mean, penalties } = await average({
      good: { phase: 'finished', values: [1, 2, 3, 4] },
      nan: { phase: 'finished', values: [1, Number.NaN, 3, 4] },
      huge: { phase: 'finished', values: [1e38, 1e38, 1e38, 1e38] },
      zero: { phase: 'finished', values: [0, 0, 0, 0] },
    })
    assert.deepEqual([replicas, mean], [2, [1, 2, 3, 4]])
    assert.deepEqual(penalties.sort(), ['huge bad-tensor', 'nan bad-tensor', 'zero bad-tensor'])
  })
})
