/**
 * Plans of a pipeline's data peer: measured, made, agreed upon by all peers on their paths, and made anew when a holder comes or goes. Each data peer plans
 * its own microbatches, within its own share of the holders' slots, so that plans of several need not know of each other.
 */
import { Bell } from '../../bell.ts'
import { StarlingError } from '../../errors.ts'
import { sha256Hex } from '../../hash.ts'
import type { PeerName, StageCut, Swarm, Transport } from '../../ports.ts'
import type { Report } from '../../strategy.ts'
import type { Path } from '../paths/index.ts'
import type { Holders } from '../types.ts'
import { fewAtATime } from './few.ts'
import { planRefusal, type RunRules } from './judge.ts'
import { Links } from './links.ts'
import { decodePlan, encodePlan, METHODS, type NamedPlan, planAnswer, travelled } from './messages.ts'
import { planSteps, problemFault } from './plan.ts'
import type { SkipPlan, SkipProblem } from './problem.ts'
import { reroute } from './reroute.ts'
import { iteration, simulateIteration } from './simulate.ts'
import { type SurveyOptions, survey } from './survey.ts'

/** What a planner is made from. */
export interface PlannerModules {
  swarm: Transport & Pick<Swarm, 'run'>
  report: Report
  holders: Pick<Holders, 'ready' | 'held' | 'dataPeers' | 'speed' | 'bell'>
  cut: Pick<StageCut, 'stages' | 'rows' | 'microbatches'>
  options: PlannerOptions
}

export interface PlannerOptions extends SurveyOptions {
  /** Every so many steps all microbatches go through all stages; 0 for never. */
  fullEvery: number
  /** As in {@link import('./plan.ts').PlanOptions}. */
  work?: number
}

/** A path for microbatches, in turn; the first of a step sets out on it no sooner than `start` ms after the step began. */
export interface PlannedPath {
  path: Path
  start: number
}

/** For the part of a pipeline that sends microbatches on their ways. */
export interface Planner {
  /** Answers others' questions, and, where this peer is a data peer, plans. Resolves when the signal aborts; throws where something broke. */
  run(signal: AbortSignal): Promise<void>
  /** Paths of a step: microbatch m takes number m mod length. Undefined where the step goes through all stages, or no plan stands: route it some other way. */
  pathsFor(step: number): readonly PlannedPath[] | undefined
  /** That holder cannot be used: its plan is void until another has been agreed upon, one that goes around it if that can be. */
  lost(stage: number, peer: PeerName): void
  /** Rings when {@link pathsFor} may say something else. */
  readonly bell: Bell
  readonly links: Links
}

/** Longest wait before everything is looked at again, ms, and how long holders must not have changed before a plan is made. */
const LOOK_AGAIN = 1_000
const SETTLE = 1_000

/** How long a refused plan is not tried again, ms; and how long the delays of one that stands are good. */
const RETRY = 5_000
const MEASURE_AGAIN = 600_000

/** A plan that stands gives way to one that is better by this share. */
const WORTH_IT = 0.1

/** Longest wait for a peer's answer to a plan, ms. */
const PLAN_TIMEOUT = 10_000

/** Slices of planning give way to everything else for so long, ms. */
const BREATH = 1

/** Digits of a plan's hash by which people know it. */
const NAME_DIGITS = 16

/** A plan, and the holders that it was made for. */
interface Standing extends NamedPlan {
  /** The text of holdersNow. */
  made: string
  at: number
}

/** See {@link Planner}. */
export const createPlanner = (modules: PlannerModules): Planner => new PlannerOfPipeline(modules)

class PlannerOfPipeline implements Planner {
  readonly bell = new Bell()
  readonly links: Links
  readonly #modules: PlannerModules
  readonly #rules: RunRules
  #standing: Standing | undefined
  /** What is left of the plan that stood, to be agreed upon before a new one is made. */
  #rerouted: Standing | undefined

  constructor(modules: PlannerModules) {
    const { cut, options, swarm } = modules
    this.#modules = modules
    this.links = new Links(swarm)
    this.#rules = {
      stages: cut.stages,
      keep: options.keep,
      microbatches: cut.microbatches,
      quota: options.quota,
    }
  }

  async run(signal: AbortSignal): Promise<void> {
    const { swarm, holders } = this.#modules
    const stops = [
      this.links.start((peer) => holders.dataPeers().includes(peer)),
      swarm.answer(METHODS.plan, (from, bytes) => this.#judge(from, bytes)),
    ]
    try {
      while (!signal.aborted) {
        if (!(await this.#work(signal))) {
          await holders.bell.wait(swarm.clock, LOOK_AGAIN, signal)
        }
      }
    } catch (error) {
      if (!signal.aborted) {
        throw error
      }
    } finally {
      for (const stop of stops) {
        stop()
      }
    }
  }

  pathsFor(step: number): readonly PlannedPath[] | undefined {
    const { holders, cut, options } = this.#modules
    const standing = this.#standing
    const whole = Array.from({ length: cut.stages }, (_, i) => i + 1).every((stage) => holders.ready(stage).length > 0)
    // A step for all stages waits for nobody: while one is missing, partial paths go on.
    if (standing === undefined || (whole && options.fullEvery > 0 && step % options.fullEvery === 0)) {
      return undefined
    }
    const { plan, peers } = standing
    const paths = plan.rounds[step % plan.rounds.length]!.map(({ start, hops }) => ({
      path: hops.map(({ stage, machine }) => ({ stage, peer: peers[machine]! })),
      start: 1000 * start,
    }))
    const gone = paths.flatMap(({ path }) => path).find(({ stage, peer }) => !holders.ready(stage).includes(peer))
    if (gone !== undefined) {
      this.lost(gone.stage, gone.peer)
      return undefined
    }
    return paths
  }

  lost(stage: number, peer: PeerName): void {
    const standing = this.#standing ?? this.#rerouted
    const machine = standing?.peers.indexOf(peer) ?? -1
    if (standing === undefined || !(standing.problem.holders[stage - 1]?.includes(machine) ?? false)) {
      return
    }
    const used = standing.plan.rounds
      .flat()
      .some(({ hops }) => hops.some((hop) => hop.stage === stage && hop.machine === machine))
    if (!used && this.#standing !== undefined) {
      return
    }
    this.#standing = undefined
    const around = reroute(standing.problem, standing.plan, { stage, machine })
    // Made for nobody's table: a whole new plan is to follow.
    this.#rerouted = around === undefined ? undefined : { ...standing, ...around, made: '' }
    this.bell.ring()
    this.#modules.holders.bell.ring()
  }

  /** One thing that is to be done, if there is any; false where there is nothing to do but wait. */
  async #work(signal: AbortSignal): Promise<boolean> {
    const { swarm, holders } = this.#modules
    const { clock } = swarm
    if (holders.held(0) === undefined) {
      this.#standing = undefined
      this.#rerouted = undefined
      return false
    }
    const rerouted = this.#rerouted
    if (rerouted !== undefined) {
      const agreed = await this.#agreed(rerouted, signal)
      // Another holder may have been lost meanwhile.
      if (this.#rerouted === rerouted) {
        this.#rerouted = undefined
        if (agreed) {
          this.#stand(rerouted)
        }
      }
      return true
    }
    const made = this.#holdersNow()
    const standing = this.#standing
    const stale = standing !== undefined && clock.now() - standing.at > MEASURE_AGAIN
    if (standing?.made === made && !stale) {
      return false
    }
    await clock.sleep(SETTLE, signal)
    if (this.#holdersNow() !== made) {
      return true
    }
    const planned = await this.#plan(made, signal)
    if (this.#rerouted !== undefined || this.#holdersNow() !== made) {
      return true
    }
    if (planned === undefined) {
      await holders.bell.wait(clock, RETRY, signal)
      return true
    }
    if (standing !== undefined && standing.made === made && !betterThan(planned, standing)) {
      this.#standing = { ...standing, at: clock.now() }
      return false
    }
    if (await this.#agreed(planned, signal)) {
      if (this.#rerouted === undefined) {
        this.#stand(planned)
      }
    } else {
      await clock.sleep(RETRY, signal)
    }
    return true
  }

  /** Who is ready to be used, as a text to compare. */
  #holdersNow(): string {
    const { holders } = this.#modules
    return JSON.stringify(Array.from({ length: this.#rules.stages }, (_, i) => [...holders.ready(i + 1)].sort()))
  }

  /** Measures and makes a plan; undefined where there can be none now. */
  async #plan(made: string, signal: AbortSignal): Promise<Standing | undefined> {
    const { swarm, options } = this.#modules
    const surveyed = await survey(this.#modules, this.links, JSON.parse(made), signal)
    if (surveyed === undefined || problemFault(surveyed.problem) !== undefined) {
      return undefined
    }
    const { peers, problem } = surveyed
    const steps = planSteps(problem, {
      seed: [swarm.run, swarm.self],
      ...(options.work === undefined ? {} : { work: options.work }),
    })
    let step = steps.next()
    while (step.done !== true) {
      await swarm.clock.sleep(BREATH, signal)
      if (this.#rerouted !== undefined) {
        return undefined
      }
      step = steps.next()
    }
    // Others simulate what they are told: starts in whole microseconds.
    const rounds = step.value.rounds.map((paths) => paths.map((path) => ({ ...path, start: travelled(path.start) })))
    return { peers, problem, plan: { rounds, seconds: secondsOf(problem, rounds) }, made, at: swarm.clock.now() }
  }

  /** Asks everybody on the paths. One no is enough; it is reported with its reason. */
  async #agreed(offered: Standing, signal: AbortSignal): Promise<boolean> {
    const { swarm, report } = this.#modules
    const bytes = encodePlan(offered)
    const used = new Set(
      offered.plan.rounds.flatMap((paths) => paths.flatMap(({ hops }) => hops.map((hop) => hop.machine))),
    )
    const reasons = await fewAtATime([...used], async (machine): Promise<[PeerName, string | undefined]> => {
      const peer = offered.peers[machine]!
      try {
        const answer =
          peer === swarm.self
            ? this.#judge(peer, bytes)
            : await swarm.ask(peer, METHODS.plan, bytes, { signal, timeout: PLAN_TIMEOUT })
        const { accepted, reason } = planAnswer.decode(answer)
        return [peer, accepted ? undefined : (reason ?? 'no reason given')]
      } catch (error) {
        if (signal.aborted || !(error instanceof StarlingError)) {
          throw error
        }
        return [peer, error.code]
      }
    })
    for (const [peer, reason] of reasons) {
      if (reason !== undefined) {
        report({ kind: 'rejected', peer, what: 'plan', reason })
      }
    }
    return reasons.every(([, reason]) => reason === undefined)
  }

  #stand(agreed: Standing): void {
    this.#standing = agreed
    const { rounds, seconds } = agreed.plan
    const plan = sha256Hex(encodePlan(agreed)).slice(0, NAME_DIGITS)
    const paths = rounds.reduce((sum, round) => sum + round.length, 0)
    this.#modules.report({ kind: 'plan-agreed', plan, paths, seconds })
    this.bell.ring()
  }

  #judge(from: PeerName, bytes: Uint8Array): Uint8Array {
    const { swarm, holders } = this.#modules
    const reason = planRefusal(decodePlan(bytes), from, swarm.self, this.#rules, holders)
    return planAnswer.encode(
      reason === undefined ? { accepted: true } : { accepted: false, reason: reason.slice(0, 200) },
    )
  }
}

const secondsOf = (problem: SkipProblem, rounds: SkipPlan['rounds']): number =>
  rounds.reduce((sum, paths) => sum + simulateIteration(problem, iteration(problem, paths)).seconds, 0) / rounds.length

/** Whether a new plan is worth the change, with the delays that it was made for. */
const betterThan = (planned: Standing, standing: Standing): boolean =>
  planned.plan.seconds < (1 - WORTH_IT) * secondsOf(planned.problem, standing.plan.rounds)
