/** What the question "why am I waiting?" is answered from, and the answer. Plain data throughout. */
import type { PeerName } from '../../protocols/index.ts'
import type { BootstrapStatus, Reachability } from '../network/index.ts'
import type { NodeStatus, PeerStatus } from '../types.ts'
import type { Situation } from './situation.ts'

/** Bytes that are being fetched from another peer now. */
export interface Transfer {
  /** Verified so far, and in all. */
  bytes: number
  size: number
  holder: PeerName | undefined
  /** Milliseconds since the epoch. */
  since: number
}

/** What the network knows. */
export interface NetworkFacts {
  /** Peers of the run with an open connection. */
  connected: readonly PeerName[]
  bootstrap: readonly BootstrapStatus[]
  reachability: Reachability | undefined
}

/** Everything that an answer is drawn from. */
export interface Facts {
  /** Milliseconds since the epoch. */
  now: number
  /** This peer's name, once its key is read. */
  self: PeerName | undefined
  situation: Situation
  /** Undefined until the data folder and the key are read. */
  network: NetworkFacts | undefined
  /** Undefined until the run's manifest is here. */
  node: Pick<NodeStatus, 'phase' | 'step' | 'steps' | 'round' | 'strategy' | 'pipeline' | 'link'> | undefined
  /** The other members of the run. */
  others: readonly Pick<PeerStatus, 'peer' | 'connected' | 'phase' | 'step' | 'silentFor'>[]
  transfer: Transfer | undefined
}
