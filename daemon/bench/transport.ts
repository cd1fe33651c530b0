import type { Transport } from '../../protocols/index.ts'

/** A transport's methods as plain properties, so that some can be replaced. */
export function bound(transport: Transport): Transport {
  return {
    self: transport.self,
    clock: transport.clock,
    random: (purpose) => transport.random(purpose),
    connected: () => transport.connected(),
    onConnections: (listener) => transport.onConnections(listener),
    publish: (topic, data, signal) => transport.publish(topic, data, signal),
    subscribe: (topic, handler) => transport.subscribe(topic, handler),
    ask: (peer, method, question, options) => transport.ask(peer, method, question, options),
    answer: (method, answerer) => transport.answer(method, answerer),
    penalize: (peer, reason) => transport.penalize(peer, reason),
    sign: (data) => transport.sign(data),
    verify: (peer, data, signature) => transport.verify(peer, data, signature),
  }
}

/** The same over a longer way: each question, and each answer, waits so many milliseconds before it is sent on. */
export function delayed(transport: Transport, milliseconds: (peer: string) => number): Transport {
  return {
    ...bound(transport),
    async ask(peer, method, question, options) {
      const way = milliseconds(peer)
      await transport.clock.sleep(way, options?.signal)
      const answer = await transport.ask(peer, method, question, options)
      await transport.clock.sleep(way, options?.signal)
      return answer
    },
  }
}
