import { describe, test } from 'node:test'
import { naturalOrder, seededRandom, twinOrder } from '../protocols/index.ts'
import { type Board, checkCommitted, checkTaken, createWorld, settle, startAll } from './testing/pipeline.ts'

/** Who takes part, how microbatches go, and who has to be alive for the run to end. */
interface Scene {
  board: Board
  strategy: Record<string, unknown>
}

const SCENES: readonly Scene[] = [
  { board: { d: [0], a: [1], b: [2], c: [3] }, strategy: { stages: 3, microbatches: 3, inFlight: 2 } },
  { board: { d: [0, 2], a: [1, 3] }, strategy: { stages: 3, microbatches: 4, inFlight: 3 } },
  {
    board: { d: [0], a: [1, 2], b: [3], c: [4] },
    strategy: { stages: 4, microbatches: 4, inFlight: 4, routing: 'twins' },
  },
  {
    board: { d: [0], e: [0], a: [1], b: [2] },
    strategy: { stages: 2, microbatches: 3, inFlight: 2, dataPeers: 2 },
  },
  {
    board: { d: [0], e: [0], a1: [1], a2: [1], b1: [2], b2: [2] },
    strategy: { stages: 2, microbatches: 2, inFlight: 4, dataPeers: 2, routing: 'random' },
  },
]

const orderOf = ({ strategy }: Scene): number[][] =>
  Array.from({ length: Number(strategy.microbatches) }, (_, m) =>
    strategy.routing === 'twins' && m % 2 === 1
      ? twinOrder(Number(strategy.stages))
      : naturalOrder(Number(strategy.stages)),
  )

describe('a pipeline under faults', () => {
  test('random delays: no deadlock, no slot too many, every gradient exact', async () => {
    for (let seed = 0; seed < 100; seed++) {
      const scene = SCENES[seed % SCENES.length]!
      const random = seededRandom('delays', seed)
      const world = createWorld({
        seed,
        ...scene,
        strategy: { ...scene.strategy, codec: 'float32' },
        steps: 2,
        evaluateEvery: 2,
        milliseconds: () => (random.uniform() < 0.1 ? 400 * random.uniform() : 20 * random.uniform()),
        network: { latency: [0, 60] },
      })
      await startAll(world, scene.board)
      await settle(world, seed)
      checkCommitted(world, scene.board, orderOf(scene), `seed ${seed}`)
    }
  })

  test('lost questions, lost answers and questions asked twice, at every method', async () => {
    for (let seed = 0; seed < 100; seed++) {
      const scene = SCENES[seed % SCENES.length]!
      const random = seededRandom('losses', seed)
      const world = createWorld({
        seed,
        ...scene,
        strategy: { ...scene.strategy, codec: 'float32' },
        steps: 2,
        evaluateEvery: 2,
        fate(_from, _to, method) {
          const draw = method.startsWith('pipeline-') ? random.uniform() : 1
          return draw < 0.02 ? 'question-lost' : draw < 0.04 ? 'answer-lost' : draw < 0.1 ? 'asked-twice' : 'delivered'
        },
      })
      await startAll(world, scene.board)
      await settle(world, seed)
      checkCommitted(world, scene.board, orderOf(scene), `seed ${seed}`)
    }
  })

  test('kills', async () => {
    for (let seed = 0; seed < 100; seed++) {
      const scene = SCENES[seed % 4]!
      const random = seededRandom('kills', seed)
      const world = createWorld({
        seed,
        ...scene,
        strategy: { ...scene.strategy, codec: 'float32' },
        steps: 4,
        evaluateEvery: 4,
        milliseconds: () => 10 + 10 * random.uniform(),
      })
      await startAll(world, scene.board)
      const names = Object.keys(scene.board)
      let kills = 0
      const { clock } = world.network
      while (kills < 3 && ![...world.processes.values()].some(({ finished }) => finished)) {
        await clock.advance(50 + 500 * random.uniform())
        const victim = world.processes.get(names[random.integer(names.length)]!)!
        if (victim.finished || victim.life.dead) {
          continue
        }
        victim.kill()
        kills++
        await clock.advance(600 * random.uniform())
        await world.start(victim.name)
      }
      await settle(world, seed)
      checkTaken(world, scene.board, orderOf(scene), kills * 3, `seed ${seed}`)
    }
  })
})
