/** Swarms of stage holders that are killed, and what tests ask about them. */
import assert from 'node:assert/strict'
import type { PeerName, StrategyEvent } from '../../protocols/index.ts'
import { createHoldersWorld, type HolderProcess, type HoldersWorld, type HoldersWorldOptions } from './holders.ts'

export const SEVEN = ['a', 'b', 'c', 'd', 'e', 'f', 'g']

/** Every stage has to have a ready holder again after so long, ms. */
export const HEALED = 5_000

/** Virtual ms after which something that should happen counts as not happening. */
export const STUCK = 60_000

/** A swarm that has dealt its roles and trained for a while. */
export async function running(names: readonly PeerName[], options: HoldersWorldOptions): Promise<HoldersWorld> {
  const world = createHoldersWorld(options)
  for (const name of names) {
    await world.start(name)
  }
  await world.network.clock.runUntil(() => world.whole(), STUCK)
  await trainedTo(world, 5)
  return world
}

/** Waits until a data peer has taken that step. */
export async function trainedTo(world: HoldersWorld, step: number): Promise<void> {
  await world.network.clock.runUntil(() => world.holding(0).some(({ holders }) => holders.held(0)!.step >= step), STUCK)
}

export const stepOf = (world: HoldersWorld): number =>
  Math.max(...world.holding(0).map(({ holders }) => holders.held(0)!.step))

/** Kills whoever holds these parts, and returns how long it took until every part had a holder again, ms. */
export async function killHolders(world: HoldersWorld, parts: readonly number[]): Promise<number> {
  const { clock } = world.network
  const victims = new Set(parts.flatMap((part) => world.holding(part)))
  const since = clock.now()
  for (const victim of victims) {
    victim.kill()
  }
  assert.equal(world.whole(), false)
  await clock.runUntil(() => world.whole(), STUCK)
  return clock.now() - since
}

export function taken(process: HolderProcess, part: number): Extract<StrategyEvent, { kind: 'stage-taken' }> {
  const events = process.events.filter((event) => event.kind === 'stage-taken')
  const last = events.findLast((event) => event.stage === part)
  assert.ok(last !== undefined, `${process.name} took part ${part}`)
  return last
}

export const holderOf = (world: HoldersWorld, part: number): HolderProcess => {
  const holding = world.holding(part)
  assert.equal(holding.length, 1, `part ${part} has one holder`)
  return holding[0]!
}

export const bytes = (values: Float32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength)

export const equal = (a: Float32Array, b: Float32Array): boolean =>
  a.length === b.length && a.every((value, i) => value === b[i])
