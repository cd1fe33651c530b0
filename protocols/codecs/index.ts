/** How a tensor travels between two peers. Which code may be used where is said in protocols/feedback. */
import { int4, int8, int8Stochastic, sign } from './blocks.ts'
import type { CodecName, TensorCodec } from './codec.ts'
import { float16, float32 } from './floats.ts'
import { DEFAULT_KEPT, topKCodec } from './topk.ts'

export { CODEC_NAMES, type CodecName, type TensorCodec } from './codec.ts'
export { DEFAULT_KEPT, topKCodec } from './topk.ts'

/** The codes by name; `topk` keeps {@link DEFAULT_KEPT}. */
export const codecs: Readonly<Record<CodecName, TensorCodec>> = {
  float32,
  float16,
  int8,
  'int8-stochastic': int8Stochastic,
  int4,
  sign,
  topk: topKCodec(DEFAULT_KEPT),
}
