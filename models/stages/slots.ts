import { ModelError } from '../errors.ts'
import type { Graph, Parameters, Value } from '../ops/index.ts'
import type { Place } from './place.ts'

/**
 * Forward passes that may wait for their backward pass at once. Each keeps its activations, and on other engines than the native one a copy of its
 * parameters. Far more than a strategy has under way: one that forgets to close its slots shall fail before the memory is full.
 */
const MAX_SLOTS = 64

/** A forward pass that waits for its backward pass. */
export interface Slot {
  graph: Graph
  output: Value
  place: Place
  parameters: Parameters
}

/** The forward passes that wait for their backward pass, under numbers of the caller's choice. */
export class Slots {
  private readonly open = new Map<number, Slot>() // at most MAX_SLOTS

  /** Tensors of all graphs. */
  get size(): number {
    let total = 0
    for (const { graph } of this.open.values()) total += graph.size
    return total
  }

  /** @throws ModelError 'slot-taken', 'slots-full' */
  checkFree(slot: number): void {
    if (this.open.has(slot)) throw new ModelError('slot-taken', `slot ${slot} holds a forward pass already`, { slot })
    if (this.open.size < MAX_SLOTS) return
    throw new ModelError('slots-full', `${MAX_SLOTS} forward passes wait for their backward pass already`, { slot })
  }

  /** Keeps a pass. Takes its tensors out of the scope they were made in. */
  keep(slot: number, pass: Slot): void {
    pass.graph.keep()
    this.open.set(slot, pass)
  }

  /** @throws ModelError 'slot-unknown' */
  get(slot: number): Slot {
    const pass = this.open.get(slot)
    if (pass !== undefined) return pass
    throw new ModelError('slot-unknown', `no forward pass is kept in slot ${slot}`, { slot })
  }

  /** Frees a slot; one that holds nothing is fine. */
  drop(slot: number): void {
    const pass = this.open.get(slot)
    if (pass === undefined) return
    this.open.delete(slot)
    pass.graph.dispose()
    pass.place.release(pass.parameters)
  }

  /** Frees the slots of a place, or all. */
  dropAll(place?: Place): void {
    for (const [slot, pass] of this.open) if (place === undefined || pass.place === place) this.drop(slot)
  }
}
