import { z } from 'zod'
import { type Layout, type ModelConfig, placeBegin, stageLayouts } from '../../models/index.ts'
import type { StageCut } from '../../protocols/index.ts'

/** What a pipeline's progress says of the parts that a peer holds; the rest of it is the strategy's own business. */
const progressSchema = z.object({
  holds: z
    .array(
      z.object({
        /** 0 for the ends. */
        stage: z.number().int().min(0),
        place: z.union([z.literal('ends'), z.number().int().min(0)]),
      }),
    )
    .default([]),
})

export type HeldPart = z.output<typeof progressSchema>['holds'][number]

/** The parts that a peer holds, by what its strategy wants to find again. */
export function heldParts(progress: Record<string, unknown>): HeldPart[] {
  const read = progressSchema.safeParse(progress)
  return read.success ? read.data.holds : []
}

/**
 * Where the tensors of the parts that a peer holds lie in its 'theta', for a checkpoint: `ends.model.norm.weight`, `place.0.model.layers.3...`. What lies in
 * places without a stage is of no use to anybody and left out.
 */
export function heldLayout(model: ModelConfig, cut: StageCut): (progress: Record<string, unknown>) => Layout {
  const layouts = stageLayouts(model, cut)
  return (progress) => {
    const tensors = heldParts(progress).flatMap(({ stage, place }) => {
      const prefix = place === 'ends' ? 'ends' : `place.${place}`
      const begin = placeBegin(cut, place)
      return (layouts[stage]?.tensors ?? []).map((tensor) => ({
        ...tensor,
        name: `${prefix}.${tensor.name}`,
        offset: begin + tensor.offset,
      }))
    })
    const parameters = tensors.reduce((sum, { length }) => sum + length, 0)
    return { tensors, length: placeBegin(cut, cut.places), parameters }
  }
}
