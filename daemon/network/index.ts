/**
 * One node's network: libp2p over TCP, signed gossip, questions and answers, and a peer manager.
 *
 * ```ts
 * import '../shims.ts'
 * import { createNetwork, loadOrCreateIdentity } from './network/index.ts'
 *
 * const { key } = await loadOrCreateIdentity(folder)
 * const network = await createNetwork({ identity: key, run, topics: ['members'], listen: ['/ip4/127.0.0.1/tcp/0'] }, signal)
 * network.answer('echo', (from, question) => question)
 * await network.start()
 * ```
 *
 * Not guaranteed: that gossip reaches everybody (ask a random peer what was missed), that a question is answered at most once (an
 * answer may be lost after its answerer ran), or any order between two questions.
 */
import '../shims.ts'

export { parseAddress } from './addresses.ts'
export { type BootstrapLoad, BootstrapNetwork, type BootstrapNetworkOptions } from './bootstrap-network.ts'
export { AMINO_PROTOCOL, type DhtCounts, type DhtOptions, parseKey } from './discovery/index.ts'
export { type Identity, loadOrCreateIdentity, peerNameOf, verifySignature } from './identity.ts'
export { createNetwork } from './network.ts'
export * from './types.ts'
