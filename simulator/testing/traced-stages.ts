/** A trainer of stages that is watched. */
import type { SharedVectors } from '../../kernels/index.ts'
import type { StagePlace } from '../../protocols/index.ts'
import type { StageTrainerLike } from '../learners/stage-peer.ts'

/** What {@link traced} tells. */
export interface Trace {
  /** Before the optimizer step of a part: its gradient. */
  onStep(part: number, gradient: Float32Array, step: number): void
  /** A forward pass of a part keeps something, until its backward pass, or until it is dropped. */
  onOpen(part: number, slot: number): void
  onClose(part: number, slot: number): void
}

/** The same trainer, watched. */
export function traced(
  trainer: StageTrainerLike,
  vectors: SharedVectors,
  { onStep, onOpen, onClose }: Trace,
): StageTrainerLike {
  const { cut } = trainer
  /** Which part is where, and which has kept something under a slot. */
  const parts = new Map<StagePlace, number>([['ends', 0]])
  const slots = new Map<number, StagePlace>()
  const close = (slot: number): void => {
    const place = slots.get(slot)
    if (place !== undefined) {
      slots.delete(slot)
      onClose(parts.get(place)!, slot)
    }
  }
  const open = (place: StagePlace, slot: number | undefined): void => {
    if (slot !== undefined) {
      slots.set(slot, place)
      onOpen(parts.get(place)!, slot)
    }
  }
  const hold = (place: StagePlace, part: number): void => {
    for (const [slot, other] of [...slots]) {
      if (other === place) {
        close(slot)
      }
    }
    parts.set(place, part)
  }
  return {
    cut,
    moments: trainer.moments,
    validationParts: () => trainer.validationParts(),
    hold(place, stage, fresh) {
      trainer.hold(place, stage, fresh)
      hold(place, stage)
    },
    initial(part, place) {
      trainer.initial(part, place)
      hold(place, part)
    },
    embed(source, slot) {
      const rows = trainer.embed(source, slot)
      open('ends', slot)
      return rows
    },
    forward(place, rows, slot) {
      trainer.forward(place, rows, slot)
      open(place, slot)
    },
    loss: (source, accumulator) => trainer.loss(source, accumulator),
    backward(slot, accumulator) {
      trainer.backward(slot, accumulator)
      close(slot)
    },
    drop(slot) {
      trainer.drop(slot)
      close(slot)
    },
    clear: (place, accumulator) => trainer.clear(place, accumulator),
    step(place, accumulator, schedule) {
      const name = accumulator === 0 ? 'gradient' : `gradient-${accumulator}`
      const part = parts.get(place)!
      const begin = place === 'ends' ? 0 : cut.sizes[0]! + place * Math.max(...cut.sizes.slice(1))
      const gradient = vectors.float32(name).slice(begin, begin + cut.sizes[part]!)
      const taken = trainer.step(place, accumulator, schedule)
      onStep(part, gradient, schedule.step)
      return taken
    },
    logits: (row) => trainer.logits(row),
  }
}
