/**
 * What libp2p expects of the platform and Node 20 lacks. This must be the first import of every entry and every worker, because
 * modules are evaluated in the order of their imports and libp2p's packages look these up when they are loaded or first called.
 *
 * - `Promise.withResolvers` (Node 22): used by it-queue, inside libp2p's peer store.
 * - `WebSocket` (Node 22): used for dialling by `@libp2p/websockets`.
 */
import { WebSocket as WsWebSocket } from 'ws'

interface Resolvers<T> {
  promise: Promise<T>
  resolve: (value: T | PromiseLike<T>) => void
  reject: (reason?: unknown) => void
}

function withResolvers<T>(): Resolvers<T> {
  let resolve!: Resolvers<T>['resolve']
  let reject!: Resolvers<T>['reject']
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve
    reject = onReject
  })
  return { promise, resolve, reject }
}

/** Defines a missing global the way the platform does: writable, configurable, not enumerable. */
function provide(target: object, name: string, value: unknown): void {
  if (name in target) return
  Object.defineProperty(target, name, { value, writable: true, configurable: true, enumerable: false })
}

provide(Promise, 'withResolvers', withResolvers)
provide(globalThis, 'WebSocket', WsWebSocket)
