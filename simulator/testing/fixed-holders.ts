/** Holders for tests of the flow alone: who holds what is fixed, and nothing is rebuilt. */
import {
  Bell,
  type Held,
  type Holders,
  type PeerName,
  type StageLearner,
  type StagePlace,
  StarlingError,
  type StrategyModules,
} from '../../protocols/index.ts'
import type { Process, World } from './world.ts'

/** Who holds which parts: 0 the ends, 1 and up the stages. */
export type Board = Record<PeerName, readonly number[]>

/** Who holds what, written on a board that everybody sees. A process that begins takes the common start of its parts. */
export class FixedHolders implements Holders {
  readonly bell = new Bell()
  readonly #board: Board
  readonly #modules: Pick<StrategyModules, 'swarm' | 'learner'> & { stages: StageLearner }
  readonly #shared: {
    finished: Set<PeerName>
    bells: Set<Bell>
    world: () => World<Process & { readonly stages: StageLearner }>
  }
  readonly #held = new Map<number, Held>()
  /** Until when a holder is not used. */
  readonly #suspects = new Map<string, number>()
  #stop = (): void => {}

  constructor(
    board: Board,
    modules: Pick<StrategyModules, 'swarm' | 'learner'> & { stages: StageLearner },
    shared: {
      finished: Set<PeerName>
      bells: Set<Bell>
      world: () => World<Process & { readonly stages: StageLearner }>
    },
  ) {
    this.#board = board
    this.#modules = modules
    this.#shared = shared
  }

  async start(): Promise<void> {
    const { swarm, stages } = this.#modules
    this.#stop = swarm.onConnections(() => this.bell.ring())
    this.#shared.bells.add(this.bell)
    let next = 0
    for (const part of this.#board[swarm.self] ?? []) {
      const place: StagePlace = part === 0 ? 'ends' : next++
      await stages.initial(part, place)
      this.#held.set(part, { stage: part, place, step: 0, applied: 0, rate: 1, epoch: 0 })
    }
    if (this.#held.has(0)) {
      this.#resume()
    }
    this.bell.ring()
  }

  /** A data peer that was killed goes on where the stages are. */
  #resume(): void {
    const steps = [...this.#shared.world().processes.values()].flatMap(({ learner, life }) =>
      life.dead ? [] : learner.step(),
    )
    this.#held.set(0, { ...this.#held.get(0)!, step: Math.max(0, ...steps) })
  }

  async stop(): Promise<void> {
    this.#stop()
  }

  ready(part: number): readonly PeerName[] {
    const { swarm } = this.#modules
    const now = swarm.clock.now()
    const here = new Set([swarm.self, ...swarm.connected()])
    return Object.keys(this.#board)
      .filter((peer) => here.has(peer) && this.#board[peer]!.includes(part))
      .filter((peer) => (this.#suspects.get(`${part} ${peer}`) ?? 0) <= now)
      .filter((peer) => peer !== swarm.self || this.#held.has(part))
  }

  dataPeers(): readonly PeerName[] {
    return this.ready(0).toSorted()
  }

  held(part: number): Held | undefined {
    return this.#held.get(part)
  }

  holds(): readonly Held[] {
    return [...this.#held.values()]
  }

  update(part: number, { step, norm }: { step: number; norm: number }): void {
    const held = this.#held.get(part)!
    this.#held.set(part, { ...held, step, norm, applied: held.applied + 1 })
  }

  measured(): void {}

  suspect(part: number, peer: PeerName): void {
    const { clock } = this.#modules.swarm
    this.#suspects.set(`${part} ${peer}`, clock.now() + 500)
    void clock.sleep(500).then(() => this.bell.ring())
  }

  speed(): undefined {
    return undefined
  }

  waiting(): undefined {
    return undefined
  }

  origin(): 'initial' {
    return 'initial'
  }

  async fetch(part: number, into: Float32Array): Promise<{ step: number }> {
    const { processes } = this.#shared.world()
    for (const peer of this.ready(part)) {
      const process = processes.get(peer)
      if (process !== undefined && !process.life.dead) {
        const { sizes } = process.stages.cut
        const place = this.#board[peer]!.filter((other) => other > 0).indexOf(part)
        const begin = part === 0 ? 0 : sizes[0]! + place * Math.max(...sizes.slice(1))
        into.set(process.learner.float32('theta').subarray(begin, begin + sizes[part]!))
        return { step: process.learner.step() }
      }
    }
    throw new StarlingError('no-holder', `nobody gave part ${part}`, { part })
  }

  finish(): void {
    this.#shared.finished.add(this.#modules.swarm.self)
    for (const bell of this.#shared.bells) {
      bell.ring()
    }
  }

  finished(): boolean {
    return Object.keys(this.#board).every((peer) => !this.#board[peer]!.includes(0) || this.#shared.finished.has(peer))
  }

  progress(): Record<string, unknown> {
    return {}
  }
}
