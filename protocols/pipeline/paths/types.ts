import type { PeerName } from '../../ports.ts'

/** One stop of a microbatch: a stage, at one of its holders. */
export interface Hop {
  stage: number
  peer: PeerName
}

/** Way of a microbatch through the stages, in order; from its data peer and back to it. */
export type Path = readonly Hop[]

/** Who can be used, as a data peer sees it. */
export interface Reachable {
  /** Ready holders of a stage, best first. */
  ready(stage: number): readonly PeerName[]
  /** Data peers, sorted. */
  dataPeers(): readonly PeerName[]
  /** Microbatches of this data peer that are under way through that peer. */
  load(peer: PeerName): number
}

/** Which microbatch. */
export interface PathRequest {
  step: number
  attempt: number
  microbatch: number
}

/** A path, and how many ms after its step began the microbatch may set out (default 0); or the stages that it needs and nobody holds. */
export type Found = { path: Path; start?: number } | { missing: readonly number[] }

/** Makes the paths of the microbatches of one data peer. */
export interface PathGenerator {
  /** Path of a microbatch, or the stages that it needs and nobody holds. */
  path(request: PathRequest, reachable: Reachable): Found
}
