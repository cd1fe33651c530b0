/**
 * How peers agree: the ports, the wire formats, membership, state transfer, the run manifest and the strategies. Nothing in
 * this folder opens a socket, sets a timer or touches a file; it lives on the {@link Transport} and the {@link Learner} it is given.
 */
export * as attacks from './attacks/index.ts'
export * from './codecs/index.ts'
export * from './connections/index.ts'
export * from './errors.ts'
export * from './events.ts'
export * from './feedback/index.ts'
export * from './gossip/index.ts'
export * from './hash.ts'
export * from './manifest/index.ts'
export * from './membership/index.ts'
export * as mixing from './mixing/index.ts'
export * from './noloco/index.ts'
export * from './pieces/index.ts'
export * from './ports.ts'
export * from './random.ts'
export * from './rate-limit.ts'
export * from './spsa/index.ts'
export * from './strategy.ts'
export * from './transfer/index.ts'
export * from './wire/index.ts'
