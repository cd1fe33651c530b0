/** Randomized runs of the strategy `spsa`: some peers train from the start, one comes late, one leaves, one is killed while it writes and comes back. */
import assert from 'node:assert/strict'
import { SharedVectors, twins } from '../../kernels/index.ts'
import {
  applyTask,
  type ComputeContext,
  decodeRunLog,
  effectsBetween,
  refreshTask,
  type SpsaOptions,
  seededRandom,
  spsaOptionsSchema,
  spsaVectors,
  weightRule,
} from '../../protocols/index.ts'
import { createWorld, eventsOf, finish, hashOf, LIMIT, type Process, setOf, type World } from './spsa.ts'
import { commonStart, RUN } from './world.ts'

/** What one run was made of. */
export interface RandomRun {
  seed: number
  size: number
  steps: number
  strategy: Record<string, unknown>
  /** All peers ended in one another's sight, so that all sets had to be equal. */
  together: boolean
  world: World
}

/** Runs a swarm to its end and checks it at every moment and at the end. Throws an AssertionError that names the seed. */
export async function randomRun(seed: number): Promise<RandomRun> {
  const random = seededRandom('spsa-runs', seed)
  const pick = <T>(...of: readonly T[]): T => of[random.integer(of.length)] as T
  const size = pick(100, 2_048, 2_500, 5_000)
  const steps = 24 + random.integer(24)
  const variant = pick('spsa', 'spsa', 'spsa', 'seeded')
  const strategy = {
    variant,
    scaling: pick('sum', 'sqrt', 'mean'),
    directions: pick('sign', 'gaussian'),
    warmup: pick(0, 5),
    batch: 1 + random.integer(5),
    syncEvery: pick(0.5, 2),
    // A lost question takes 20 s, and several may follow each other.
    settle: 120,
    // The drifts of this analytic learner are longer than those of a model, in every coordinate.
    ...(variant === 'seeded'
      ? { innerSteps: 2, coordinates: 4, blocks: pick(1, 2), learningRate: 0.01, quantum: 2 ** -8 }
      : {}),
  }
  let victim: { name: string; writes: number } | undefined
  const world = createWorld({
    seed,
    size,
    steps,
    strategy,
    network: { latency: [1, pick(20, 400)], loss: pick(0, 0.1) },
    fate: () => (random.uniform() < 0.05 ? pick('question-lost', 'answer-lost') : 'delivered'),
    onPut(process) {
      if (process.name === victim?.name && victim.writes-- <= 0) {
        victim = undefined
        process.kill()
      }
    },
  })
  const { clock } = world.network
  const count = 2 + random.integer(3)
  const names = Array.from({ length: count }, (_, i) => `peer-${i}`)
  for (const name of names) {
    await world.start(name, { milliseconds: 150 + random.integer(150) })
  }
  await clock.advance(1_000 + random.integer(4_000))
  const killed = world.processes.get('peer-0') as Process
  if (random.uniform() < 0.7) {
    killed.checkpoint()
  }
  victim = { name: 'peer-0', writes: random.integer(4) }
  const late = random.uniform() < 0.7 ? await world.start('peer-late', { milliseconds: 150 }) : undefined
  const leaver = count > 2 && random.uniform() < 0.7 ? (world.processes.get('peer-1') as Process) : undefined
  await clock.advance(random.integer(3_000))
  if (leaver !== undefined) {
    await clock.run(leaver.stop(), LIMIT)
    leaver.life.dead = true
  }
  await clock.runUntil(() => killed.life.dead || killed.finished, LIMIT)
  if (killed.life.dead) {
    await clock.advance(random.integer(4_000))
    await world.start('peer-0', { milliseconds: 120 })
  }
  // Who has finished waits for those that it sees, and not for one that comes back later.
  const together = [...world.processes.values()].every(({ finished, life }) => life.dead || !finished)
  await finish(world)

  const ended = [...world.processes.values()].filter(({ life }) => !life.dead)
  const about = `seed ${seed} ${JSON.stringify({ size, steps, count, strategy, late: late !== undefined, leaver: leaver?.name })}`
  assert.deepEqual(world.differences, [], about)
  if (together) {
    assert.equal(
      new Set(ended.map(setOf)).size,
      1,
      `${about}: ${ended.map((process) => `${process.name} ${setOf(process)}`)}`,
    )
    assert.equal(new Set(ended.map((process) => hashOf(process, 'theta'))).size, 1, about)
  }
  for (const process of ended) {
    assert.equal(process.learner.step(), steps, `${about}: ${process.name}`)
    assert.deepEqual(eventsOf(process, 'excluded'), [], about)
    await assertSingle(
      process,
      world,
      size,
      steps,
      spsaOptionsSchema.parse({ learningRate: 0.5, epsilon: 0.01, ...strategy }),
    )
  }
  for (const name of world.network.peers) {
    assert.deepEqual(world.network.peer(name).penalties, [], `${about}: ${name}`)
  }
  return { seed, size, steps, strategy, together, world }
}

/** One process that applies the same contributions, one author after the other and in one go, ends with the same bits. */
async function assertSingle(
  process: Process,
  world: World,
  size: number,
  steps: number,
  options: SpsaOptions,
): Promise<void> {
  const { 'contributions.log': file } = (await process.strategy.artifacts?.()) ?? {}
  assert.ok(file !== undefined)
  const peer = world.network.peer(process.name)
  const { authors } = await world.network.clock.run(
    decodeRunLog(file, {
      verify: (name, data, signature) => peer.verify(name, data, signature),
      clock: world.network.clock,
    }),
  )
  const vectors = SharedVectors.create({ theta: { type: 'float32', length: size }, ...spsaVectors(size) })
  vectors.float32('base').set(commonStart(size))
  const context: ComputeContext = {
    kernels: twins,
    float32: (name) => vectors.float32(name),
    int32: (name) => vectors.int32(name),
    bytes: (name) => vectors.bytes(name),
  }
  const rule = weightRule(options, steps)
  const whole = new Map([...authors].map(([author, bytes]) => [author, bytes.length]))
  const effects = effectsBetween(new Map(), whole, (author) => authors.get(author) ?? new Uint8Array(0), rule)
  for (const effect of effects.reverse()) {
    applyTask.run(context, { run: RUN, effects: [effect], rule })
  }
  refreshTask.run(context, { rule })
  assert.deepEqual(vectors.bytes('theta'), process.learner.bytes('theta'), 'a single process computes other bits')
}
