/** Holders that data peers say they cannot use. */
import type { PeerName } from '../../ports.ts'
import type { Statement } from './messages.ts'

/** A part of a holder that data peers could not use is not relied on for so long, ms. */
const MEMORY = 600_000

export class Lost {
  readonly #stages: number
  /** When data peers last could not use a holder, by part and peer. Dropped after {@link MEMORY}; of known peers and parts only. */
  readonly #at = new Map<string, number>()

  constructor(stages: number) {
    this.#stages = stages
  }

  /** Parts by holder that more than half of the data peers say they cannot use: one of them alone may lie, or be cut off itself. */
  believed(
    dataPeers: readonly Pick<Statement, 'lost'>[],
    isKnown: (peer: PeerName) => boolean,
  ): Map<PeerName, number[]> {
    const lost = new Map<PeerName, number[]>()
    const votes = new Map<string, { part: number; peer: PeerName; votes: number }>()
    for (const { lost: said } of dataPeers) {
      for (const { part, peer } of uniquePairs(said)) {
        const key = `${part} ${peer}`
        const vote = votes.get(key) ?? { part, peer, votes: 0 }
        vote.votes++
        votes.set(key, vote)
      }
    }
    for (const { part, peer, votes: count } of votes.values()) {
      if (part > 0 && part <= this.#stages && 2 * count > dataPeers.length && isKnown(peer)) {
        lost.set(peer, [...(lost.get(peer) ?? []), part])
      }
    }
    return lost
  }

  /** They are believed lost now. */
  note(believed: ReadonlyMap<PeerName, readonly number[]>, now: number): void {
    for (const [key, at] of this.#at) {
      if (now - at >= MEMORY) {
        this.#at.delete(key)
      }
    }
    for (const [peer, parts] of believed) {
      for (const part of parts) {
        this.#at.set(`${part} ${peer}`, now)
      }
    }
  }

  /** Whether data peers could not use that holder lately. */
  lately(part: number, peer: PeerName, now: number): boolean {
    const at = this.#at.get(`${part} ${peer}`)
    return at !== undefined && now - at < MEMORY
  }
}

function uniquePairs(lost: Statement['lost']): Statement['lost'] {
  return [...new Map(lost.map((each) => [`${each.part} ${each.peer}`, each])).values()]
}
