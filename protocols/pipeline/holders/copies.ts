/** Copies of parts: given from one vector, to all who ask for the same part of the same step, and fetched to where the part is to lie. */
import { Bell } from '../../bell.ts'
import { StarlingError } from '../../errors.ts'
import type { PeerName, Swarm } from '../../ports.ts'
import type { BlobReference } from '../../transfer/index.ts'
import { copyAnswer, copyQuestion, METHODS, QUICK_TIMEOUT, rootQuestion } from './messages.ts'
import type { Range } from './own.ts'
import { COPY, copyTask } from './tasks.ts'
import type { Course, HolderModules } from './types.ts'

/** Whole time for the name of a copy, ms: the giver finishes a pass, copies, hashes, and may have to wait for another copy to be fetched. */
const NAME_TIMEOUT = 10_000

/** How long a copy of another part is waited for, ms. */
const BUSY_WAIT = 5_000

/** How long a copy is kept for one who fetches it, ms, beside {@link SLOWEST}. */
const COPY_TTL = 10_000

/** Rate at which a copy is at least fetched, bytes per ms (2 Mbit/s). */
const SLOWEST = 250

/** Those who may fetch one copy at once. */
const MAX_TAKERS = 64

interface Copy {
  part: number
  course: Course
  reference: BlobReference
  takers: Set<PeerName>
  until: number
  /** Made for keepers of the ends: whoever needs another copy comes first. */
  forKeepers: boolean
}

/** A part that can be copied. */
export interface Source {
  range: Range
  /** Where it stands; asked for after the copy was made. */
  course(): Course
}

/** The giving side. */
export class Copies {
  readonly #modules: HolderModules
  readonly #sourceOf: (part: number) => Source | undefined
  readonly #bell = new Bell()
  #current: Copy | undefined
  #making = false
  readonly #stops: (() => void)[] = []

  constructor(modules: HolderModules, sourceOf: (part: number) => Source | undefined) {
    this.#modules = modules
    this.#sourceOf = sourceOf
  }

  start(): void {
    const { swarm } = this.#modules
    this.#stops.push(
      swarm.answer(METHODS.copy, async (from, question, signal) => {
        const { part } = read(swarm, from, copyQuestion, question)
        return this.#answer(from, part, signal)
      }),
      swarm.answer(METHODS.copied, (from, question) => {
        const { root } = read(swarm, from, rootQuestion, question)
        if (this.#current?.reference.root === root) {
          this.#release(from)
        }
        return new Uint8Array(0)
      }),
    )
  }

  stop(): void {
    for (const stop of this.#stops.splice(0).reverse()) {
      stop()
    }
    this.#withdraw()
  }

  /** A peer is gone: what it was fetching is free again. */
  gone(peer: PeerName): void {
    this.#release(peer)
  }

  /** Makes a copy of the ends for keepers, while they fetch it; 'busy' while the place for copies is taken. */
  async forKeepers<Result>(fetched: (copy: Course & BlobReference) => Promise<Result>): Promise<Result | 'busy'> {
    if (this.#making || this.#stands() !== undefined) {
      return 'busy'
    }
    const copy = await this.#make(0, true)
    try {
      return await fetched({ ...copy.course, ...copy.reference })
    } finally {
      // Others may have come to fetch the same copy meanwhile; then it stays until they have it.
      if (this.#current === copy && copy.takers.size === 0) {
        this.#withdraw()
        this.#bell.ring()
      }
    }
  }

  async #answer(from: PeerName, part: number, signal: AbortSignal): Promise<Uint8Array> {
    const { clock } = this.#modules.swarm
    const until = clock.now() + BUSY_WAIT
    for (;;) {
      const source = this.#sourceOf(part)
      if (source === undefined) {
        throw new StarlingError('not-held', `this peer has no part ${part} to give`, { part })
      }
      const current = this.#stands()
      const fits = current?.part === part && current.course.step === source.course().step
      if (!this.#making && (current === undefined || fits || current.forKeepers)) {
        const copy = fits ? current : await this.#make(part, false)
        if (copy.takers.size >= MAX_TAKERS) {
          throw new StarlingError('peer-busy', 'too many fetch this copy', { part })
        }
        copy.takers.add(from)
        const { course, reference } = copy
        const { norm, ...rest } = course
        return copyAnswer.encode({ ...rest, ...(norm === undefined ? {} : { norm }), ...reference })
      }
      const left = until - clock.now()
      if (left <= 0 || signal.aborted) {
        throw new StarlingError('peer-busy', 'another copy is being fetched', { part })
      }
      await this.#bell.wait(clock, left, signal)
    }
  }

  async #make(part: number, forKeepers: boolean): Promise<Copy> {
    const { learner, blobs, swarm } = this.#modules
    this.#withdraw()
    this.#making = true
    try {
      const source = this.#sourceOf(part)
      if (source === undefined) {
        throw new StarlingError('not-held', `this peer has no part ${part} to give`, { part })
      }
      await learner.compute(copyTask, source.range)
      // Right after the copy: a step that was taken before it has been counted, one after it has not.
      const { step, applied, rate, norm } = source.course()
      const bytes = learner.bytes(COPY).subarray(0, 4 * (source.range.end - source.range.begin))
      const ttl = COPY_TTL + bytes.byteLength / SLOWEST
      const reference = await blobs.offer(bytes, { ttl })
      const until = swarm.clock.now() + ttl
      const copy = {
        part,
        course: { step, applied, rate, norm },
        reference,
        takers: new Set<PeerName>(),
        until,
        forKeepers,
      }
      this.#current = copy
      return copy
    } finally {
      this.#making = false
      this.#bell.ring()
    }
  }

  #stands(): Copy | undefined {
    if (this.#current !== undefined && this.#modules.swarm.clock.now() >= this.#current.until) {
      this.#withdraw()
    }
    return this.#current
  }

  #release(peer: PeerName): void {
    const copy = this.#current
    if (copy?.takers.delete(peer) === true && copy.takers.size === 0) {
      this.#withdraw()
      this.#bell.ring()
    }
  }

  #withdraw(): void {
    if (this.#current !== undefined) {
      this.#modules.blobs.withdraw(this.#current.reference.root)
      this.#current = undefined
    }
  }
}

/**
 * Fetches a copy of a part from one peer into `into`. Throws StarlingError 'bad-tensor' when it has another size, and what asking and pulling throw. What came has not been
 * looked at.
 */
export async function fetchCopy(
  { swarm, blobs }: Pick<HolderModules, 'swarm' | 'blobs'>,
  peer: PeerName,
  part: number,
  into: Uint8Array,
  signal: AbortSignal,
): Promise<Course> {
  const answer = await swarm.ask(peer, METHODS.copy, copyQuestion.encode({ part }), { signal, timeout: NAME_TIMEOUT })
  const { root, size, ...course } = read(swarm, peer, copyAnswer, answer)
  try {
    if (size !== into.byteLength) {
      throw new StarlingError('bad-tensor', `its part ${part} has ${size} bytes instead of ${into.byteLength}`, {
        peer,
      })
    }
    await blobs.pull([peer], { root, size }, into, { signal })
    return course
  } finally {
    // Not waited for: the copy would be free again after its time anyway.
    swarm.ask(peer, METHODS.copied, rootQuestion.encode({ root }), { timeout: QUICK_TIMEOUT }).catch(() => undefined)
  }
}

/** Decodes what a peer sent; a peer that sends garbage has it held against it. Throws StarlingError 'bad-message'. */
export function read<T>(swarm: Swarm, from: PeerName, type: { decode(bytes: Uint8Array): T }, bytes: Uint8Array): T {
  try {
    return type.decode(bytes)
  } catch (error) {
    swarm.penalize(from, 'bad-message')
    throw error
  }
}
