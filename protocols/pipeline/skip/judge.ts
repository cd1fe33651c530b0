/** Whether a peer accepts a plan that a data peer offers: every peer on its paths looks at it with its own eyes. */
import type { PeerName } from '../../ports.ts'
import type { Holders } from '../types.ts'
import { planFaults } from './constraints.ts'
import type { NamedPlan } from './messages.ts'
import { problemFault } from './plan.ts'
import { iteration, simulateIteration } from './simulate.ts'

/** What a run says of its plans; the same at every peer. */
export interface RunRules {
  stages: number
  /** Stages of a path. */
  keep: number
  /** Microbatches of a step, and those that a data peer has under way at most. */
  microbatches: number
  quota: number
}

/** Farthest that the time a plan claims may be from what it takes when it is simulated here, seconds: the rounding of its starts. */
const SECONDS_OFF = 1e-3

/** One clause that says why this peer does not accept the plan of that data peer; undefined where it does. */
export function planRefusal(
  { peers, problem, plan }: NamedPlan,
  from: PeerName,
  self: PeerName,
  rules: RunRules,
  holders: Pick<Holders, 'held' | 'dataPeers'>,
): string | undefined {
  const { machines, origins, transfer, holders: of } = problem
  if (!holders.dataPeers().includes(from)) {
    return 'it comes from a peer that is no data peer'
  }
  if (peers.length !== machines.length || new Set(peers).size !== peers.length) {
    return 'its peers are not one for each machine'
  }
  if (transfer.some((row) => row.length !== machines.length)) {
    return 'its delays are not one for each pair of machines'
  }
  if (peers[origins[0]!] !== from) {
    return 'its paths do not begin at the data peer that offers it'
  }
  const numbers = [...of.flat(), ...plan.rounds.flat(2).flatMap(({ hops }) => hops.map(({ machine }) => machine))]
  if (numbers.some((machine) => machines[machine] === undefined)) {
    return 'it names machines that it does not describe'
  }
  const { stages, keep, microbatches, quota } = rules
  const paths = Math.min(microbatches, quota)
  if (of.length !== stages || problem.keep !== keep || problem.release.microbatches !== microbatches) {
    return `it is not for ${stages} stages of which ${keep} are kept, and ${microbatches} microbatches`
  }
  if (problem.paths !== paths || machines.some(({ slots }) => slots > quota)) {
    return `it is not for ${paths} paths, and ${quota} slots at most`
  }
  const fault = problemFault(problem)
  if (fault !== undefined) {
    return fault
  }
  const [broken, ...others] = planFaults(problem, plan)
  if (broken !== undefined) {
    const more = others.length === 0 ? '' : `, and ${others.length} more`
    return `${broken.constraint}: ${broken.what}${more}`
  }
  const own = new Set(
    plan.rounds.flatMap((round) =>
      round.flatMap(({ hops }) => hops.filter(({ machine }) => peers[machine] === self).map(({ stage }) => stage)),
    ),
  )
  for (const stage of own) {
    if (holders.held(stage) === undefined) {
      return `I do not hold stage ${stage}`
    }
  }
  const seconds =
    plan.rounds.reduce((sum, round) => sum + simulateIteration(problem, iteration(problem, round)).seconds, 0) /
    plan.rounds.length
  return Math.abs(seconds - plan.seconds) <= SECONDS_OFF
    ? undefined
    : `it takes ${seconds.toFixed(3)} s a step, not ${plan.seconds.toFixed(3)}`
}
