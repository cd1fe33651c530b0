/** The set of a run's contributions as one peer holds it. See types.ts for what it promises and chain.ts for what makes it safe. */
import { StarlingError } from '../../errors.ts'
import { equalBytes } from '../../hash.ts'
import { createTurns } from '../../one-after-another.ts'
import type { Clock, PeerName, RecordStore, Transport } from '../../ports.ts'
import type { Report } from '../../strategy.ts'
import type { Acceptance, Change, ContributionLog, EquivocationProof, Segment } from '../types.ts'
import { AuthorLog } from './author-log.ts'
import { createPace, follow, originOf, type Pace, SIGNATURE_BYTES, SIGNATURE_WORK, statementOf } from './chain.ts'
import { isAuthorName, MAX_STEPS, NO_CONTRIBUTION } from './limits.ts'
import { load } from './load.ts'
import { checkProof } from './proof.ts'
import { LogRecords, PARALLEL } from './records.ts'
import { ELEMENT_WORK, SetDigest } from './set-digest.ts'

/** Options of {@link createLog}. */
export interface LogOptions {
  /** CID text of the run's manifest. */
  run: string
  /** This peer. */
  self: PeerName
  /** Contributions per author, at most {@link MAX_STEPS}. */
  steps: number
  /** Authors held, excluded ones included. What they contributed takes at most three times `steps` bytes each. */
  maxAuthors: number
}

/** What a log is made from. */
export interface LogModules {
  records: RecordStore
  sign: Transport['sign']
  verify: Transport['verify']
  clock: Pick<Clock, 'sleep'>
  report: Report
}

/** Makes a log; {@link ContributionLog.open} comes first. Throws StarlingError 'bad-option' for more steps than a log can hold. */
export function createLog(options: LogOptions, modules: LogModules): ContributionLog {
  if (!Number.isInteger(options.steps) || options.steps < 1 || options.steps > MAX_STEPS) {
    throw new StarlingError('bad-option', `training.steps is ${options.steps}; spsa takes 1 to ${MAX_STEPS} per peer`, {
      key: 'training.steps',
      value: options.steps,
    })
  }
  return new Log(options, modules)
}

class Log implements ContributionLog {
  readonly #options: LogOptions
  readonly #modules: LogModules
  readonly #records: LogRecords
  readonly #pace: Pace
  /** Everything that reads the log, waits, and then changes it goes through here. Whoever calls bounds how much waits. */
  readonly #inTurn = createTurns()
  /** By author; with {@link Log.#excluded} at most `maxAuthors`. */
  readonly #authors = new Map<PeerName, AuthorLog>()
  readonly #excluded = new Map<PeerName, EquivocationProof>()
  /** Bounded by the parts of this process that listen. */
  readonly #listeners = new Set<(change: Change) => void>()
  #count = 0
  readonly #digest = new SetDigest()
  #ownDamaged = false

  constructor(options: LogOptions, modules: LogModules) {
    this.#options = options
    this.#modules = modules
    this.#records = new LogRecords(modules.records)
    this.#pace = createPace(modules.clock)
  }

  async open(): Promise<void> {
    const { verify, report } = this.#modules
    const loaded = await load(this.#records, this.#options, { verify, report, pace: this.#pace })
    for (const [author, proof] of loaded.excluded) {
      this.#excluded.set(author, proof)
      this.#digest.exclude(originOf(this.#options.run, author))
      await this.#pace(ELEMENT_WORK)
    }
    for (const [author, log] of loaded.authors) {
      this.#authors.set(author, log)
      this.#count += log.count
      this.#digest.add(log.head.hash)
      await this.#pace(ELEMENT_WORK)
    }
    this.#ownDamaged = loaded.ownDamaged
  }

  version(): ReadonlyMap<PeerName, number> {
    return new Map([...this.#authors].map(([author, { count }]) => [author, count]))
  }

  get count(): number {
    return this.#count
  }

  digest(): Uint8Array {
    return this.#digest.name()
  }

  bytesOf(author: PeerName): Uint8Array {
    return this.#authors.get(author)?.view() ?? new Uint8Array(0)
  }

  headOf(author: PeerName): Uint8Array | undefined {
    return this.#authors.get(author)?.head.hash
  }

  excluded(): ReadonlyMap<PeerName, EquivocationProof> {
    return this.#excluded
  }

  get ownDamaged(): boolean {
    return this.#ownDamaged
  }

  trustOwn(): void {
    this.#ownDamaged = false
  }

  onChange(listener: (change: Change) => void): () => void {
    // Wrapped, so that the same function may listen twice.
    const entry = (change: Change): void => listener(change)
    this.#listeners.add(entry)
    return () => this.#listeners.delete(entry)
  }

  segmentOf(author: PeerName, from: number, limit: number): Segment | undefined {
    const log = this.#authors.get(author)
    if (log === undefined || from < 1 || from > log.count || log.count - from + 1 > limit) {
      return undefined
    }
    return { author, from, bytes: log.view(from).slice(), signature: log.signature }
  }

  append(given: Uint8Array, from: number): Promise<Segment> {
    const { self, run, steps } = this.#options
    const bytes = given.slice()
    return this.#inTurn(async () => {
      const log = this.#authors.get(self) ?? new AuthorLog(originOf(run, self))
      const refuse = (code: string, message: string): never => {
        throw new StarlingError(code, message, { from, count: log.count })
      }
      if (this.#excluded.has(self)) {
        refuse('excluded', `${self} is excluded from the run: ${OWN_EQUIVOCATION}`)
      }
      if (this.#ownDamaged) {
        refuse('own-log-damaged', 'the own contributions on disk were damaged; others have to be asked for them first')
      }
      if (from !== log.count + 1) {
        refuse('own-log-moved', `the next own contribution is that of step ${log.count + 1}, not ${from}`)
      }
      if (log.count + bytes.length > steps) {
        refuse('beyond-steps', `the run has ${steps} steps, and this is step ${log.count + bytes.length}`)
      }
      if (bytes.length === 0 || bytes.includes(NO_CONTRIBUTION)) {
        throw new RangeError('a contribution is a byte other than 0x80, and at least one is appended')
      }
      if (log.count === 0 && !this.#hasRoom()) {
        refuse('too-many-authors', `this log holds ${this.#options.maxAuthors} authors and none may be added`)
      }
      const followed = await follow(log.head, bytes, this.#pace)
      const signature = await this.#modules.sign(statementOf(log.origin, followed.head))
      // On disk before anyone sees it: a peer that forgot what it said would say something else for the same step.
      await this.#records.write(self, log.with(bytes), signature, log.saved)
      log.saved = followed.head.count
      this.#extend(self, log, bytes, followed, signature)
      return { author: self, from, bytes, signature }
    })
  }

  async accept(segment: Segment): Promise<Acceptance> {
    const { author, from, bytes, signature } = segment
    if (
      !isAuthorName(author) ||
      !Number.isInteger(from) ||
      from < 1 ||
      bytes.length === 0 ||
      signature.length !== SIGNATURE_BYTES
    ) {
      return { refused: 'bad-segment' }
    }
    if (from - 1 + bytes.length > this.#options.steps) {
      return { refused: 'beyond-steps' }
    }
    if (bytes.includes(NO_CONTRIBUTION)) {
      return { refused: 'bad-byte' }
    }
    return this.#inTurn(() => this.#take(segment))
  }

  async #take({ author, from, bytes, signature }: Segment): Promise<Acceptance> {
    if (this.#excluded.has(author)) {
      return { refused: 'excluded' }
    }
    const log = this.#authors.get(author) ?? new AuthorLog(originOf(this.#options.run, author))
    if (from > log.count + 1) {
      return { gap: true }
    }
    const common = log.view(from, Math.min(log.count, from - 1 + bytes.length))
    if (!equalBytes(common, bytes.subarray(0, common.length))) {
      const parting = common.findIndex((byte, index) => byte !== bytes[index])
      return this.#prosecute(author, log, from + parting, { bytes: bytes.slice(parting), signature })
    }
    const fresh = bytes.slice(common.length)
    if (fresh.length === 0) {
      return { added: 0 }
    }
    if (log.count === 0 && !this.#hasRoom()) {
      return { refused: 'too-many-authors' }
    }
    const followed = await follow(log.head, fresh, this.#pace)
    if (!(await this.#signed(author, log, followed.head, signature))) {
      return { refused: 'bad-signature' }
    }
    this.#extend(author, log, fresh, followed, signature)
    return { added: fresh.length }
  }

  /** Another history than the one held: forged, or the end of its author. */
  async #prosecute(
    author: PeerName,
    log: AuthorLog,
    step: number,
    other: EquivocationProof['branches'][0],
  ): Promise<Acceptance> {
    const held = { bytes: log.view(step).slice(), signature: log.signature }
    const proof: EquivocationProof = { author, step, before: log.headBefore(step).hash, branches: [held, other] }
    if (!(await this.#proves(proof))) {
      return { refused: 'bad-signature' }
    }
    await this.#exclude(proof)
    return { refused: 'equivocation' }
  }

  accuse(proof: EquivocationProof): Promise<boolean> {
    return this.#inTurn(async () => {
      if (this.#excluded.has(proof.author)) {
        return true
      }
      if (!(await this.#proves(proof))) {
        return false
      }
      if (!this.#authors.has(proof.author) && !this.#hasRoom()) {
        // True all the same; it will be shown again should its author ever get a place.
        return true
      }
      await this.#exclude(proof)
      return true
    })
  }

  async #exclude(proof: EquivocationProof): Promise<void> {
    const { author, step } = proof
    const log = this.#authors.get(author)
    await this.#records.writeProof(proof)
    await this.#records.drop(author, log?.saved ?? 0)
    this.#excluded.set(author, proof)
    this.#authors.delete(author)
    this.#digest.exclude(originOf(this.#options.run, author))
    if (log !== undefined) {
      this.#count -= log.count
      this.#digest.remove(log.head.hash)
    }
    const own = author === this.#options.self
    const reason = own ? OWN_EQUIVOCATION : `it signed two different contributions for step ${step}`
    this.#modules.report({ kind: 'excluded', peer: author, step, own, reason })
    if (log !== undefined) {
      this.#tell({ kind: 'removed', author, from: 1, bytes: log.view() })
    }
  }

  async flush(): Promise<void> {
    const dirty = [...this.#authors].filter(([, log]) => log.saved < log.count).map(([author]) => author)
    for (let start = 0; start < dirty.length; start += PARALLEL) {
      // In turns of some authors each, so that an own contribution need not wait for a thousand writes. Who was excluded meanwhile is gone.
      const group = new Set(dirty.slice(start, start + PARALLEL))
      await this.#inTurn(() => this.#records.writeAll(new Map([...this.#authors].filter(([each]) => group.has(each)))))
    }
  }

  #extend(
    author: PeerName,
    log: AuthorLog,
    bytes: Uint8Array,
    followed: Awaited<ReturnType<typeof follow>>,
    signature: Uint8Array,
  ): void {
    const from = log.count + 1
    if (log.count > 0) {
      this.#digest.remove(log.head.hash)
    }
    log.extend(bytes, followed, signature)
    this.#digest.add(log.head.hash)
    this.#authors.set(author, log)
    this.#count += bytes.length
    this.#tell({ kind: 'added', author, from, bytes: log.view(from) })
  }

  #tell(change: Change): void {
    for (const listener of [...this.#listeners]) {
      listener(change)
    }
  }

  #hasRoom(): boolean {
    return this.#authors.size + this.#excluded.size < this.#options.maxAuthors
  }

  async #signed(
    author: PeerName,
    { origin }: AuthorLog,
    head: AuthorLog['head'],
    signature: Uint8Array,
  ): Promise<boolean> {
    await this.#pace(SIGNATURE_WORK)
    return this.#modules.verify(author, statementOf(origin, head), signature)
  }

  #proves(proof: EquivocationProof): Promise<boolean> {
    const { run, steps } = this.#options
    return checkProof(proof, { run, steps, verify: this.#modules.verify, pace: this.#pace })
  }
}

/** What has happened when a peer is proven to have contradicted itself without meaning to. */
const OWN_EQUIVOCATION =
  'it signed two different contributions for one step: another process uses the same key, or the data folder was put back to an older copy; ' +
  'take part again with a new identity'
