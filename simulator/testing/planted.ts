/** A fault on purpose, to see that the checks of a simulation find it. */
import { encode } from 'cborg'
import { seededRandom } from '../../protocols/index.ts'
import { checkScenario, type SimulationResult, simulate } from '../scenario/index.ts'

/**
 * Six peers of NoLoCo whose responders now and then, with that probability, say 'committed' without having decided: the asker takes the exchange's step, and they drop it
 * later.
 */
export function oneSided(seed: number, probability: number): Promise<SimulationResult> {
  const dice = seededRandom('planted', seed)
  const scenario = checkScenario({
    peers: 6,
    seed,
    rounds: 2,
    strategy: { name: 'noloco', innerSteps: 4 },
    learner: 'quadratic',
  })
  return simulate(scenario, {
    transport: (_, transport) => ({
      ...transport,
      answer: (method, answerer) =>
        transport.answer(method, (from, question, signal) =>
          method === 'noloco-commit' && dice.uniform() < probability
            ? encode({ outcome: 'committed' })
            : answerer(from, question, signal),
        ),
    }),
  })
}
