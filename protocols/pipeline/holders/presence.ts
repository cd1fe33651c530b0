/** Who is there: what the others say that they hold, whose connection ended or who fell silent, and whether somebody that others doubt still answers. */
import type { PeerName } from '../../ports.ts'
import { read } from './copies.ts'
import { Doubts } from './doubts.ts'
import { aliveAnswer, aliveQuestion, METHODS, type Statement } from './messages.ts'
import type { OwnParts } from './own.ts'
import { nextIncarnation } from './records.ts'
import { type Said, Statements } from './statements.ts'
import type { Suspicions } from './suspicions.ts'
import { aliveTask } from './tasks.ts'
import type { HolderModules } from './types.ts'
import type { Heard, StageView } from './view.ts'

export interface PresenceContext {
  modules: HolderModules
  stages: number
  view: StageView
  own: OwnParts
  suspicions: Suspicions
  /** What this peer says of itself. */
  said(): Said
  /** A peer's connection ended. */
  gone(peer: PeerName): void
  /** Something is known now that was not. */
  changed(): void
}

export class Presence {
  readonly #context: PresenceContext
  #statements: Statements | undefined
  #doubts: Doubts | undefined
  #signal: AbortSignal = AbortSignal.abort()
  #members: ReadonlySet<PeerName> = new Set()
  #incarnation = 0

  constructor(context: PresenceContext) {
    this.#context = context
  }

  /** Begins to speak and to listen; what it asks ends with the signal. Resolves to how to stop listening. */
  async start(signal: AbortSignal): Promise<() => void> {
    const { modules, view, stages, changed } = this.#context
    const { swarm, records } = modules
    this.#signal = signal
    this.#incarnation = await nextIncarnation(records)
    this.#doubts = new Doubts(swarm, view, changed)
    this.#statements = new Statements({
      swarm,
      view,
      stages,
      incarnation: this.#incarnation,
      said: this.#context.said,
      onHeard: (peer, statement, heard) => this.#heard(peer, statement, heard),
    })
    const stops = [
      swarm.answer(METHODS.alive, (from, question) => this.#onAlive(from, question)),
      swarm.onConnections(() => this.#onConnections()),
      swarm.onMembers(() => this.#onMembers()),
    ]
    this.#onConnections()
    this.#statements.start()
    return () => {
      for (const stop of stops.reverse()) {
        stop()
      }
    }
  }

  /** Says what this peer holds for the last time. */
  async stop(): Promise<void> {
    await this.#statements?.stop()
  }

  /** Says what this peer holds, now. */
  say(): void {
    this.#statements?.say()
  }

  /** Asks a peer whether it lives, see {@link Doubts.ask}. */
  doubt(peer: PeerName, late = false): void {
    void this.#doubts?.ask(peer, this.#signal, late)
  }

  #heard(peer: PeerName, statement: Statement, heard: Heard): void {
    const { modules, view, suspicions, changed } = this.#context
    const { swarm } = modules
    if (heard === 'restarted') {
      suspicions.forget(peer)
    }
    if (peer !== swarm.self) {
      for (const { peer: whom } of statement.lost) {
        this.doubt(whom)
      }
    }
    if (heard !== 'same') {
      view.connections(swarm.connected())
      changed()
    }
  }

  #onConnections(): void {
    const { modules, view, gone, changed } = this.#context
    for (const peer of view.connections(modules.swarm.connected())) {
      gone(peer)
      this.doubt(peer)
    }
    changed()
  }

  /** Members that fell silent or left: of those that this peer is not connected with nothing else tells. */
  #onMembers(): void {
    const { modules, view } = this.#context
    const { swarm } = modules
    const members = new Set(swarm.members().map(({ peer }) => peer))
    for (const peer of this.#members) {
      if (!members.has(peer) && view.lives(peer, swarm.clock.now())) {
        this.doubt(peer)
      }
    }
    this.#members = members
  }

  async #onAlive(from: PeerName, question: Uint8Array): Promise<Uint8Array> {
    const { modules, own } = this.#context
    const { swarm, learner } = modules
    const { part } = read(swarm, from, aliveQuestion, question)
    if (part !== undefined) {
      // In the thread where the parameters live: a peer that talks but cannot compute is of no use.
      await learner.compute(aliveTask, null)
    }
    return aliveAnswer.encode({
      incarnation: this.#incarnation,
      holds: part !== undefined && own.ready(part) !== undefined,
    })
  }
}
