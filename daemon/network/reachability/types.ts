import type { RelayLimits } from './relay-server.ts'

/** Relays: being one, and using others'. With any of it, peers behind relays are dialled. */
export interface RelayOptions {
  /** Carry connections between peers that cannot dial each other. Default false; limits left out are `DEFAULT_RELAY_LIMITS`. */
  serve?: boolean | Partial<RelayLimits>
  /** Be reached through relays that are bootstrap nodes or peers of the run. Default false. */
  use?: boolean
}
