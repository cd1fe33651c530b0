/** Partial paths through a pipeline, planned so that microbatches do not get in each other's way: SkipPipe, arXiv 2502.19913. */
export { type Collision, type Constraint, collisions, type Fault, planFaults } from './constraints.ts'
export { omittedOrder } from './omit.ts'
export { DEFAULT_WORK, type PlanOptions, planSkip, planSteps, problemFault } from './plan.ts'
export { createPlanner, type PlannedPath, type Planner, type PlannerModules, type PlannerOptions } from './planner.ts'
export {
  evenRounds,
  keepFault,
  type Machine,
  type Release,
  type SkipHop,
  type SkipPath,
  type SkipPlan,
  type SkipProblem,
} from './problem.ts'
export { reroute } from './reroute.ts'
export { iteration, type Released, type SimulatedTask, simulateIteration } from './simulate.ts'
