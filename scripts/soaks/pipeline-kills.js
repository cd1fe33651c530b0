#!/usr/bin/env node
/**
 * A pipeline whose stages die without end: seven processes train gpt-nano with six layers, one layer at each of six stages, and every half minute the process that holds
 * a stage drawn at random (the first and the last included) is killed with -9 and started again in its own folder. Exits with 1 when the data peer stood still for
 * longer than `--pause` seconds between two steps, when the loss did not fall, when a stage was lost without a recovery that says the loss before and after it, or when a
 * process ended by itself. With several rules of recovery, each runs under the same deaths, and with `--target` the times to that validation loss are compared.
 *
 *     npm run build && node scripts/soaks/pipeline-kills.js [--minutes 10] [--every 30] [--gaps even|random] [--stages 6] [--seed 1] [--pause 5]
 *         [--recovery checkfree,checkpoint] [--checkpoint-every 50] [--target 1.8] [--data-peers 1] [--codec float16] [--routing sequential|twins] [--batch 16] [--engine wasm]
 *         [--model '{"architecture": "decoder", ...}'] [--out result.json]
 *
 * The deaths are a list of stages by the seed, so that every rule sees the same ones; with `--gaps random` they come at random times, `--every` seconds apart on the average
 * (exponential), which is fairer to checkpoints: at even gaps it depends on the speed alone whether one is always taken just before a death, or never. Seven processes want a
 * machine of their own.
 */
import { writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { buildRun } from '../../dist/daemon/run/index.js'
import { describeEvent } from '../../dist/daemon/view/index.js'
import { seededRandom } from '../../dist/protocols/index.js'
import { createStage, until } from '../../dist/tests/support/peers.js'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    every: { type: 'string', default: '30' },
    gaps: { type: 'string', default: 'even' },
    stages: { type: 'string', default: '6' },
    seed: { type: 'string', default: '1' },
    pause: { type: 'string', default: '5' },
    recovery: { type: 'string', default: 'checkfree' },
    'checkpoint-every': { type: 'string', default: '50' },
    'data-peers': { type: 'string', default: '1' },
    codec: { type: 'string', default: 'float16' },
    routing: { type: 'string', default: 'sequential' },
    batch: { type: 'string', default: '16' },
    target: { type: 'string' },
    model: { type: 'string' },
    engine: { type: 'string' },
    out: { type: 'string' },
  },
})
const [minutes, every, stages, seed, longestPause] = [
  values.minutes,
  values.every,
  values.stages,
  values.seed,
  values.pause,
].map(Number)
const target = values.target === undefined ? undefined : Number(values.target)

/** Time between two looks at the data peer's events, and at its step; longest wait for anything at the start, ms. */
const LOOK = 500
const STEP_LOOK = 100
const PATIENCE = 300_000

/** A killed process is started again after this, ms. */
const RESTART = 1_000

/** Times that a stage may have been lost last before it must be recovered, ms. */
const RECOVERY = 20_000

/** Loss of a model that knows nothing: 256 bytes, all alike. */
const UNTRAINED = Math.log(256)

const runOf = (recovery) =>
  buildRun({
    name: `pipeline-${recovery}`,
    seed,
    model: values.model === undefined ? { preset: 'gpt-nano', layers: stages } : JSON.parse(values.model),
    data: { source: 'stories' },
    // It never ends by itself, so the learning rate hardly falls.
    training: { batch: Number(values.batch), steps: 1_000_000, evaluateEvery: 20 },
    strategy: {
      name: 'pipeline',
      stages,
      recovery,
      codec: values.codec,
      routing: values.routing,
      dataPeers: Number(values['data-peers']),
      checkpointEvery: Number(values['checkpoint-every']),
    },
  })

/** A node's events above a number, over its API. */
async function eventsAfter(node, after) {
  const response = await fetch(`${node.page}api/events?after=${after}`, { signal: AbortSignal.timeout(10_000) })
  return await response.json()
}

/** One run under deaths; what came of it. */
async function once(recovery) {
  const random = seededRandom('pipeline-kills', seed)
  const run = runOf(recovery)
  const stage = await createStage()
  const slots = Array.from({ length: stages + Number(values['data-peers']) }, (_, i) => ({ name: `peer-${i + 1}` }))
  const diedAlone = []
  let ending = false
  const start = async (slot, how) => {
    slot.node = undefined
    const engine = values.engine === undefined ? {} : { engine: values.engine }
    slot.node = await stage.start(slot.name, { ...how, ...engine, resume: true })
    const { node } = slot
    node.process.once('exit', (code, signal) => {
      if (!ending && slot.killed !== node) diedAlone.push(`${slot.name}: ${code ?? signal}`)
    })
  }
  let failed = true
  try {
    await start(slots[0], { manifest: run.bytes })
    await Promise.all(slots.slice(1).map((slot) => start(slot, { link: slots[0].node.link })))
    const alive = () => slots.filter(({ node }) => node !== undefined)
    const name = (peer) => slots.find(({ id }) => id === peer)?.name ?? peer.slice(-6)
    for (const slot of slots) slot.id = slot.node.peer
    const findData = async () => {
      for (const { node } of alive()) {
        const status = await node.status().catch(() => undefined)
        if (status?.pipeline?.stages.includes(0) && status.pipeline.flow !== undefined) return node
      }
      return undefined
    }
    const data = await until('a data peer that trains', findData, PATIENCE)
    await until('the first step', async () => (await data.status()).step > 0, PATIENCE)

    const seen = { after: 0, steps: [], losses: [], lost: [], recovered: [], retries: 0, microbatches: 0 }
    const began = Date.now()
    const look = async () => {
      for (const event of await eventsAfter(data, seen.after)) {
        seen.after = event.sequence
        if (event.peer !== data.peer) continue
        if (event.kind === 'evaluation') seen.losses.push({ time: event.time, step: event.step, loss: event.loss })
        else if (event.kind === 'pipeline') {
          seen.retries += event.retries
          seen.microbatches += event.microbatches
        } else if (event.kind === 'stage-lost' || event.kind === 'stage-recovered') {
          ;(event.kind === 'stage-lost' ? seen.lost : seen.recovered).push(event)
          console.error(`${new Date(event.time).toISOString().slice(11, 19)} ${describeEvent(event, name)}`)
        }
      }
    }
    /** Validation losses are noisy just after a recovery: the target is reached when two in a row are there. */
    const reached = () => {
      if (target === undefined) return undefined
      const { losses } = seen
      return losses.find(({ loss }, i) => loss <= target && (losses[i + 1]?.loss ?? Number.POSITIVE_INFINITY) <= target)
    }

    // Events of steps are folded to one a second, so the step itself is looked at.
    let watching = true
    const watch = (async () => {
      while (watching) {
        const { step } = await data.status()
        const time = Date.now()
        if (step !== seen.steps.at(-1)?.step) seen.steps.push({ time, step })
        await sleep(STEP_LOOK)
      }
    })()
    const end = began + minutes * 60_000
    const gaps = seededRandom('pipeline-kills-gaps', seed)
    const gap = () => (values.gaps === 'random' ? -Math.log(1 - gaps.uniform()) : 1) * every * 1_000
    let nextDeath = began + gap()
    const kills = []
    while (Date.now() < end && reached() === undefined) {
      await sleep(LOOK)
      await look()
      if (Date.now() < nextDeath) continue
      nextDeath += gap()
      // The stage is drawn whether or not somebody can be killed for it, so that all runs see the same ones.
      const number = 1 + random.integer(stages)
      const { flow } = (await data.status()).pipeline
      const holder = flow.holders.find((entry) => entry.stage === number)?.peers[0]
      const victim = slots.find(({ node, id }) => node !== undefined && id === holder)
      if (victim === undefined || victim.node === data) {
        kills.push({ stage: number, victim: null })
        continue
      }
      console.error(`${new Date().toISOString().slice(11, 19)} kill -9 ${victim.name}, which holds stage ${number}`)
      victim.killed = victim.node
      const dead = victim.node
      victim.node = undefined
      await dead.kill()
      kills.push({ stage: number, victim: victim.name, seconds: Math.round((Date.now() - began) / 1_000) })
      victim.starting = sleep(RESTART)
        .then(() => start(victim, { link: data.link }))
        .catch((error) => diedAlone.push(`${victim.name} did not start: ${error.message}`))
    }
    const ended = Date.now()
    // Whatever died last gets the time to be rebuilt.
    const recovered = ({ stage, time }) => seen.recovered.some((event) => event.stage === stage && event.time >= time)
    // A holder that refuses lives: it gives its stage to another, and nothing is lost.
    const open = () =>
      seen.lost.filter((event) => event.reason !== 'refused' && event.others === 0 && !recovered(event))
    await until(
      'the last recoveries',
      async () => {
        await look()
        return open().length === 0
      },
      RECOVERY,
    ).catch(() => undefined)

    watching = false
    await Promise.all([watch, ...slots.map(({ starting }) => starting)])
    const pauses = seen.steps.slice(1).map(({ time }, i) => (time - seen.steps[i].time) / 1_000)
    const goal = reached()
    const round = (value) => Math.round(value * 1_000) / 1_000
    // One that ended by itself does not answer; it is among those that died alone.
    const answers = await Promise.allSettled(
      alive().map(async ({ name, node }) => ({ name, ...(await node.status()) })),
    )
    const statuses = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
    const summary = {
      recovery,
      seconds: Math.round((ended - began) / 1_000),
      stages,
      kills,
      killed: kills.filter(({ victim }) => victim !== null).length,
      steps: seen.steps.at(-1)?.step ?? 0,
      longestPauseSeconds: round(Math.max(0, ...pauses)),
      pausesAboveTwoSeconds: pauses.filter((pause) => pause > 2).map(round),
      lost: seen.lost.filter(({ reason, others }) => reason !== 'refused' && others === 0).length,
      withAnotherHolder: seen.lost.filter(({ reason, others }) => reason !== 'refused' && others > 0).length,
      refused: seen.lost.filter(({ reason }) => reason === 'refused').length,
      recovered: seen.recovered.map(({ stage, how, milliseconds, lossBefore, lossAfter, step }) => ({
        stage,
        how,
        step,
        seconds: round(milliseconds / 1_000),
        lossBefore: round(lossBefore),
        lossAfter: round(lossAfter),
      })),
      notRecovered: open().map(({ stage }) => stage),
      microbatches: seen.microbatches,
      retries: seen.retries,
      firstLoss: round(seen.losses[0]?.loss ?? Number.NaN),
      lastLoss: round(seen.losses.at(-1)?.loss ?? Number.NaN),
      losses: seen.losses.map(({ time, step, loss }) => [Math.round((time - began) / 1_000), step, round(loss)]),
      ...(target === undefined
        ? {}
        : { target, secondsToTarget: goal && Math.round((goal.time - began) / 1_000), stepsToTarget: goal?.step }),
      holds: statuses.map(({ name, pipeline, memory }) => [
        name,
        pipeline?.stages ?? [],
        Math.round(memory.rss / 2 ** 20),
      ]),
      diedAlone,
    }
    const logged = seen.recovered.every(
      ({ lossBefore, lossAfter }) => Number.isFinite(lossBefore) && Number.isFinite(lossAfter),
    )
    summary.faults = [
      ...(summary.longestPauseSeconds > longestPause ? [`a pause of ${summary.longestPauseSeconds} s`] : []),
      ...(summary.killed > 0 && summary.lost + summary.withAnotherHolder === 0
        ? ['no loss of a stage was noticed']
        : []),
      ...(summary.notRecovered.length > 0 ? [`stages ${summary.notRecovered.join(', ')} were not recovered`] : []),
      ...(logged ? [] : ['a recovery without the loss before and after it']),
      ...(summary.lastLoss < Math.min(summary.firstLoss, UNTRAINED) - 0.5 ? [] : ['the loss did not fall']),
      ...(diedAlone.length > 0 ? ['a process ended by itself'] : []),
    ]
    failed = summary.faults.length > 0
    return summary
  } finally {
    ending = true
    await stage.end(failed && process.env.LOGS !== undefined)
  }
}

const results = []
for (const recovery of values.recovery.split(',')) {
  const result = await once(recovery)
  results.push(result)
  console.error(
    `${recovery}: ${result.steps} steps, loss ${result.lastLoss}, ${result.faults.join('; ') || 'no fault'}`,
  )
}
const [first, ...rest] = results
const comparison =
  target === undefined
    ? undefined
    : rest.map(({ recovery, secondsToTarget }) => ({
        against: recovery,
        target,
        soonerPercent:
          first.secondsToTarget === undefined || secondsToTarget === undefined
            ? null
            : Math.round(1_000 * (1 - first.secondsToTarget / secondsToTarget)) / 10,
      }))
const text = JSON.stringify({ seed, minutes, every, results, comparison }, null, 2)
console.log(text)
if (values.out !== undefined) writeFileSync(values.out, `${text}\n`)
process.exitCode = results.every(({ faults }) => faults.length === 0) ? 0 : 1
