/** Gossip learning in fragments: every few steps a peer publishes one fragment of its model, and mixes those of the others. See docs/gossip.md. */
export { FRAGMENTS_TOPIC } from './messages.ts'
export { type GossipOptions, gossipOptionsSchema } from './options.ts'
export { type FragmentPlan, fragmentPlan, MESSAGE_BYTES } from './plan.ts'
export { gossip } from './strategy.ts'
export { faultyOf, nextTurn, referenceTurn } from './turns.ts'
