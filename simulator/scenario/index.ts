/** Scenarios: who takes part, over which network, who comes and goes and who lies, as plain data; and what comes of them. */
export type { Violation } from './checks/index.ts'
export type { LearnerParts, Problem } from './problem.ts'
export { checkScenario, intervalOf, MAX_PEERS, peerNames, type Scenario, scenarioSchema } from './scenario.ts'
export { type SimulateOptions, type SimulationProgress, type SimulationResult, simulate } from './simulate.ts'
export { type SweepOptions, type SweepResult, sweep } from './sweep.ts'
