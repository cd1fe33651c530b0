/**
 * The experiments of docs/results.md, in its order. Each is an object:
 *
 *   name       of its file in docs/results
 *   title, paper, setting     what is asked, what the paper says (with its numbers), and what is done here: prose of docs/results.md
 *   jobs({ reduced })         what is to be measured, as plain objects; each is run by itself and its result is kept by what it says, so it must hold all that is not in the code
 *   run(job, { log })         measures one, in a worker process; plain data, small
 *   report(runs, { reduced }) runs: [{ job, result }], all of them -> { text, plots, claims }: Markdown, SVG by ending of the file's name, and
 *                             claims [{ claim, ours, holds, asserted }]; an asserted one that does not hold is an error, of the others it is said whether they hold
 *
 * The reduced form asserts what holds at any size; it is what the tests run.
 */
import { experiment as checkfree } from './checkfree.js'
import { experiment as gossipLiars } from './gossip-liars.js'
import { experiment as gossipMerge } from './gossip-merge.js'
import { experiment as gossipParticipation } from './gossip-participation.js'
import { experiment as gossipVariance } from './gossip-variance.js'
import { experiment as nolocoLatency } from './noloco-latency.js'
import { experiment as nolocoLosses } from './noloco-losses.js'
import { experiment as nolocoRouting } from './noloco-routing.js'
import { experiment as oneByte } from './one-byte.js'
import { experiment as skippipeOmission } from './skippipe-omission.js'
import { experiment as skippipeSchedules } from './skippipe-schedules.js'

export const experiments = [
  nolocoLosses,
  nolocoRouting,
  nolocoLatency,
  oneByte,
  checkfree,
  skippipeSchedules,
  skippipeOmission,
  gossipVariance,
  gossipMerge,
  gossipParticipation,
  gossipLiars,
]

/** The experiment of a name. */
export const experimentOf = (name) => experiments.find((experiment) => experiment.name === name)
