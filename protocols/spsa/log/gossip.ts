/** New contributions and proofs as they come by gossip: cheap checks before they are forwarded, the signature before they count. */
import { StarlingError } from '../../errors.ts'
import { equalBytes } from '../../hash.ts'
import type { GossipMessage, PeerName, Swarm, Verdict } from '../../ports.ts'
import { RateLimit } from '../../rate-limit.ts'
import type { Acceptance, ContributionLog, EquivocationProof, Segment } from '../types.ts'
import { NO_CONTRIBUTION } from './limits.ts'
import { CONTRIBUTIONS_TOPIC, MAX_GOSSIP_PROOF, type News, news } from './messages.ts'

/** Segments and proofs taken from gossip and not yet checked; beyond that they are dropped, and fetched later. */
const MAX_PENDING = 256

/** Proofs per second and at once from one peer: checking one hashes up to {@link MAX_GOSSIP_PROOF} bytes. */
const PROOF_RATE = { rate: 1, burst: 8 }

/** What gossip hands on. */
export interface NewsListener {
  /** A segment was checked. */
  segment(segment: Segment, outcome: Acceptance): void
  /** A proof proved nothing. */
  falseProof(from: PeerName, proof: EquivocationProof): void
  /** Something went wrong on this side, such as a disk. */
  fail(error: unknown): void
}

/** Options of {@link Gossip}. */
export interface GossipOptions {
  /** Contributions per author. */
  steps: number
  maxAuthors: number
  /** Contributions that an author publishes together. */
  batch: number
  /** Contributions per second that one author may publish in the long run; four seconds' worth at once, and two batches in any case. */
  maxRate: number
}

/** The topic of the contributions, from construction until stopped. */
export class Gossip {
  readonly #swarm: Swarm
  readonly #log: ContributionLog
  readonly #listener: NewsListener
  readonly #options: GossipOptions
  readonly #contributions: RateLimit
  readonly #proofs: RateLimit
  readonly #unsubscribe: () => void
  /** What bytes that were accepted say, until they are handled: decoding is most of what news costs before its signature is checked. */
  readonly #accepted = new WeakMap<Uint8Array, News>()
  #pending = 0

  constructor(swarm: Swarm, log: ContributionLog, options: GossipOptions, listener: NewsListener) {
    this.#swarm = swarm
    this.#log = log
    this.#listener = listener
    this.#options = options
    const { batch, maxRate, maxAuthors } = options
    this.#contributions = new RateLimit({ rate: maxRate, burst: Math.max(4 * maxRate, 2 * batch), keys: maxAuthors })
    this.#proofs = new RateLimit({ ...PROOF_RATE, keys: maxAuthors })
    this.#unsubscribe = swarm.subscribe(CONTRIBUTIONS_TOPIC, {
      validate: (message) => this.#validate(message),
      handle: (message) => this.#handle(message),
    })
  }

  stop(): void {
    this.#unsubscribe()
  }

  /** Publishes own contributions. What gets lost, the unsent included, is fetched from this peer or from others. */
  publishSegment({ from, bytes, signature }: Segment, signal?: AbortSignal): Promise<void> {
    return this.#publish({ kind: 'segment', from, bytes, signature }, signal)
  }

  /** Publishes a proof if it is short enough; longer ones are asked for by whoever hears of them. */
  async publishProof(proof: EquivocationProof, signal?: AbortSignal): Promise<void> {
    const [a, b] = proof.branches
    if (a.bytes.length + b.bytes.length <= MAX_GOSSIP_PROOF) {
      await this.#publish({ kind: 'proof', proof }, signal)
    }
  }

  async #publish(message: News, signal: AbortSignal | undefined): Promise<void> {
    const data = news.encode(message)
    try {
      await this.#swarm.publish(CONTRIBUTIONS_TOPIC, data, signal)
    } catch (error) {
      // Nobody there, or stopped: as good as lost on the way.
      if (!(error instanceof StarlingError)) {
        throw error
      }
    }
  }

  #validate({ from, data }: GossipMessage): Verdict {
    let message: News
    try {
      message = news.decode(data)
    } catch (error) {
      if (!(error instanceof StarlingError)) {
        throw error
      }
      // Said by a later version, perhaps: its honest forwarders are not to blame.
      return error.data.misfit === true ? ignore('unknown-contributions') : reject('bad-contributions')
    }
    const verdict = this.#judge(from, message)
    if (verdict.verdict === 'accept') {
      this.#accepted.set(data, message)
    }
    return verdict
  }

  #judge(from: PeerName, message: News): Verdict {
    const now = this.#swarm.clock.now()
    if (this.#pending >= MAX_PENDING) {
      return ignore('busy')
    }
    if (message.kind === 'proof') {
      if (this.#log.excluded().has(message.proof.author)) {
        return ignore('known-proof')
      }
      return this.#proofs.allow(from, 1, now) ? { verdict: 'accept' } : ignore('too-many-proofs')
    }
    const { from: first, bytes } = message
    if (first - 1 + bytes.length > this.#options.steps) {
      return reject('beyond-steps')
    }
    if (bytes.includes(NO_CONTRIBUTION)) {
      return reject('bad-byte')
    }
    if (this.#log.excluded().has(from)) {
      return ignore('excluded')
    }
    if (equalBytes(this.#log.bytesOf(from).subarray(first - 1, first - 1 + bytes.length), bytes)) {
      // An echo of what this peer published, or of what it fetched before the news came.
      return ignore('known-contributions')
    }
    return this.#contributions.allow(from, bytes.length, now) ? { verdict: 'accept' } : ignore('too-many-contributions')
  }

  #handle({ from, data }: GossipMessage): void {
    const message = this.#accepted.get(data) ?? news.decode(data)
    this.#pending++
    const checked =
      message.kind === 'segment'
        ? this.#checkSegment({ author: from, from: message.from, bytes: message.bytes, signature: message.signature })
        : this.#checkProof(from, message.proof)
    checked.catch((error: unknown) => this.#listener.fail(error)).finally(() => this.#pending--)
  }

  async #checkSegment(segment: Segment): Promise<void> {
    this.#listener.segment(segment, await this.#log.accept(segment))
  }

  async #checkProof(from: PeerName, proof: EquivocationProof): Promise<void> {
    if (!(await this.#log.accuse(proof))) {
      this.#listener.falseProof(from, proof)
    }
  }
}

const ignore = (reason: string): Verdict => ({ verdict: 'ignore', reason })
const reject = (reason: string): Verdict => ({ verdict: 'reject', reason })
