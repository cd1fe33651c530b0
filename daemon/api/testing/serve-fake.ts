/**
 * Serves the page over an invented run, for work on the page: `node dist/daemon/api/testing/serve-fake.js [port] [events per tick]`.
 * The first two thirds of the run have happened when it starts; the rest goes on live.
 */
import { quietLog } from '../../log/index.ts'
import type { PeerStatus } from '../../types.ts'
import { serveApi } from '../server.ts'
import { createFakeNode, FAKE_PEERS } from './fake-node.ts'

const STEPS = 1_200
const ROUND = 25
const STORIES = [
  'Tom had a red ball. He gave the ball to Mia. Mia was happy.',
  'the the cat sat on a <b>mat</b> & was glad',
  'One day Lily went to the park with her dog.',
]

const node = createFakeNode()
const [self, second, third, fourth] = FAKE_PEERS as [string, string, string, string]
const place = new Map(
  FAKE_PEERS.map((peer, index) => [
    peer,
    { step: 0, round: 0, loss: 5.5, validation: null as number | null, sent: 0, index },
  ]),
)
const start = Date.now() - STEPS * 0.66 * 250
let seed = 7
const random = (): number => {
  seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
  return seed / 2_147_483_648
}
const curve = (step: number, index: number): number =>
  0.95 + 4.5 * Math.exp(-step / 90) + 0.8 * Math.exp(-step / 500) + index * 0.02 * Math.exp(-step / 300)
const isDown = (peer: string, step: number): boolean => peer === third && step > 420 && step < 560

node.emit({ kind: 'started', run: 'bafyfake', listen: ['/ip4/127.0.0.1/tcp/4801'], engine: 'native' }, self, start)
for (const peer of [second, third, fourth]) {
  node.emit({ kind: 'connected', remote: peer }, self, start + 800)
  node.emit({ kind: 'member-joined', member: peer }, self, start + 900)
  node.emit(
    { kind: 'joined', donor: self, step: 0, round: 0, bytes: 3_290_112, milliseconds: 412 },
    peer,
    start + 1_500,
  )
}

function tick(step: number, time: number): void {
  for (const [peer, state] of place) {
    if (isDown(peer, step)) continue
    state.step = step
    state.loss = curve(step, state.index) + (random() - 0.5) * 0.25
    node.emit(
      { kind: 'step', step, loss: state.loss, gradientNorm: 0.7, learningRate: 3e-3, milliseconds: 61, samples: 1024 },
      peer,
      time,
    )
    if (step % 50 === 0) {
      state.validation = curve(step, state.index) + 0.03
      node.emit({ kind: 'evaluation', step, round: state.round, loss: state.validation }, peer, time)
    }
  }
  if (step === 424) node.emit({ kind: 'member-left', member: third, reason: 'silent' }, self, time)
  if (step === 424) node.emit({ kind: 'disconnected', remote: third }, self, time)
  if (step === 560) node.emit({ kind: 'connected', remote: third }, self, time)
  if (step === 560) node.emit({ kind: 'member-joined', member: third }, self, time)
  if (step === 560)
    node.emit({ kind: 'joined', donor: fourth, step: 556, round: 22, bytes: 3_290_112, milliseconds: 530 }, third, time)
  if (step % 300 === 0 && step > 0) {
    node.emit(
      { kind: 'checkpoint', step, path: `/data/peer-1/checkpoints/${step}`, bytes: 9_870_000, milliseconds: 84 },
      self,
      time,
    )
    node.emit({ kind: 'sample', step, prompt: 'Tom', text: STORIES[(step / 300) % 3] as string }, self, time)
  }
  if (step === 700) node.emit({ kind: 'rejected', what: 'tensor', reason: 'not-finite' }, self, time)
  if (step % ROUND === 0 && step > 0) exchange(step / ROUND, step, time)
}

function exchange(round: number, step: number, time: number): void {
  const pairing = [
    [1, 2, 3],
    [2, 1, 3],
    [3, 1, 2],
  ][round % 3] as [number, number, number]
  const pairs = [
    [self, FAKE_PEERS[pairing[0]] as string],
    [FAKE_PEERS[pairing[1]] as string, FAKE_PEERS[pairing[2]] as string],
  ] as const
  for (const pair of pairs) {
    for (const [peer, partner] of [pair, [pair[1], pair[0]] as const]) {
      const state = place.get(peer)
      if (state === undefined || isDown(peer, step)) continue
      state.round = round
      if (isDown(partner, step)) {
        node.emit({ kind: 'exchange-skipped', round, partner, reason: 'partner-lost' }, peer, time)
        continue
      }
      state.sent += 834_000
      const disagreement = 0.012 * (1 - step / STEPS) + 0.002 + random() * 0.001
      node.emit(
        {
          kind: 'exchange',
          round,
          partner,
          disagreement,
          codingError: 0.004,
          bytesSent: 834_000,
          bytesReceived: 834_000,
          milliseconds: 38,
        },
        peer,
        time,
      )
    }
  }
}

function publish(step: number): void {
  const rows: PeerStatus[] = [...place].map(([peer, state]) => ({
    peer,
    self: peer === self,
    connected: peer !== self && !isDown(peer, step),
    silentFor: peer === self ? 0 : isDown(peer, step) ? 21_000 : 800,
    phase: 'training',
    step: state.step,
    round: state.round,
    loss: state.loss,
    validationLoss: state.validation,
    bytesSent: state.sent,
    bytesReceived: state.sent,
    addresses: ['/ip4/192.0.2.7/tcp/4801'],
  }))
  node.setPeers(rows)
  const mine = place.get(self)
  node.setStatus({
    step,
    round: mine?.round ?? 0,
    loss: mine?.loss ?? null,
    validationLoss: mine?.validation ?? null,
    bytesSent: mine?.sent ?? 0,
    bytesReceived: mine?.sent ?? 0,
    uptimeSeconds: (Date.now() - start) / 1000,
  })
}

let step = 0
for (; step < STEPS * 0.66; step += 2) tick(step, start + step * 250)
publish(step)
const api = await serveApi({ host: '127.0.0.1', port: Number(process.argv[2] ?? 0) }, { node, log: quietLog })
console.log(api.page)
setInterval(() => {
  if (step >= STEPS) return
  step += 1
  tick(step, Date.now())
  publish(step)
}, 250)
