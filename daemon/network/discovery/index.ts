/** Finding peers of a run: through a Kademlia DHT by the run's CID, and through bootstrap nodes that introduce them. */
export { BoundedDatastore } from './datastore.ts'
export { DHT_CONNECTIONS, type Dht, dhtService, PROVIDER_AGE } from './dht.ts'
export { Finder, type FinderParts } from './finder.ts'
export { isProof, PROOF_LENGTH, parseKey, proofOf } from './pre-shared-key.ts'
export { Registry, type RegistryCounts, type RegistryLimits } from './registry.ts'
export * from './types.ts'
