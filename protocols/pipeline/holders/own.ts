/** What this peer itself holds, and where it lies. */
import { StarlingError } from '../../errors.ts'
import type { StageOrigin } from '../../events.ts'
import type { StageCut, StagePlace } from '../../ports.ts'
import type { Hold, HoldState } from './messages.ts'
import type { Course } from './types.ts'

/** Elements of a vector that is as long as theta. */
export interface Range {
  begin: number
  end: number
}

/** Where a part lies in theta, the gradients and the moments. */
export function rangeOf(cut: StageCut, part: number, place: StagePlace): Range {
  const size = cut.sizes[part]!
  if (place === 'ends') {
    return { begin: 0, end: size }
  }
  const begin = cut.sizes[0]! + place * Math.max(...cut.sizes.slice(1))
  return { begin, end: begin + size }
}

/** A part of this peer. */
export interface OwnPart {
  readonly part: number
  readonly place: StagePlace
  state: HoldState
  /** Once it is there. */
  course?: Course
  origin?: StageOrigin
  /** Ends what is done to take it. */
  readonly stop: AbortController
}

/** A part that is there. */
export type ReadyPart = OwnPart & { course: Course }

export class OwnParts {
  readonly #places: (number | undefined)[]
  /** At most one for each place, and the ends. */
  readonly #parts = new Map<number, OwnPart>()

  constructor(places: number) {
    this.#places = Array.from({ length: places }, () => undefined)
  }

  /** Makes room for a part, in that place or in any. Undefined where there is none, or the part is there already. */
  claim(part: number, wanted?: number): OwnPart | undefined {
    if (this.#parts.has(part)) {
      return undefined
    }
    let place: StagePlace = 'ends'
    if (part > 0) {
      const wish = wanted !== undefined && wanted < this.#places.length && this.#places[wanted] === undefined
      place = wish ? wanted : this.#places.indexOf(undefined)
      if (place < 0) {
        return undefined
      }
      this.#places[place] = part
    }
    const own: OwnPart = { part, place, state: 'taking', stop: new AbortController() }
    this.#parts.set(part, own)
    return own
  }

  drop(part: number): void {
    const own = this.#parts.get(part)
    if (own === undefined) {
      return
    }
    own.stop.abort(new StarlingError('aborted', 'the part is not wanted any more', { part }))
    this.#parts.delete(part)
    if (own.place !== 'ends') {
      this.#places[own.place] = undefined
    }
  }

  get(part: number): OwnPart | undefined {
    return this.#parts.get(part)
  }

  /** A part that is there and used. */
  ready(part: number): ReadyPart | undefined {
    const own = this.#parts.get(part)
    return own?.state === 'ready' && own.course !== undefined ? (own as ReadyPart) : undefined
  }

  [Symbol.iterator](): IterableIterator<OwnPart> {
    return this.#parts.values()
  }

  /** What others are told. */
  said(): Hold[] {
    return [...this.#parts.values()]
      .sort((a, b) => a.part - b.part)
      .map(({ part, state, course, origin }) => {
        const norm = course?.norm
        return {
          part,
          state,
          step: course?.step ?? 0,
          ...(norm !== undefined && Number.isFinite(norm) ? { norm: Math.min(norm, MAX_NORM) } : {}),
          ...(origin === undefined ? {} : { origin }),
        }
      })
  }
}

/** Largest norm that a statement can carry. */
const MAX_NORM = 1e30
