import assert from 'node:assert/strict'
import { test } from 'node:test'
import { averageInto, planRecovery } from '../../dist/protocols/pipeline/recovery.js'
import { stagesInOneProcess } from './checkfree-stages.js'

const STAGES = 6
const RATE = 1e-3
const natural = Array.from({ length: STAGES }, (_, i) => i + 1)

test('a stage rebuilt from its neighbours costs little, and learns on afresh a tenth faster', async () => {
  const machine = await stagesInOneProcess({ seed: 1, stages: STAGES, microbatches: 2, steps: 100 })
  const norms = []
  const optimizers = Array.from({ length: STAGES + 1 }, () => ({ applied: 0, rate: 1 }))
  let step = 0
  const train = () => {
    machine.train(step, [natural, natural])
    step++
    for (const [part, optimizer] of optimizers.entries()) {
      optimizer.applied++
      norms[part] = machine.apply(part, { step, ...optimizer })
    }
  }
  const recover = (lost) => {
    const alive = natural.filter((stage) => stage !== lost)
    const plan = planRecovery({ stages: STAGES, lost, alive, rule: 'checkfree', norm: (stage) => norms[stage] })
    const [before, after] = plan.sources
    const place = machine.part(lost)
    place.set(machine.part(before.stage))
    machine.scratch.set(machine.part(after.stage))
    averageInto(machine.kernels, place, machine.scratch, after.weight)
    machine.refresh(lost)
    optimizers[lost] = { applied: 0, rate: plan.rate }
  }
  /** Largest change of a stage's parameters in one step: with fresh moments Adam moves every parameter by the rate, whatever its gradient. */
  const reach = (stage) => {
    const before = machine.part(stage).slice()
    train()
    return machine.part(stage).reduce((most, value, i) => Math.max(most, Math.abs(value - before[i])), 0)
  }

  try {
    while (step < 40) train()
    const loss = machine.evaluate()
    for (const lost of [2, 3, 4, 5]) {
      const kept = natural.map((stage) => machine.part(stage).slice())
      machine.part(lost).set(machine.wideStart(lost))
      const anew = machine.evaluate() - loss
      recover(lost)
      const rebuilt = machine.evaluate() - loss
      assert.ok(rebuilt < 0.2 * anew, `stage ${lost}: ${rebuilt} from its neighbours, ${anew} begun anew`)
      for (const stage of natural) {
        if (stage !== lost) assert.deepEqual(machine.part(stage), kept[stage - 1], `stage ${stage} is left alone`)
      }
      machine.part(lost).set(kept[lost - 1])
    }

    for (const time of ['first', 'second']) {
      recover(3)
      const most = reach(3)
      assert.ok(Math.abs(most / (1.1 * RATE) - 1) < 1e-3, `${time} recovery: ${most}`)
      train()
    }
  } finally {
    machine.dispose()
  }
})
