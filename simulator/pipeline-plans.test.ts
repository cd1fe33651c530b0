import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Bell } from '../protocols/bell.ts'
import type { PeerName, StrategyEvent } from '../protocols/index.ts'
import { Links } from '../protocols/pipeline/skip/links.ts'
import { METHODS, planAnswer, planQuestion } from '../protocols/pipeline/skip/messages.ts'
import { createPlanner, type Planner, type PlannerModules } from '../protocols/pipeline/skip/planner.ts'
import type { Held, Holders } from '../protocols/pipeline/types.ts'
import { createMemoryNetwork, type MemoryPeer } from './index.ts'

const STAGES = 6
const KEEP = 4
const MICROBATCHES = 4

/** A data peer and `holders` holders of each stage, who know of each other from one table. */
function world(options: { seed: number; holders: number; latency?: [number, number]; bandwidth?: number }) {
  const { seed, holders: each, latency = [5, 20], bandwidth } = options
  const network = createMemoryNetwork({ seed, latency, ...(bandwidth === undefined ? {} : { bandwidth }) })
  const bell = new Bell()
  const data = network.join('data')
  const table = new Map<number, PeerName[]>([[0, ['data']]])
  for (let stage = 1; stage <= STAGES; stage++) {
    const peers = Array.from({ length: each }, (_, i) => `stage-${stage}-${i}`)
    table.set(stage, peers)
    for (const peer of peers) {
      network.join(peer)
    }
  }
  const events: StrategyEvent[] = []
  const stops: AbortController[] = []
  const planners = new Map<PeerName, Planner>()
  const runs: Promise<void>[] = []
  for (const name of network.peers) {
    const peer: MemoryPeer = network.peer(name)
    const holders: PlannerModules['holders'] & Pick<Holders, 'held'> = {
      ready: (part) => table.get(part) ?? [],
      dataPeers: () => ['data'],
      held: (part) => (table.get(part)?.includes(name) === true ? ({ stage: part } as Held) : undefined),
      speed: () => 10,
      bell,
    }
    const planner = createPlanner({
      swarm: Object.assign(peer, { run: 'run' }),
      report: (event) => void events.push(event),
      holders,
      cut: { stages: STAGES, rows: 8, microbatches: MICROBATCHES },
      options: { keep: KEEP, fullEvery: 10, quota: MICROBATCHES, bytes: 100_000, work: 10_000 },
    })
    planners.set(name, planner)
    // One each, as processes have: a signal warns of more than ten listeners.
    const stopped = new AbortController()
    stops.push(stopped)
    runs.push(planner.run(stopped.signal))
  }
  const { clock } = network
  const planner = planners.get('data')!
  return {
    network,
    data,
    table,
    bell,
    events,
    planner,
    /** Waits for that, at most a minute of virtual time. */
    until: (what: () => boolean): Promise<void> => clock.runUntil(what, 60_000),
    async stop(): Promise<void> {
      for (const stopped of stops) {
        stopped.abort()
      }
      await clock.run(Promise.all(runs))
    },
  }
}

const agreed = (events: readonly StrategyEvent[]): number => events.filter(({ kind }) => kind === 'plan-agreed').length
const users = (planner: Planner, step: number, peer: PeerName): number =>
  planner.pathsFor(step)!.filter(({ path }) => path.some((hop) => hop.peer === peer)).length

test('a plan is measured, made and agreed upon by all on its paths, and every tenth step goes through all stages', async () => {
  const { planner, events, until, stop } = world({ seed: 1, holders: 2 })
  assert.equal(planner.pathsFor(1), undefined)
  await until(() => planner.pathsFor(1) !== undefined)
  const [event] = events
  assert.ok(event?.kind === 'plan-agreed' && event.seconds > 0)
  for (let step = 1; step < 10; step++) {
    const paths = planner.pathsFor(step)!
    assert.equal(paths.length, MICROBATCHES)
    for (const { path, start } of paths) {
      assert.equal(path.length, KEEP)
      assert.equal(path[0]?.stage, 1)
      assert.ok(path.every(({ stage, peer }) => peer.startsWith(`stage-${stage}-`)))
      assert.ok(start >= 0)
    }
  }
  assert.equal(planner.pathsFor(10), undefined)
  await stop()
})

test('when a holder is lost, only its microbatches go another way, and nothing goes until all have agreed', async () => {
  const { planner, table, events, until, stop } = world({ seed: 2, holders: 2 })
  await until(() => planner.pathsFor(1) !== undefined)
  const before = planner.pathsFor(1)!
  const lost = before[0]!.path[0]!
  table.set(
    lost.stage,
    table.get(lost.stage)!.filter((peer) => peer !== lost.peer),
  )
  planner.lost(lost.stage, lost.peer)
  assert.equal(planner.pathsFor(1), undefined)
  await until(() => planner.pathsFor(1) !== undefined)
  assert.equal(agreed(events), 2)
  const after = planner.pathsFor(1)!
  for (const [i, { path }] of after.entries()) {
    const old = before[i]!.path
    assert.deepEqual(
      path.map((hop) => (hop.stage === lost.stage ? 'x' : hop.peer)),
      old.map((hop) => (hop.stage === lost.stage ? 'x' : hop.peer)),
    )
    assert.ok(path.every(({ peer }) => peer !== lost.peer))
  }
  // In time a whole new plan is made for the holders that are left.
  await until(() => agreed(events) === 3)
  await stop()
})

test('a stage that nobody holds is left out, in full steps too, until somebody does; the first stage cannot be', async () => {
  const { planner, table, bell, until, stop } = world({ seed: 3, holders: 1 })
  await until(() => planner.pathsFor(1) !== undefined)
  table.set(4, [])
  planner.lost(4, 'stage-4-0')
  await until(() => planner.pathsFor(10) !== undefined)
  const visits = new Map<number, number>()
  for (let step = 0; step < 4; step++) {
    for (const { path } of planner.pathsFor(10 * step + step)!) {
      for (const { stage } of path) {
        visits.set(stage, (visits.get(stage) ?? 0) + 1)
      }
    }
  }
  assert.equal(visits.get(4), undefined)
  assert.equal(visits.size, STAGES - 1)
  table.set(4, ['stage-4-0'])
  bell.ring()
  await until(() => planner.pathsFor(10) === undefined && planner.pathsFor(1) !== undefined)
  await until(() => [1, 2, 3].some((step) => users(planner, step, 'stage-4-0') > 0))
  table.set(1, [])
  assert.equal(planner.pathsFor(1), undefined)
  await stop()
})

test('one no is enough, and is told with its reason', async () => {
  const { planner, network, events, until, stop } = world({ seed: 4, holders: 1 })
  const no = planAnswer.encode({ accepted: false, reason: 'I do not hold stage 3' })
  network.replaceAnswerer('stage-3-0', METHODS.plan, () => no)
  await until(() => events.some(({ kind }) => kind === 'rejected'))
  const rejected = events.find((event) => event.kind === 'rejected')
  assert.deepEqual(rejected, { kind: 'rejected', peer: 'stage-3-0', what: 'plan', reason: 'I do not hold stage 3' })
  assert.equal(planner.pathsFor(1), undefined)
  assert.equal(agreed(events), 0)
  await stop()
})

test('a holder says no to what breaks a constraint, names others, comes from a stranger, or is not what it claims', async () => {
  const { planner, network, data, until, stop } = world({ seed: 5, holders: 2 })
  let bytes: Uint8Array | undefined
  const judge = network.answererOf('stage-1-0', METHODS.plan)
  network.replaceAnswerer('stage-1-0', METHODS.plan, (from, question, signal) => {
    bytes = question
    return judge(from, question, signal)
  })
  await until(() => planner.pathsFor(1) !== undefined)
  const { clock } = network
  const plan = planQuestion.decode(bytes!)
  type Message = typeof plan
  const ask = async (from: MemoryPeer, change: (message: Message) => void): Promise<string | undefined> => {
    const message = structuredClone(plan)
    change(message)
    const asked = from.ask('stage-1-0', METHODS.plan, planQuestion.encode(message))
    return planAnswer.decode(await clock.run(asked)).reason
  }
  assert.equal(await ask(data, () => {}), undefined)
  assert.match((await ask(network.peer('stage-2-0'), () => {}))!, /no data peer/)
  assert.match((await ask(data, (message) => message.rounds[0]![0]!.stages.reverse()))!, /CC1|paths/)
  assert.match((await ask(data, (message) => (message.seconds += 5_000)))!, /s a step, not/)
  assert.match((await ask(data, (message) => (message.keep = 5)))!, /of which 4 are kept/)
  assert.match((await ask(data, (message) => message.transfer.pop()))!, /delays/)
  assert.match(
    (await ask(data, (message) => (message.rounds[0]![0]!.machines[1] = 63)))!,
    /machines that it does not describe/,
  )
  assert.match(
    (await ask(data, (message) => message.rounds[0]![0]!.machines.pop()))!,
    /machines that it does not describe/,
  )
  assert.match((await ask(data, (message) => (message.peers[0] = message.peers[1]!)))!, /not one for each machine/)
  const own = plan.peers.indexOf('stage-1-0')
  const moved = await ask(data, (message) => {
    // It is made the holder of stage 2 as well, and given all of its microbatches.
    const second = message.holders[1]!
    second.splice(0, second.length, own)
    for (const round of message.rounds) {
      for (const path of round) {
        path.machines = path.machines.map((machine, i) => (path.stages[i] === 2 ? own : machine))
      }
    }
  })
  assert.match(moved!, /do not hold stage 2/)
  await assert.rejects(clock.run(data.ask('stage-1-0', METHODS.plan, Uint8Array.of(1, 2, 3))), { code: 'bad-message' })
  await stop()
})

test('links are measured by round trip and bandwidth', async () => {
  const network = createMemoryNetwork({ seed: 6, latency: [10, 10], bandwidth: 1_000_000 })
  const [one, two] = [network.join(), network.join()]
  const [here, there] = [new Links(one), new Links(two)]
  const stops = [here.start(() => true), there.start((peer) => peer === one.self)]
  const { signal } = new AbortController()
  const times = (size: number) => network.clock.run(here.times([one.self, two.self, 'nobody'], size, signal))
  const near = (value: number | undefined, expected: number): boolean =>
    value !== undefined && Math.abs(value - expected) < 0.1 * expected
  const [own, short, none] = await times(10_000)
  assert.equal(own, 0)
  assert.equal(none, undefined)
  // Half a round trip of 20 ms and 10 ms for the bytes; with 100,000 bytes a whole one more, and 100 ms.
  assert.ok(near(short, 0.02), `${short}`)
  assert.ok(near((await times(100_000))[1], 0.13))
  const theirs = await network.clock.run(here.timesOf(two.self, [one.self, two.self], 10_000, signal))
  assert.ok(near(theirs?.[0], 0.02))
  // Strangers are not measured for, and who cannot be reached says nothing.
  assert.equal(await network.clock.run(there.timesOf(one.self, [two.self], 1, signal)).then((list) => list?.length), 1)
  const third = new Links(network.join())
  assert.equal(await network.clock.run(third.timesOf(two.self, [one.self], 1, signal)), undefined)
  for (const stop of stops) {
    stop()
  }
})
