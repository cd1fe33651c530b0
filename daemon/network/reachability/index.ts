/** How a node is reached from outside: its addresses, relays, direct connections in their place, and what it can say about it. */
export { Connectivity } from './connectivity.ts'
export { answerDialBack } from './dial-back.ts'
export { type ReachModules, reachModules } from './modules.ts'
export { OwnAddresses } from './own-addresses.ts'
export { RELAY_PROTOCOLS } from './relay-client.ts'
export {
  createRelayServer,
  DEFAULT_RELAY_LIMITS,
  RELAY_WINDOW,
  type RelayLimits,
  type RelayLoad,
  type RelayServer,
} from './relay-server.ts'
export type { RelayOptions } from './types.ts'
