export { decoderFromHuggingFace, huggingFaceConfig } from './config.ts'
export type { Dtype } from './header.ts'
export {
  type ByteSource,
  fileSource,
  loadTensors,
  loadWeights,
  readSafetensors,
  type Safetensors,
  type TensorEntry,
} from './read.ts'
export { layoutTensors, type SafetensorsParts, type TensorBytes, writeSafetensors } from './write.ts'
