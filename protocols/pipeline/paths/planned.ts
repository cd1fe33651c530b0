/** Partial paths as planned (SkipPipe), and all stages in their order where no plan stands or the step goes through all. */
import { sequentialPaths } from './sequential.ts'
import type { Path, PathGenerator } from './types.ts'

/** Paths of a step: microbatch m takes number m mod length, and the first of each sets out `start` ms after the step began. Undefined: through all stages. */
export type PathsFor = (step: number) => readonly { path: Path; start: number }[] | undefined

export function plannedPaths(stages: number, pathsFor: PathsFor): PathGenerator {
  const all = sequentialPaths(stages)
  return {
    path(request, reachable) {
      const planned = pathsFor(request.step)
      if (planned === undefined) {
        return all.path(request, reachable)
      }
      const { path, start } = planned[request.microbatch % planned.length]!
      return { path, start: request.microbatch < planned.length ? start : 0 }
    },
  }
}
