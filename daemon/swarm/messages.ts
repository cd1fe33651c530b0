/** What a peer's process and its launcher tell each other over the process channel. Plain data. */
import type { Explanation, NodeEvent, NodeStatus, PeerStatus } from '../types.ts'

/** From a peer's process. */
export type ChildMessage =
  | { type: 'ready'; peer: string; page: string; link: string; listen: string[] }
  | { type: 'event'; event: NodeEvent }
  | { type: 'state'; status: NodeStatus; peers: PeerStatus[]; explanation: Explanation }
  /** Its steps are done; it goes on serving until told to stop. */
  | { type: 'finished' }
  | { type: 'failed'; code: string; message: string; mistake: boolean }

/** To a peer's process. */
export type ParentMessage = { type: 'stop'; reason: string }

/** Milliseconds between two state messages. */
export const STATE_INTERVAL = 1_000
