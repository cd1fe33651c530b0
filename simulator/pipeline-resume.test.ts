import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { pipelineOptionsSchema } from '../protocols/index.ts'
import {
  createWorld,
  distance,
  finish,
  linearModel,
  eventsOf as of,
  type Process,
  type World,
} from './testing/pipeline.ts'

const names = ['p', 'q', 'r', 's']
const strategy = { stages: 3, codec: 'float32', inFlight: 1 }
const STEPS = 40

async function started(): Promise<World> {
  const model = linearModel(pipelineOptionsSchema.parse(strategy), { rate: 0.05 })
  const world = createWorld({ seed: 5, strategy, model, steps: STEPS, evaluateEvery: 10 })
  for (const name of names) {
    await world.start(name)
  }
  return world
}

const dataPeer = (world: World): Process | undefined =>
  [...world.processes.values()].find(({ strategy: made }) => made.progress().data === true)

describe('a pipeline whose peers were all stopped', () => {
  test('goes on where it was: parameters, moments, schedule and roles', async () => {
    const through = await started()
    await finish(through)
    const world = await started()
    const { clock } = world.network
    await clock.runUntil(() => of(dataPeer(world) ?? world.processes.get('p')!, 'step').length >= STEPS / 2)
    for (const name of names) {
      const process = world.processes.get(name)!
      await clock.run(process.stop())
      process.checkpoint()
    }
    const stopped = dataPeer(world)!
    const last = of(stopped, 'step').at(-1)!.step
    for (const name of names) {
      await world.start(name)
    }
    await finish(world)
    const data = dataPeer(world)!
    assert.equal(data.name, stopped.name)
    assert.deepEqual(
      of(data, 'step').map(({ step }) => step),
      Array.from({ length: STEPS - last }, (_, i) => last + 1 + i),
    )
    for (const process of world.processes.values()) {
      assert.ok(of(process, 'stage-taken').every(({ how }) => how === 'own'))
    }
    // Nobody took a step twice or left one out: the model is that of a run that was never stopped.
    const [whole, other] = [data.strategy.whole!()!, dataPeer(through)!.strategy.whole!()!]
    for (const [part, values] of whole.parts.entries()) {
      assert.ok(distance(values, other.parts[part]!) < 1e-5, `part ${part}`)
    }
  })
})
