/** Runs: from a manifest to everything that follows from it, and the files that its data need. */
export { checkWeights, type DataSource, describeFiles, describeWeights, openSource, sourceOf } from './data.ts'
export { type FileModules, filesOf, obtainFiles, readDataFile } from './files.ts'
export {
  buildRun,
  formatRun,
  manifestSchema,
  openRun,
  parseRun,
  type Run,
  type RunOptions,
  type StarlingManifest,
} from './run.ts'
export { type StrategyEntry, strategies, strategiesModule, tasks } from './strategies.ts'
