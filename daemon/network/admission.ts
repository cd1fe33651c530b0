/** Who may take part in a run, as its peers find out in their hellos. */
import type { PeerName } from '../../protocols/index.ts'
import { isProof, proofOf } from './discovery/index.ts'
import type { Hello } from './hello.ts'
import type { Admission } from './types.ts'

export interface AdmissionParts {
  self: PeerName
  run: string
  admission: Admission
  /** Key that all peers of the run were given; without it none is asked for. */
  preSharedKey: Uint8Array | undefined
}

export class Admittance {
  readonly #parts: AdmissionParts
  readonly #allowed: ReadonlySet<PeerName> | undefined

  constructor(parts: AdmissionParts) {
    this.#parts = parts
    this.#allowed = parts.admission.kind === 'allow-list' ? new Set(parts.admission.peers) : undefined
  }

  /** What shows to that peer that this one may take part; nothing where no key is asked for. */
  proofFor(peer: PeerName): Pick<Hello, 'proof'> {
    const { preSharedKey: key, run, self } = this.#parts
    return key === undefined ? {} : { proof: proofOf(key, run, self, peer) }
  }

  /** Why a peer may not take part, in a sentence that both ends can read; undefined if it may. */
  refusal(peer: PeerName, { proof }: Pick<Hello, 'proof'>): string | undefined {
    const { preSharedKey: key, run, self } = this.#parts
    if (this.#allowed?.has(peer) === false) return `peer ${peer} is not on the allow-list of run ${run}`
    if (key === undefined) return undefined
    if (proof === undefined)
      return `peer ${self} has a pre-shared key for run ${run} and peer ${peer} has none: give it with --psk to all, or to nobody if the run asks for none`
    if (isProof(proof, key, run, peer, self)) return undefined
    return `the pre-shared keys of peer ${peer} and peer ${self} are not the same: one of the two has a wrong file`
  }
}
