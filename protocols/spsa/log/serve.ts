/** The answering side of anti-entropy: it only gives, and only what was asked for. */
import { StarlingError } from '../../errors.ts'
import { equalBytes } from '../../hash.ts'
import type { PeerName, Transport } from '../../ports.ts'
import { RateLimit } from '../../rate-limit.ts'
import type { ContributionLog } from '../types.ts'
import { MAX_STEPS } from './limits.ts'
import {
  ANSWER_BYTES,
  type Entry,
  HEAD_TAG_BYTES,
  PAGE,
  proofAnswer,
  type SegmentEntry,
  SYNC_METHOD,
  segmentsAnswer,
  syncQuestion,
  type VersionAnswer,
  type VersionEntry,
  versionAnswer,
} from './messages.ts'

/** Questions per second and at once that one peer may ask: a joiner of a run of 1,000 authors asks a few dozen. */
const QUESTION_RATE = { rate: 20, burst: 200, keys: 1024 }

/** Answers {@link SYNC_METHOD}; `told` hears what each asker says its set is called. Returns how to stop. */
export function serveSync(
  transport: Transport,
  log: ContributionLog,
  told: (peer: PeerName, digest: Uint8Array) => void,
): () => void {
  const rates = new RateLimit(QUESTION_RATE)
  return transport.answer(SYNC_METHOD, (from, bytes) => {
    if (!rates.allow(from, 1, transport.clock.now())) {
      throw new StarlingError('rate-limited', 'fewer questions, please', {})
    }
    const question = syncQuestion.decode(bytes)
    if (question.ask === 'version') {
      told(from, question.digest)
      return versionAnswer.encode(versionPage(log, question.digest, question.after))
    }
    if (question.ask === 'segments') {
      return segmentsAnswer.encode({ segments: segmentsFor(log, question.wanted) })
    }
    const proof = log.excluded().get(question.author)
    if (proof === undefined) {
      throw new StarlingError('no-such-proof', `${question.author} is not excluded here`, { author: question.author })
    }
    return proofAnswer.encode({ proof })
  })
}

function versionPage(log: ContributionLog, digest: Uint8Array, after: PeerName): VersionAnswer {
  const own = log.digest()
  if (equalBytes(own, digest)) {
    return { equal: true }
  }
  const version = log.version()
  const names = [...version.keys(), ...log.excluded().keys()].filter((name) => name > after).sort()
  const page: VersionEntry[] = []
  const excluded: PeerName[] = []
  for (const name of names.slice(0, PAGE)) {
    const count = version.get(name)
    const head = log.headOf(name)
    if (count === undefined || head === undefined) {
      excluded.push(name)
    } else {
      page.push([name, count, head.slice(0, HEAD_TAG_BYTES)])
    }
  }
  return { equal: false, digest: own, page, excluded, more: names.length > PAGE }
}

function segmentsFor(log: ContributionLog, wanted: readonly Entry[]): SegmentEntry[] {
  const segments: SegmentEntry[] = []
  let size = 0
  for (const [author, from] of wanted) {
    const segment = log.segmentOf(author, from, MAX_STEPS)
    if (segment !== undefined) {
      segments.push([author, from, segment.bytes, segment.signature])
      size += segment.bytes.length
    }
    if (size >= ANSWER_BYTES) {
      break
    }
  }
  return segments
}
