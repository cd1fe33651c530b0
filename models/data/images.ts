/** Training and validation images with labels. */
import { ModelError } from '../errors.ts'
import type { Batch, Dataset } from '../types.ts'
import { permutation } from './permutation.ts'
import { cut, dirichletParts, type Part } from './shards.ts'
import type { DataSpec, ShardSpec } from './spec.ts'
import { checkBatch } from './text.ts'

/** Grey images, one byte per pixel, row by row. */
export interface Images {
  count: number
  height: number
  width: number
  /** [count, height, width] */
  pixels: Uint8Array
  /** [count] */
  labels: Uint8Array
  classes: number
}

export interface ImageOptions {
  /** What the data are called in errors. */
  name: string
  images: Images
  seed: number | string
  shard: ShardSpec
  part: Part
  validation: DataSpec['validation']
}

/**
 * Which images are held out, drawn without looking at the run's seed, and which are left to train on.
 * @throws ModelError 'too-few-images'
 */
export function splitImages(options: Pick<ImageOptions, 'name' | 'images' | 'validation'>): {
  held: number[]
  training: number[]
} {
  const { name, images, validation } = options
  if (images.count < 2) {
    throw new ModelError('too-few-images', `${name} holds ${images.count} images; at least 2 are needed`, { name })
  }
  const place = permutation(images.count, 'split')
  const order = Array.from({ length: images.count }, (_, i) => place(i))
  const held = Math.min(images.count - 1, Math.max(1, Math.floor(images.count * validation.fraction)))
  return { held: order.slice(0, held), training: order.slice(held) }
}

/** The images that a part is trained on. @throws ModelError 'too-few-images' when a part would be empty. */
export function trainingImages(options: ImageOptions): number[] {
  const { name, images, seed, shard, part } = options
  const { training } = splitImages(options)
  if (training.length < part.of) {
    throw new ModelError(
      'too-few-images',
      `the ${training.length} images of ${name} to train on cannot be cut into ${part.of} parts`,
      { name, images: training.length, parts: part.of },
    )
  }
  if (shard.rule !== 'dirichlet') {
    return training.slice(cut(training.length, part.index, part.of), cut(training.length, part.index + 1, part.of))
  }
  const byLabel: number[][] = Array.from({ length: images.classes }, () => [])
  for (const image of training) byLabel[images.labels[image]!]!.push(image)
  return dirichletParts(byLabel, part.of, shard.alpha, seed)[part.index]!
}

/** The data set of one peer: pixels from 0 (black) to 1, every image of the part once per epoch in an order drawn afresh. */
export function imageDataset(options: ImageOptions): Dataset {
  const { images, seed, part, validation } = options
  const { height, width, classes } = images
  const mine = trainingImages(options)
  const held = splitImages(options).held.slice(0, validation.rows)
  const orderOf = (epoch: number) => ({ epoch, place: permutation(mine.length, seed, part.order, part.index, epoch) })
  let current = orderOf(0)
  const imageOf = (sample: number) => {
    const epoch = Math.floor(sample / mine.length)
    if (epoch !== current.epoch) current = orderOf(epoch)
    return mine[current.place(sample % mine.length)]!
  }
  const size = height * width
  const collect = (chosen: readonly number[]): Batch => {
    const pixels = new Float32Array(chosen.length * size)
    const labels = new Int32Array(chosen.length)
    chosen.forEach((image, row) => {
      for (let i = 0; i < size; i++) pixels[row * size + i] = images.pixels[image * size + i]! / 255
      labels[row] = images.labels[image]!
    })
    return { kind: 'image', rows: chosen.length, height, width, channels: 1, pixels, labels }
  }
  return {
    kind: 'image',
    classes,
    batch(number, rows) {
      checkBatch(number, rows)
      return collect(Array.from({ length: rows }, (_, row) => imageOf(number * rows + row)))
    },
    *validation(rows) {
      checkBatch(0, rows)
      for (let first = 0; first < held.length; first += rows) yield collect(held.slice(first, first + rows))
    },
  }
}
