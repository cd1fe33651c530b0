import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type ComputeTask, type Learner, naturalOrder, type PeerName } from '../protocols/index.ts'
// The wire formats are nobody else's business, but a liar speaks them.
import {
  backwardQuestion,
  commitQuestion,
  forwardQuestion,
  METHODS,
  tensorQuestion,
  whereAnswer,
  whereQuestion,
} from '../protocols/pipeline/messages.ts'
import {
  type Board,
  checkCommitted,
  createWorld,
  eventsOf as of,
  settle,
  startAll,
  type World,
} from './testing/pipeline.ts'

const strategy = { stages: 2, microbatches: 2, codec: 'float32' }
const board: Board = { d: [0], a: [1], b: [2] }

/** Size of a microbatch's code. */
const sizeOf = ({ cut }: World): number => 4 * cut.rows * cut.stream[0]!

/** A world in which the data peer waits for stage 2, and a stranger that speaks with the holder of stage 1. */
async function besideStranger() {
  const world = createWorld({ seed: 1, strategy, board })
  for (const name of ['d', 'a']) {
    await world.start(name)
  }
  const stranger = world.network.join('x')
  const data = world.network.peer('d')
  await world.network.clock.advance(3_000)
  const size = sizeOf(world)
  const pass = { origin: 'd', session: 1, epoch: 0, keep: true, step: 1, attempt: 1, microbatch: 0 }
  const tensor = { rows: world.cut.rows, size, exponent: 0, bytes: new Uint8Array(size) }
  const forward = { ...pass, stages: [1, 2], peers: ['a', 'b'], hop: 0, ...tensor }
  const ask = (from: typeof stranger, method: string, question: Uint8Array) =>
    world.network.clock.run(from.ask('a', method, question))
  const faults = (): string[] => world.network.peer('a').penalties.map(({ peer, reason }) => `${peer} ${reason}`)
  return { world, stranger, data, forward, pass, tensor, ask, faults }
}

describe('a holder of a stage', () => {
  test('takes microbatches only from where the path says that they come from', async () => {
    const { stranger, forward, ask, faults } = await besideStranger()
    await assert.rejects(ask(stranger, METHODS.forward, forwardQuestion.encode(forward)), { code: 'bad-path' })
    const own = { ...forward, origin: 'x' }
    await assert.rejects(ask(stranger, METHODS.forward, forwardQuestion.encode(own)), { code: 'not-a-data-peer' })
    assert.deepEqual(faults(), ['x bad-path'])
  })

  test('refuses paths with foreign or repeated stages, and holds them against who sent them', async () => {
    const { data, forward, ask, faults } = await besideStranger()
    for (const [stages, peers, code] of [
      [[1, 1], ['a', 'b'], 'repeated-stage'],
      [[1, 3], ['a', 'b'], 'foreign-stage'],
      [[1, 2], ['a'], 'bad-path'],
      [[1, 2], ['b', 'a'], 'bad-path'],
    ] as const) {
      const question = forwardQuestion.encode({ ...forward, stages: [...stages], peers: [...peers] })
      await assert.rejects(ask(data, METHODS.forward, question), { code })
    }
    assert.deepEqual(faults(), ['d repeated-stage', 'd foreign-stage', 'd bad-path', 'd bad-path'])
    // A stage that it does not hold is nobody's fault.
    const elsewhere = forwardQuestion.encode({ ...forward, stages: [2], peers: ['a'] })
    await assert.rejects(ask(data, METHODS.forward, elsewhere), { code: 'moved' })
    assert.equal(faults().length, 4)
  })

  test('refuses activations of another size before it has memory for them', async () => {
    const { world, data, forward, ask, faults } = await besideStranger()
    for (const wrong of [
      { size: forward.size - 4, bytes: new Uint8Array(forward.size - 4) },
      { rows: world.cut.rows + 1 },
      { rows: 1 },
      { bytes: new Uint8Array(4) },
    ]) {
      const question = forwardQuestion.encode({ ...forward, ...wrong })
      await assert.rejects(ask(data, METHODS.forward, question), { code: 'bad-tensor' })
    }
    assert.deepEqual(faults(), Array(4).fill('d bad-tensor'))
    assert.ok([...world.open.values()].every((slots) => slots.size === 0))
  })

  test('refuses what belongs to no microbatch that it knows', async () => {
    const { stranger, data, pass, tensor, ask, faults } = await besideStranger()
    const gradient = backwardQuestion.encode({ ...pass, hop: 0, ...tensor })
    await assert.rejects(ask(data, METHODS.backward, gradient), { code: 'unknown-pass' })
    const piece = tensorQuestion.encode({ ...pass, hop: 0, backward: false, at: 0 })
    await assert.rejects(ask(stranger, METHODS.tensor, piece), { code: 'no-such-tensor' })
    const { session, epoch, step, attempt } = pass
    const commit = { session, epoch, step, attempt, stage: 1, phase: 'apply' as const, microbatches: [0] }
    await assert.rejects(ask(data, METHODS.commit, commitQuestion.encode(commit)), { code: 'not-summed' })
    await assert.rejects(ask(data, METHODS.commit, commitQuestion.encode({ ...commit, step: 1e9 })), {
      code: 'bad-step',
    })
    const { origin: _, ...asked } = pass
    const where = await ask(data, METHODS.where, whereQuestion.encode({ ...asked, hop: 0 }))
    assert.equal(whereAnswer.decode(where).state, 'none')
    await assert.rejects(ask(stranger, METHODS.commit, new Uint8Array(9)), { code: 'bad-message' })
    assert.deepEqual(faults(), ['d bad-step', 'x malformed'])
  })

  test('takes no gradient before it has handed on the activation, and none from elsewhere', async () => {
    const { world, stranger, data, forward, pass, tensor, ask, faults } = await besideStranger()
    const { clock } = world.network
    // Stage 2 is not there: the activation of stage 1 cannot be handed on.
    await ask(data, METHODS.forward, forwardQuestion.encode({ ...forward, session: 7 }))
    const gradient = { ...pass, session: 7, hop: 0, ...tensor }
    await assert.rejects(clock.run(stranger.ask('a', METHODS.backward, backwardQuestion.encode(gradient))))
    assert.equal(world.taken.length, 0)
    assert.ok(faults().every((fault) => fault === 'x bad-path'))
  })
})

/** Runs with two holders of stage 2, one of which is not what it should be. */
async function withLiar(
  options: Omit<Partial<Parameters<typeof createWorld>[0]>, 'seed'>,
  spoil: (world: World) => void = () => {},
): Promise<World> {
  const two: Board = { d: [0], a: [1], liar: [2], honest: [2] }
  const world = createWorld({ seed: 1, strategy, steps: 4, ...options, board: two })
  await startAll(world, two)
  spoil(world)
  await settle(world, 1)
  checkCommitted(world, two, [naturalOrder(2), naturalOrder(2)], 'with a liar')
  assert.equal(of(world.processes.get('d')!, 'step').length, 4)
  return world
}

describe('a data peer goes round', () => {
  /** A learner whose codes of tensors hold NaN. */
  const spoiled = (name: PeerName, learner: Learner): Learner =>
    name !== 'liar'
      ? learner
      : {
          ...learner,
          async compute<A, R>(task: ComputeTask<A, R>, args: A, signal?: AbortSignal): Promise<R> {
            const result = await learner.compute(task, args, signal)
            if (task.name === 'pipeline-encode') {
              const { offset } = args as { offset: number }
              const bytes = learner.bytes('pipeline-tensors')
              new DataView(bytes.buffer, bytes.byteOffset).setFloat32(offset, Number.NaN, true)
            }
            return result
          },
        }

  test('a holder whose activations are not finite', async () => {
    const world = await withLiar({ meddle: spoiled })
    const data = world.processes.get('d')!
    assert.ok(of(data, 'rejected').some(({ peer, reason }) => peer === 'liar' && reason === 'bad-tensor'))
    assert.ok(world.network.peer('d').penalties.some(({ peer }) => peer === 'liar'))
    assert.ok(of(data, 'stage-lost').some(({ peer, reason }) => peer === 'liar' && reason === 'refused'))
  })

  test('a holder that takes microbatches and does nothing with them', async () => {
    const world = await withLiar({}, ({ network }) => {
      network.replaceAnswerer('liar', METHODS.forward, () => new Uint8Array(0))
    })
    assert.ok(of(world.processes.get('d')!, 'stage-lost').some(({ peer }) => peer === 'liar'))
  })

  test('a holder that hangs', async () => {
    const two: Board = { d: [0], a: [1], liar: [2], honest: [2] }
    const world = createWorld({ seed: 1, strategy, steps: 4, board: two })
    await startAll(world, two)
    const data = world.processes.get('d')!
    const { clock } = world.network
    await clock.runUntil(() => of(data, 'step').length > 0)
    world.network.peer('liar').freeze()
    await clock.runUntil(() => data.events.some(({ kind }) => kind === 'stage-lost'), 15_000)
    await clock.runUntil(() => of(data, 'step').length === 4)
    assert.equal(of(data, 'stage-lost')[0]!.peer, 'liar')
    assert.equal(of(data, 'stage-lost')[0]!.reason, 'silent')
    await Promise.all([...world.processes.values()].map((process) => clock.run(process.stop())))
  })

  test('a holder that says it has summed other microbatches', async () => {
    const world = await withLiar({}, ({ network }) => {
      const honest = network.answererOf('liar', METHODS.commit)
      let times = 0
      network.replaceAnswerer('liar', METHODS.commit, (from, bytes, signal) => {
        const question = commitQuestion.decode(bytes)
        const wrong = { ...question, microbatches: [...question.microbatches, 9] }
        return honest(from, times++ < 3 ? commitQuestion.encode(wrong) : bytes, signal)
      })
    })
    assert.ok(world.taken.length > 0)
  })
})
