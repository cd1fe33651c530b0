import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { BootstrapStatus } from '../network/index.ts'
import type { NodeEvent } from '../types.ts'
import { explanationLines } from '../view/index.ts'
import { explain, type Facts, Situation, TransferWatch } from './index.ts'

const SELF = '12D3KooWGRaiPRXnSWK1TYb1FzA6h1YyrJfR9BAhZGCFtKCJRSVC'
const OTHER = '12D3KooWMTv8z8545rPsrGE6Tt5jSL9rJfZp9mL57SnE6AhzEgur'
const ADDRESS = `/ip4/192.0.2.7/tcp/4001/p2p/${OTHER}`
const NOW = 1_000_000

type Happened = NodeEvent extends infer E
  ? E extends NodeEvent
    ? Omit<E, 'sequence' | 'peer' | 'time'>
    : never
  : never

/** What is known after these events, each a second after the one before. */
function facts(happened: Happened[], more: Partial<Facts> = {}): Facts {
  const situation = new Situation(NOW)
  const lines = happened.map((event, index) => ({
    ...event,
    sequence: index + 1,
    peer: SELF,
    time: NOW + index * 1_000,
  }))
  for (const event of lines) situation.observe(event as NodeEvent)
  return {
    now: NOW + happened.length * 1_000,
    self: SELF,
    situation,
    network: { connected: [OTHER], bootstrap: [], reachability: undefined },
    node: { phase: 'training', step: 30, steps: 100, round: 3, strategy: 'noloco', link: 'starling://run?peer=x' },
    others: [{ peer: OTHER, connected: true, phase: 'training', step: 40, silentFor: 0 }],
    transfer: undefined,
    ...more,
  }
}

const cut = (bootstrap: BootstrapStatus[]): Partial<Facts> => ({
  node: undefined,
  others: [],
  network: { connected: [], bootstrap, reachability: undefined },
})

const started: Happened = { kind: 'started', run: 'r', listen: [], engine: 'js' }
const step: Happened = {
  kind: 'step',
  step: 30,
  loss: 1,
  gradientNorm: 1,
  learningRate: 1,
  milliseconds: 50,
  samples: 4,
}
const skipped = (reason: 'partner-late' | 'no-partner'): Happened => ({
  kind: 'exchange-skipped',
  round: 3,
  reason,
  ...(reason === 'no-partner' ? {} : { partner: OTHER }),
})

describe('why a node waits', () => {
  it('nobody answers: names the addresses, the reasons and what to do', () => {
    const dead = { address: ADDRESS, connected: false, failures: 5, error: 'nobody listens there' }
    const { state, because, advice } = explain(facts([], cut([dead])))
    assert.equal(state, 'looking-for-peers')
    assert.match(
      because,
      /nobody could be reached at \/ip4\/192\.0\.2\.7\/tcp\/4001\/…hzEgur \(nobody listens there, 5 times\)/,
    )
    assert.match(advice.join(), /running, and on that port/)
  })

  it('another version, another run, not admitted: says which, not that nobody answers', () => {
    for (const [reason, words] of [
      ['no-protocol', /does not speak Starling's protocol/],
      ['other-version', /peer hzEgur speaks version 2 and this node version 1/],
      ['other-run', /is of another run/],
      ['not-admitted', /not on the allow-list/],
    ] as const) {
      const refused = {
        address: ADDRESS,
        peer: OTHER,
        connected: false,

        failures: 0,
        error: 'turned away',
      }
      const known = facts([], cut([refused]))
      const detail =
        reason === 'other-version'
          ? `peer ${OTHER} speaks version 2 and peer ${SELF} version 1`
          : `${OTHER} is not on the allow-list`
      known.situation.network({ kind: 'rejected', peer: OTHER, reason, detail }, NOW)
      const { because, advice } = explain(known)
      assert.match(because, words)
      assert.doesNotMatch(because, /reached/)
      assert.equal(advice.length, 1)
    }
  })

  it('a wrong key: names the flag to look at, not the allow-list', () => {
    const known = facts([], cut([]))
    const detail = `the pre-shared keys of peer ${OTHER} and peer ${SELF} are not the same`
    known.situation.network({ kind: 'rejected', peer: OTHER, reason: 'not-admitted', detail }, NOW)
    const { because, advice } = explain(known)
    assert.match(because, /keys of peer hzEgur and this node are not the same/)
    assert.match(advice.join(), /--psk/)
    assert.doesNotMatch(advice.join(), /admission/)
  })

  it('the first of a run says whom it turned away', () => {
    const known = facts([started, step], {
      others: [],
      network: { connected: [], bootstrap: [], reachability: undefined },
    })
    const detail = `peer ${OTHER} speaks version 2 and peer ${SELF} version 1`
    known.situation.network({ kind: 'rejected', peer: OTHER, reason: 'other-version', detail }, NOW)
    const { state, tone, because, advice } = explain(known)
    assert.deepEqual([state, tone], ['alone', 'warn'])
    assert.match(because, /nobody has joined yet; peer hzEgur speaks version 2 and this node version 1\.$/)
    assert.match(advice.join(), /same version on both machines.*starling join/)
  })

  it('forgets a refusal when that peer is connected after all', () => {
    const known = facts([], cut([]))
    known.situation.network({ kind: 'rejected', peer: OTHER, reason: 'banned', detail: 'x' }, NOW)
    known.situation.network({ kind: 'connected', peer: OTHER, address: ADDRESS, direction: 'inbound' }, NOW)
    assert.doesNotMatch(explain(known).because, /refused/)
  })

  it('no address at all, or not reachable from outside: says so', () => {
    assert.match(explain(facts([], cut([]))).because, /knows no address/)
    const reachability = {
      state: 'private' as const,
      addresses: [],
      relays: [],
      reason: 'a NAT is in between',
      advice: 'Open a port.',
    }
    const { because, advice } = explain(
      facts([], { ...cut([]), network: { connected: [], bootstrap: [], reachability } }),
    )
    assert.match(because, /others cannot dial this node \(a NAT is in between\)/)
    assert.ok(advice.includes('Open a port.'))
  })

  it('fetching: pieces, bytes and from whom', () => {
    const transfer = { bytes: 34 * 2 ** 20, size: 60 * 2 ** 20 - 5, holder: OTHER, since: NOW - 34_000 }
    const known = facts([{ kind: 'waiting', what: 'replica', for: 'a replica', peer: OTHER } as Happened], { transfer })
    const { state, because } = explain(known)
    assert.equal(state, 'fetching')
    assert.match(because, /34 of 60 pieces \(35\.7 MB of 62\.9 MB\) from hzEgur/)
    assert.equal(
      explain({ ...known, transfer: { ...transfer, bytes: transfer.size } }).because.includes('60 of 60'),
      true,
    )
  })

  it('nobody has what it needs', () => {
    const { state, tone } = explain(facts([{ kind: 'waiting', what: 'replica', for: 'a member with a replica' }]))
    assert.deepEqual([state, tone], ['waiting-for-holder', 'warn'])
    const hung = { address: ADDRESS, connected: false, failures: 1, error: 'it closed the connection' }
    const cutOff = { connected: [], bootstrap: [hung], reachability: undefined }
    const lost = explain(facts([{ kind: 'waiting', what: 'replica', for: 'a replica' }], { network: cutOff }))
    assert.match(lost.because, /hzEgur \(it closed the connection\)/)
    assert.match(lost.advice.join(), /Start a peer/)
  })

  it('a partner: who, how far, and whether it is silent', () => {
    const waiting = { kind: 'waiting', what: 'partner', for: 'partner', about: OTHER } as Happened
    const { state, because, since } = explain(facts([started, step, waiting]))
    assert.equal(state, 'waiting-for-partner')
    assert.match(because, /round 3 and waiting for hzEgur, which is at step 40\.$/)
    assert.equal(since, NOW + 2_000)
    const silent = [{ peer: OTHER, connected: true, phase: 'training', step: 40, silentFor: 15_000 }]
    const quiet = explain(facts([started, step, waiting], { others: silent }))
    assert.equal(quiet.tone, 'warn')
    assert.match(quiet.because, /heard 15 s ago/)
    assert.equal(explain(facts([started, waiting, step])).state, 'training', 'a step ends it')
  })

  it('a stage of a pipeline, with how to get more peers', () => {
    const waiting: Happened = { kind: 'waiting', what: 'stage', for: 'a holder of stage 2, for which nobody has room' }
    const { state, because, advice } = explain(facts([started, waiting]))
    assert.equal(state, 'waiting-for-stage')
    assert.match(because, /a holder of stage 2/)
    assert.match(advice.join(), /starling join/)
  })

  it('the others, at the end', () => {
    const waiting: Happened = { kind: 'waiting', what: 'others', for: 'the others to finish' }
    const { state, because } = explain(facts([started, { kind: 'finished', step: 100, round: 9 }, waiting]))
    assert.equal(state, 'waiting-for-others')
    assert.match(because, /hzEgur \(step 40\) still trains/)
  })

  it('stands out of rounds: why, how often, and advice only when it is more than chance', () => {
    const once = explain(facts([started, step, skipped('partner-late')]))
    assert.equal(once.state, 'standing-out')
    assert.match(once.because, /with hzEgur, because the partner was late\./)
    assert.deepEqual([once.tone, once.advice], ['plain', []])
    const often = explain(facts([started, step, ...Array.from({ length: 5 }, () => skipped('partner-late'))]))
    assert.match(often.because, /the 5th in a row/)
    assert.equal(often.tone, 'warn')
    assert.match(often.advice.join(), /innerSteps/)
    const odd = explain(facts([started, ...Array.from({ length: 6 }, () => skipped('no-partner'))]))
    assert.deepEqual(odd.advice, [])
  })

  it('alone: the first of a run is told how others join, one left behind whom it lost', () => {
    const first = explain(
      facts([started, step], { others: [], network: { connected: [], bootstrap: [], reachability: undefined } }),
    )
    assert.deepEqual([first.state, first.tone], ['alone', 'plain'])
    assert.match(first.advice.join(), /starling join 'starling:\/\/run/)
    const left = explain(
      facts([started, step, { kind: 'member-left', member: OTHER, reason: 'silent' }], { others: [] }),
    )
    assert.equal(left.tone, 'warn')
    assert.match(left.because, /hzEgur fell silent 1 s ago; those it knew are dialled again/)
    const { node } = facts([])
    const pipeline = explain(facts([started], { others: [], node: { ...node!, strategy: 'pipeline' } }))
    assert.equal(pipeline.state, 'waiting-for-stage')
  })

  it('stalled, crashed, finished, stopping, spare', () => {
    const state = (known: Facts): string => explain(known).state
    assert.equal(state({ ...facts([started, step]), now: NOW + 60_000 }), 'stalled')
    assert.equal(state(facts([started, { kind: 'trainer-crashed', message: 'x', restarts: 1 }])), 'trainer-restarting')
    assert.equal(state(facts([started, { kind: 'stopping', reason: 'asked' }])), 'stopping')
    const { node } = facts([])
    assert.equal(state(facts([started], { node: { ...node!, phase: 'finished' } })), 'finished')
    assert.equal(state(facts([started], { node: { ...node!, strategy: 'pipeline' } })), 'spare')
    assert.equal(state(facts([])), 'starting')
  })

  it('takes one to five lines', () => {
    const dead = { address: ADDRESS, connected: false, failures: 5, error: 'no answer in time' }
    const known = facts([], cut(Array.from({ length: 9 }, () => dead)))
    const lines = explanationLines(explain(known), known.now + 5_000)
    assert.ok(lines.length >= 2 && lines.length <= 5)
    assert.match(lines[0] as string, /and 6 more.*, for 5 s\.$/)
  })
})

describe('the watch over transfers', () => {
  it('sees what is fetched while it is fetched', async () => {
    const watch = new TransferWatch(() => NOW)
    const seen: unknown[] = []
    const blobs = watch.watch({
      offers: 0,
      offer: () => Promise.reject(new Error('not asked')),
      withdraw() {},
      stop() {},
      async pull(_holders, { size }, _into, options) {
        options?.onProgress?.({ bytes: 7, size, holder: OTHER })
        seen.push({ ...watch.largest })
        throw new Error('the holder died')
      },
    })
    await assert.rejects(blobs.pull([OTHER], { root: 'ab', size: 10 }, new Uint8Array(10)), /died/)
    assert.deepEqual(seen, [{ bytes: 7, size: 10, holder: OTHER, since: NOW }])
    assert.equal(watch.largest, undefined)
  })
})
