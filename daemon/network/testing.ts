/** What the tests of the network share: nodes on loopback that are closed after each test, and waiting with a deadline. */

import type { TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { StarlingError } from '../../protocols/index.ts'
import { createLibp2pNetwork, type Libp2pNetwork } from './network.ts'
import type { NetworkEvent, NetworkOptions } from './types.ts'

export const RUN = 'bafytestrun'
export const TOPICS = ['news', 'other']

/**
 * Limits with which nobody of this machine has to wait for what others of its address did: for tests in which one identity after the other misbehaves, or one comes
 * again that was disconnected.
 */
export const MANY_NEWCOMERS = { shared: { connections: 100, pending: 100, rate: 100, burst: 1_000 } }

/** Longest wait of any test for a condition, milliseconds: far more than needed, so that a busy machine does not fail it. */
const DEADLINE = 60_000

export type TestNode = Libp2pNetwork & {
  /** Everything it reported. */
  seen: NetworkEvent[]
}

/** A started node on a free port, stopped at the end of the test. */
export async function startNode(test: TestContext, options: Partial<NetworkOptions> = {}): Promise<TestNode> {
  const network = await createLibp2pNetwork({
    identity: options.identity ?? (await generateKeyPair('Ed25519')),
    run: RUN,
    topics: TOPICS,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    heartbeatMilliseconds: 200,
    ...options,
  })
  const node = Object.assign(network, { seen: [] as NetworkEvent[] })
  network.onEvent((event) => node.seen.push(event))
  test.after(() => network.stop())
  await network.start()
  return node
}

/** Nodes that know the first one's address; resolves when each is connected with each. */
export async function startSwarm(
  test: TestContext,
  count: number,
  options: Partial<NetworkOptions> = {},
): Promise<TestNode[]> {
  const first = await startNode(test, options)
  const rest = Array.from({ length: count - 1 }, () => startNode(test, { ...options, bootstrap: first.addresses() }))
  const nodes = [first, ...(await Promise.all(rest))]
  await until(() => nodes.every((node) => node.connected().length === count - 1), 'everybody to be connected')
  return nodes
}

/** Waits for a condition; fails with what it waited for. */
export async function until(condition: () => boolean, what: string, deadline = DEADLINE): Promise<void> {
  const end = Date.now() + deadline
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited ${deadline} ms in vain for ${what}`)
    await delay(5)
  }
}

/** Two nodes that know each other. */
export async function startPair(
  test: TestContext,
  options: Partial<NetworkOptions> = {},
): Promise<[TestNode, TestNode]> {
  const [a, b] = await startSwarm(test, 2, options)
  return [a as TestNode, b as TestNode]
}

/** The reasons for which a node refused something of a peer. */
export function reasons(node: TestNode, peer: string): string[] {
  return node.seen.flatMap((event) => (event.kind === 'rejected' && event.peer === peer ? [event.reason] : []))
}

/** The code of the StarlingError that a promise rejects with. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
  } catch (error) {
    if (error instanceof StarlingError) return error.code
    throw error
  }
  throw new Error('it should have been refused')
}

/** Notes rejections that nobody handled, which would end the daemon. */
export function watchRejections(test: TestContext): unknown[] {
  const found: unknown[] = []
  const note = (reason: unknown): void => void found.push(reason)
  process.on('unhandledRejection', note)
  process.on('uncaughtException', note)
  test.after(() => {
    process.off('unhandledRejection', note)
    process.off('uncaughtException', note)
  })
  return found
}
