/** What must never be, looked for while a simulation runs. */
export { NolocoChecks } from './noloco.ts'
export { SpsaChecks } from './spsa.ts'
export { type CheckParts, type Checks, NoChecks, type Violation, Violations } from './types.ts'
