/** What the experiments on gossip in rounds share: simulator/testing/gossip-rounds.ts with a rule, and with liars. */
import { attacks, mixing, seededRandom } from '../../dist/protocols/index.js'
import { mlpSymmetries } from '../../dist/simulator/testing/gossip-rounds.js'

/** A mixer of the product's mixing step; `make` gives its options for each peer, since some rules remember. */
export const mixes = (make) => (kernels, model) => {
  const options = make(model)
  return (own, messages, scratch) => mixing.mix(kernels, own, messages, options, scratch)
}

/** An attack by name, for each liar. Liars that rotate do it alike, or they would not stand together. */
export const attackBy = (name, seed) => (model, peer) =>
  attacks.createAttack(name, {
    random: seededRandom('attack', seed, name.startsWith('rotation') ? 0 : peer),
    symmetries: mlpSymmetries(model),
  })
