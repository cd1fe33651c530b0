/** One question from one peer of the memory network to another, with its delays and all the ways in which it can end. */
import { type AskOptions, StarlingError } from '../protocols/index.ts'
import type { VirtualClock } from './clock.ts'
import type { Link, Node } from './node.ts'

/** Default longest answer, bytes, as declared in {@link AskOptions}. */
const MAX_ANSWER = 64 * 1024

/** Default of {@link AskOptions.timeout}, ms. */
export const ASK_TIMEOUT = 10_000

/** What all links of a network share. */
export interface Links {
  clock: VirtualClock
  /** One-way delay of a message of that many bytes, ms. */
  delay(bytes: number, from: Node, to: Node): number
  /** Bytes that the peers' counters see of a question or an answer. */
  counted(message: { text: number; body: number }): Cost
  /** Questions under way. Bounded by what the peers ask. */
  under: Set<Link>
}

/** Bytes of a frame, and of what the multiplexer sends back for it. */
export interface Cost {
  frame: number
  acknowledgement: number
}

/** Counts a frame at its receiver, and what goes back for it at both ends. */
export function arrived(from: Node, to: Node, { frame, acknowledgement }: Cost): void {
  to.received += frame
  to.sent += acknowledgement
  from.received += acknowledgement
}

/** Reason of the signal that tells an answerer that nobody waits any more; an error with a stack would cost more than the question. */
const OVER = 'over'

/** Why a question that its asker gave up failed. */
export const aborted = (): StarlingError => new StarlingError('aborted', 'the question was given up', {})

/** Asks over a link that exists now; whoever breaks the link fails the question through {@link Links.under}. */
export function ask(
  links: Links,
  from: Node,
  to: Node,
  method: string,
  question: Uint8Array,
  asked: AskOptions,
): Promise<Uint8Array> {
  const { clock, delay, counted, under } = links
  return new Promise((resolve, reject) => {
    const maxAnswer = asked.maxAnswer ?? MAX_ANSWER
    const timeout = asked.timeout ?? ASK_TIMEOUT
    const gone = new AbortController()
    const copy = new Uint8Array(question)
    let done = false
    const finish = (settle: () => void): void => {
      if (done) {
        return
      }
      done = true
      cancelTimeout()
      asked.signal?.removeEventListener('abort', onAbort)
      under.delete(link)
      from.outstanding--
      settle()
      gone.abort(OVER)
    }
    const fail = (error: StarlingError): void => finish(() => reject(error))
    const onAbort = (): void => fail(aborted())
    const link: Link = { from, to, fail }
    const cancelTimeout = clock.schedule(timeout, () =>
      fail(
        new StarlingError('ask-timeout', `${to.name} did not answer ${method} in ${timeout} ms`, {
          peer: to.name,
          method,
          timeout,
        }),
      ),
    )
    from.outstanding++
    from.mostOutstanding = Math.max(from.mostOutstanding, from.outstanding)
    const cost = counted({ text: method.length, body: copy.byteLength })
    from.sent += cost.frame
    under.add(link)
    asked.signal?.addEventListener('abort', onAbort, { once: true })
    clock.schedule(delay(copy.byteLength, from, to), () => {
      if (done || to.frozen) {
        return
      }
      arrived(from, to, cost)
      const reply = (settle: () => void, bytes: number): void => {
        const back = counted({ text: 0, body: bytes })
        to.sent += back.frame
        clock.schedule(delay(bytes, to, from), () => {
          arrived(to, from, back)
          finish(settle)
        })
      }
      const refuse = (error: unknown): void => {
        const known = error instanceof StarlingError
        const code = known ? error.code : 'internal'
        const message = known ? error.message : 'the peer failed to answer'
        reply(() => reject(new StarlingError(code, message, { peer: to.name, method })), 0)
      }
      const answerer = to.answerers.get(method)
      if (answerer === undefined) {
        refuse(new StarlingError('unknown-method', `${to.name} does not answer ${method}`, { method }))
        return
      }
      Promise.resolve()
        .then(() => answerer(from.name, copy, gone.signal))
        .then((answer) => {
          if (done || to.frozen) {
            return
          }
          const bytes = new Uint8Array(answer)
          reply(() => {
            if (bytes.byteLength > maxAnswer) {
              const data = { peer: to.name, method, bytes: bytes.byteLength, maxAnswer }
              reject(
                new StarlingError(
                  'answer-too-large',
                  `${to.name} answered ${method} with ${bytes.byteLength} bytes`,
                  data,
                ),
              )
            } else {
              resolve(bytes)
            }
          }, bytes.byteLength)
        })
        .catch(refuse)
    })
  })
}
