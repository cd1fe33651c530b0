/** A peer that does nothing but contribute: the log and the anti-entropy of `spsa` over a transport, without model or disk. */

import {
  type ContributionLog,
  createLog,
  createSync,
  MAX_BATCH,
  type MemberStatus,
  type Swarm,
  seededRandom,
  syncQuestion,
  type Transport,
  versionAnswer,
} from '../../../protocols/index.ts'
import { BENCH_RUN } from '../loopback.ts'
import { memoryRecords } from '../records.ts'
import { bound } from '../transport.ts'

/** Authors' tokens, contributions a second: above what is measured, so that the limit is not. */
const MAX_RATE = 1_024
/** The strategy's default pause between two comparisons of sets, ms. */
const SYNC_EVERY = 2_000
/** The one byte that is no contribution. */
const MINUS_ZERO = 0x80

/** See the head of this file. */
export interface Contributor {
  log: ContributionLog
  start(): Promise<void>
  stop(): Promise<void>
  /** Makes, signs and publishes so many contributions in one message. */
  contribute(count: number): Promise<void>
  /** Bytes of this peer's questions of anti-entropy that found another set, and of the answers to them, without their headers. */
  caughtUp(): number
}

/** What all contributors of a measurement have in common. */
export interface Contribution {
  /** Everybody's transports, the peer's own among them. */
  transports: readonly Transport[]
  /** Contributions per author. */
  steps: number
  /** Told of what a peer refused or could not do. */
  fault: (text: string) => void
}

/** Makes a contributor; nothing happens before `start`. */
export function createContributor(transport: Transport, { transports, steps, fault }: Contribution): Contributor {
  const maxAuthors = transports.length
  let caughtUp = 0
  const counted: Transport = {
    ...bound(transport),
    async ask(peer, method, question, options) {
      const answer = await transport.ask(peer, method, question, options)
      if (!saysEqual(question, answer)) {
        caughtUp += question.byteLength + answer.byteLength
      }
      return answer
    },
  }
  const report = (event: { kind: string }): void => {
    if (event.kind === 'rejected') {
      fault(JSON.stringify(event))
    }
  }
  const log = createLog(
    { run: BENCH_RUN, self: transport.self, steps, maxAuthors },
    { ...bound(transport), records: memoryRecords(), report },
  )
  const sync = createSync(
    { steps, maxAuthors, batch: MAX_BATCH, maxRate: MAX_RATE, syncEvery: SYNC_EVERY },
    { swarm: withMembers(counted, transports), log, report, fail: (error) => fault(String(error)) },
  )
  return {
    log,
    async start() {
      await log.open()
      sync.start()
    },
    stop: () => sync.stop(),
    async contribute(count) {
      const next = log.bytesOf(transport.self).length + 1
      await sync.publish(await log.append(contributions(count, `${transport.self} ${next}`), next))
    },
    caughtUp: () => caughtUp,
  }
}

/** Whether that was a comparison of equal sets: asked whether anybody contributes or not. */
function saysEqual(question: Uint8Array, answer: Uint8Array): boolean {
  return syncQuestion.decode(question).ask === 'version' && versionAnswer.decode(answer).equal
}

/** A swarm whose members are known from the start, so that no heartbeats blur what contributions cost. */
function withMembers(transport: Transport, transports: readonly Transport[]): Swarm {
  const status: MemberStatus = {
    incarnation: 1,
    phase: 'training',
    step: 0,
    round: 0,
    bytesSent: 0,
    bytesReceived: 0,
  }
  const members = transports
    .filter(({ self }) => self !== transport.self)
    .map(({ self }) => ({ peer: self, seenAt: 0, status }))
  return { ...transport, run: BENCH_RUN, members: () => members, onMembers: () => () => {}, announce() {} }
}

/** Bytes as gradients give them: any but minus zero. */
function contributions(count: number, seed: string): Uint8Array {
  const random = seededRandom('wire', seed)
  return Uint8Array.from({ length: count }, () => {
    const byte = random.integer(256)
    return byte === MINUS_ZERO ? 0 : byte
  })
}
