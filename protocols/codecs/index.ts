/** How a tensor travels between two peers. */
export { type CodecName, codecs, type TensorCodec } from './codecs.ts'
