export { type NodeContext, startNode } from './node.ts'
