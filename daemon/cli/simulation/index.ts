/** What stands behind `starling simulate`: its flags, what it shows, and the line that repeats it. */
export { type ScenarioFlags, scenarioFile, scenarioOf, seedsOf } from './flags.ts'
export { createShow, tell, tellSeed } from './report.ts'
export { reproduction } from './reproduce.ts'
