/** Who wants to hear of the network's events. */
import type { NetworkEvent, NetworkLog } from './types.ts'

export class Listeners {
  readonly #log: NetworkLog
  readonly #events = new Set<(event: NetworkEvent) => void>()
  readonly #connections = new Set<() => void>()

  constructor(log: NetworkLog) {
    this.#log = log
  }

  onEvent(listener: (event: NetworkEvent) => void): () => void {
    this.#events.add(listener)
    return () => this.#events.delete(listener)
  }

  onConnections(listener: () => void): () => void {
    this.#connections.add(listener)
    return () => this.#connections.delete(listener)
  }

  emit(event: NetworkEvent): void {
    for (const listener of [...this.#events]) this.#guard(() => listener(event))
  }

  connectionsChanged(): void {
    for (const listener of [...this.#connections]) this.#guard(listener)
  }

  clear(): void {
    this.#events.clear()
    this.#connections.clear()
  }

  /** A listener's exception is its own; it must not reach libp2p's event loop, where it would end the process. */
  #guard(call: () => void): void {
    try {
      call()
    } catch (error) {
      this.#log.warn({ error: (error as Error).stack }, 'a listener failed')
    }
  }
}
