export { byteTokenizer } from './bytes.ts'
