/** How a node is reached from outside: relays, and what it finds out about its own addresses. */
export { Reachability } from './reachability.ts'
export { RELAY_PROTOCOLS, WANTED_RELAYS } from './relay-client.ts'
export {
  createRelayServer,
  DEFAULT_RELAY_LIMITS,
  RELAY_WINDOW,
  type RelayLimits,
  type RelayLoad,
  type RelayServer,
} from './relay-server.ts'
export type { RelayOptions } from './types.ts'
