/** How a part comes to this peer: from another holder, from this peer's own checkpoint, from the run's start, or rebuilt from its neighbours. */
import { StarlingError } from '../../errors.ts'
import type { PeerName } from '../../ports.ts'
import type { PipelineOptions } from '../options.ts'
import { planRecovery, type RecoveryPlan } from '../recovery.ts'
import type { Checkpoints } from './checkpoints.ts'
import { fetchCopy } from './copies.ts'
import { type OwnPart, type Range, rangeOf } from './own.ts'
import { adoptTask, averageTask, copyWithinTask, inspectTask, zeroTask } from './tasks.ts'
import type { Course, HolderModules, Taken } from './types.ts'
import { KEPT_SLACK, type StageView } from './view.ts'

/** Parameters this many times larger or smaller (root mean square) than the run's common start of the same part are no stage of this model. */
export const MAX_SCALE_RATIO = 30

/** Steps that two neighbours may be apart: one of them has not heard of the latest commit. */
const MAX_APART = 1

/** Times that neighbours further apart are asked again, and the pause before it, ms. */
const MAX_ASKED = 5
const ASK_AGAIN = 200

/** What a peer kept from an earlier process. */
export interface Kept extends Course {
  part: number
  place: number | 'ends'
}

/** Everything that taking a part asks for. */
export interface TakeContext {
  modules: HolderModules
  options: PipelineOptions
  view: StageView
  /** Ready parts of this peer, from which it copies without asking anyone. */
  own(part: number): Course | undefined
  rangeOf(part: number): Range | undefined
  /** What lies in the place already, where it is still worth something. */
  kept: Kept | undefined
  checkpoints: Checkpoints
  /** Ends the keeping of a copy of the ends; resolves to the step of the one that lies in their place. */
  keeps(): Promise<number | undefined>
  /** Parts of peers that were not what they should be, as 'part peer'; for as long as this part is being taken. */
  refused: Set<string>
  onRejected(peer: PeerName, reason: string): void
}

/** One try. Throws StarlingError when what it needed could not be had; then the next try sees who is there. */
export async function takePart(context: TakeContext, own: OwnPart, signal: AbortSignal): Promise<Taken> {
  const { view, modules, kept, checkpoints } = context
  const { part, place } = own
  if (kept !== undefined && kept.step + KEPT_SLACK >= view.newestStep()) {
    return takeKept(context, own, kept)
  }
  const back = checkpoints.used && view.newestStep() > 0 && holdersOf(context, part).length === 0
  const setBack = back ? await checkpoints.take(own, signal) : undefined
  if (setBack !== undefined) {
    return setBack
  }
  if (part === 0) {
    return takeEnds(context, signal)
  }
  await modules.stages.initial(part, place, signal)
  const start = await inspect(modules, 'theta', rangeOf(modules.stages.cut, part, place), signal)
  const replica = await fromReplica(context, own, start, signal)
  if (replica !== undefined) {
    return replica
  }
  const newest = view.newestStep()
  return newest === 0 ? { ...ANEW, step: 0, how: 'initial' } : rebuild(context, own, start, newest, signal)
}

/** What a part is like that comes from nobody. */
const ANEW = { applied: 0, rate: 1, from: [], degraded: false, bytes: 0 }

/**
 * The ends, exactly: from another data peer, else from the keeper with the newest copy, which may be this peer. What is fetched lands in their gradient first, so that a copy kept
 * here is not lost to one that never arrives. The optimizer starts afresh.
 */
async function takeEnds(context: TakeContext, signal: AbortSignal): Promise<Taken> {
  const { modules, view } = context
  const { swarm, stages, learner } = modules
  const keeps = await context.keeps()
  const range = rangeOf(stages.cut, 0, 'ends')
  if (keeps === undefined) {
    await stages.initial(0, 'ends', signal)
  }
  const afresh = (): Promise<null> => learner.compute(zeroTask, { ...range, vectors: emptied(modules) }, signal)
  const start = await inspect(modules, 'theta', range, signal)
  const now = swarm.clock.now()
  const givers = [
    ...view.holders(0, now).map(({ peer, hold }) => ({ peer, step: hold.step })),
    ...view.keepers(now).filter(({ step }) => step > (keeps ?? -1)),
  ]
  for (const peer of new Set(givers.map((giver) => giver.peer))) {
    if (peer === swarm.self || context.refused.has(`0 ${peer}`)) {
      continue
    }
    try {
      const { step, rate } = await fetchChecked(context, { peer, part: 0, vector: 'gradient', range, start }, signal)
      await learner.compute(adoptTask, range, signal)
      await afresh()
      return { ...ANEW, step, rate, how: 'replica', from: [peer], bytes: 4 * (range.end - range.begin) }
    } catch (error) {
      expected(error, signal)
    }
  }
  await afresh()
  if (keeps !== undefined) {
    return { ...ANEW, step: keeps, how: 'replica', from: [swarm.self] }
  }
  const newest = view.newestStep()
  return newest === 0 ? { ...ANEW, step: 0, how: 'initial' } : { ...ANEW, step: newest, how: 'random', degraded: true }
}

/** Vectors of the optimizer, and gradients. */
function emptied({ stages }: HolderModules): string[] {
  const { accumulators } = stages.cut
  const gradients = Array.from({ length: accumulators }, (_, index) => (index === 0 ? 'gradient' : `gradient-${index}`))
  return [...stages.moments, ...gradients]
}

/** From this peer's checkpoint, whose parameters and moments lie in the place. */
async function takeKept({ modules }: TakeContext, { part, place }: OwnPart, kept: Kept): Promise<Taken> {
  const { step, applied, rate, norm } = kept
  if (place !== 'ends') {
    await modules.stages.hold(place, part, false)
  }
  return { step, applied, rate, norm, how: 'own', from: [], degraded: false, bytes: 0 }
}

/** From another holder. Undefined where there is none that gives it. */
async function fromReplica(
  context: TakeContext,
  { part, place }: OwnPart,
  start: number,
  signal: AbortSignal,
): Promise<Taken | undefined> {
  const { modules } = context
  const { swarm } = modules
  const givers = new Set(holdersOf(context, part).map(({ peer }) => peer))
  givers.delete(swarm.self)
  const range = rangeOf(modules.stages.cut, part, place)
  for (const peer of givers) {
    try {
      const { step, rate, norm } = await fetchChecked(context, { peer, part, vector: 'theta', range, start }, signal)
      const bytes = 4 * (range.end - range.begin)
      return { step, applied: 0, rate, norm, how: 'replica', from: [peer], degraded: false, bytes }
    } catch (error) {
      expected(error, signal)
    }
  }
  if (givers.size > 0) {
    // Something else may lie there by halves.
    await modules.stages.initial(part, place, signal)
  }
  return undefined
}

/** By the run's rule, from the neighbours that live. */
async function rebuild(
  context: TakeContext,
  { part, place }: OwnPart,
  start: number,
  newest: number,
  signal: AbortSignal,
): Promise<Taken> {
  const { modules } = context
  const { swarm, stages } = modules
  const { cut } = stages
  const range = rangeOf(cut, part, place)
  for (let asked = 1; ; asked++) {
    const alive = aliveStages(context, part)
    const plan = planFor(context, part, alive, (stage) => holdersOf(context, stage)[0]?.hold.norm)
    const sources: { stage: number; peer: PeerName; course: Course }[] = []
    for (const [index, { stage }] of plan.sources.entries()) {
      // The first neighbour lands where the stage is to lie, the second in its gradient: no memory beside them is needed.
      const vector = index === 0 ? 'theta' : 'gradient'
      sources.push({ stage, ...(await fromHolder(context, { stage, vector, range, start }, signal)) })
    }
    const steps = sources.map(({ course }) => course.step)
    const apart = Math.max(...steps) - Math.min(...steps) > MAX_APART
    if (apart && asked < MAX_ASKED) {
      await swarm.clock.sleep(ASK_AGAIN, signal)
      continue
    }
    // What came says by which norms it is weighed: those that were told by gossip may be a second old.
    const norms = new Map(sources.map(({ stage, course }) => [stage, course.norm]))
    const { how, rate, degraded, sources: weighed } = planFor(context, part, alive, (stage) => norms.get(stage))
    const second = plan.sources[1]
    if (second !== undefined) {
      const weight = weighed.find(({ stage }) => stage === second.stage)?.weight ?? 0
      await modules.learner.compute(averageTask, { ...range, weight }, signal)
      await stages.clear(place, 0)
    }
    const others = sources.filter(({ peer }) => peer !== swarm.self)
    return {
      step: steps.length === 0 ? newest : Math.max(...steps),
      applied: 0,
      rate,
      how,
      from: sources.map(({ peer }) => peer),
      degraded: degraded || apart,
      bytes: 4 * (range.end - range.begin) * others.length,
    }
  }
}

/** Holders of a stage that have not given anything bad, the newest first. */
function holdersOf({ modules, view, refused }: TakeContext, stage: number): ReturnType<StageView['holders']> {
  return view
    .holders(stage, modules.swarm.clock.now())
    .filter(({ peer }) => !refused.has(`${stage} ${peer}`))
    .sort((a, b) => b.hold.step - a.hold.step)
}

function aliveStages(context: TakeContext, part: number): number[] {
  const { stages } = context.modules.stages.cut
  return Array.from({ length: stages }, (_, index) => index + 1).filter(
    (stage) => stage !== part && holdersOf(context, stage).length > 0,
  )
}

function planFor(
  { options, modules }: TakeContext,
  lost: number,
  alive: readonly number[],
  norm: (stage: number) => number | undefined,
): RecoveryPlan {
  // Without a checkpoint that is complete, what can be had from the neighbours is better than the start.
  const without = options.recovery === 'checkpoint' ? (modules.stages.cut.alike ? 'checkfree' : 'random') : undefined
  const plan = planRecovery({
    stages: modules.stages.cut.stages,
    lost,
    alive,
    rule: without ?? options.recovery,
    twins: options.routing === 'twins',
    norm,
    norms: options.norms,
    rateAfterRecovery: options.rateAfterRecovery,
  })
  return without === undefined ? plan : { ...plan, degraded: true }
}

/** The parameters of a neighbour from any of its holders. Throws StarlingError 'no-holder' when none gives them. */
async function fromHolder(
  context: TakeContext,
  { stage, vector, range, start }: { stage: number; vector: string; range: Range; start: number },
  signal: AbortSignal,
): Promise<{ peer: PeerName; course: Course }> {
  const { modules } = context
  const { swarm, learner } = modules
  const mine = context.own(stage)
  const from = context.rangeOf(stage)
  if (mine !== undefined && from !== undefined) {
    await learner.compute(copyWithinTask, { from, vector, to: range }, signal)
    checkScale(await inspect(modules, vector, range, signal), start, stage)
    return { peer: swarm.self, course: { ...mine } }
  }
  for (const { peer } of holdersOf(context, stage)) {
    try {
      return { peer, course: await fetchChecked(context, { peer, part: stage, vector, range, start }, signal) }
    } catch (error) {
      expected(error, signal)
    }
  }
  throw new StarlingError('no-holder', `no holder gave stage ${stage}`, { stage })
}

/** Fetches a copy of a part into a range of a vector, and looks at it before anything is done with it. */
async function fetchChecked(
  { modules, refused, onRejected }: TakeContext,
  { peer, part, vector, range, start }: { peer: PeerName; part: number; vector: string; range: Range; start: number },
  signal: AbortSignal,
): Promise<Course> {
  const { swarm, learner } = modules
  try {
    const into = learner.bytes(vector).subarray(4 * range.begin, 4 * range.end)
    const course = await fetchCopy(modules, peer, part, into, signal)
    checkScale(await inspect(modules, vector, range, signal), start, part)
    return course
  } catch (error) {
    if (error instanceof StarlingError && (error.code === 'bad-tensor' || error.code === 'bad-message')) {
      refused.add(`${part} ${peer}`)
      swarm.penalize(peer, error.code)
      onRejected(peer, error.message)
    }
    throw error
  }
}

/** Root mean square of a range. Throws StarlingError 'bad-tensor' when it is not finite. */
export async function inspect(
  { learner }: Pick<HolderModules, 'learner'>,
  vector: string,
  range: Range,
  signal: AbortSignal,
): Promise<number> {
  const { finite, scale } = await learner.compute(inspectTask, { ...range, vector }, signal)
  if (!finite) {
    throw new StarlingError('bad-tensor', 'the parameters are not finite', {})
  }
  return scale
}

/** Throws StarlingError 'bad-tensor' when parameters are of another scale than those that the run starts with. */
export function checkScale(scale: number, start: number, part: number): void {
  const ratio = scale / start
  if (start > 0 && !(ratio <= MAX_SCALE_RATIO && ratio >= 1 / MAX_SCALE_RATIO)) {
    const what = part === 0 ? 'ends' : `stage ${part}`
    throw new StarlingError('bad-tensor', `its ${what} is ${ratio.toPrecision(3)} times the size of the run's start`, {
      part,
    })
  }
}

/** Failures of others and of the network are part of life; a stop, and faults of ours, are thrown. */
export function expected(error: unknown, signal: AbortSignal): void {
  if (!(error instanceof StarlingError) || signal.aborted) {
    throw error
  }
}
