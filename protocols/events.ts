/** The typed events of a run. Strategies report them, the daemon adds its own (daemon/events), and the page is drawn from them alone. */
import type { PeerName } from './ports.ts'

/** Why an exchange did not happen. */
export type ExchangeFailure =
  | 'no-partner' // nobody else, or odd one out
  | 'partner-late' // it did not reach the round in time
  | 'partner-ahead' // it is in a later round already
  | 'partner-lost' // it vanished before the commit
  | 'view-mismatch' // the two peers see different members
  | 'bad-tensor' // what it sent was refused (size, hash, non-finite, scale)
  | 'too-far' // its model is farther away than an honest one can be
  | 'aborted'

/** What a peer can wait for. */
export type WaitingFor =
  | 'partner' // of an exchange
  | 'replica' // another peer's parameters, or a snapshot of them
  | 'file' // of the run: data, first parameters
  | 'stage' // holders of stages of a pipeline
  | 'contributions' // its own, that it has forgotten
  | 'others' // to finish, at the end of the run

export type StrategyEvent =
  | {
      kind: 'step'
      step: number
      loss: number
      gradientNorm: number
      learningRate: number
      milliseconds: number
      samples: number
    }
  | { kind: 'evaluation'; step: number; round: number; loss: number; accuracy?: number }
  | {
      kind: 'exchange'
      round: number
      partner: PeerName
      /** Root mean square of (own - partner) / sqrt(2): an unbiased estimate of the replicas' standard deviation. */
      disagreement: number
      /** Root mean square error of the int8 code, relative to the root mean square of the tensor. */
      codingError: number
      /** Of the way to the partner's message that counted; below 1 where it was farther away than those before it. */
      share?: number
      bytesSent: number
      bytesReceived: number
      milliseconds: number
    }
  | { kind: 'exchange-skipped'; round: number; partner?: PeerName; reason: ExchangeFailure }
  /** Groups of others' fragments mixed into the own model since the last such event, at most one event a second. `round` is the turn. */
  | {
      kind: 'mixed'
      round: number
      groups: number
      /** Fragments that had a say, and those that had none, by author: too far away, or refused. */
      fragments: number
      leftOut: { peer: PeerName; times: number }[]
      /** Tensors whose variance had vanished and was restored. */
      corrected: number
      /** Root mean square of (own - other) / sqrt(2) in the latest group, and of the code's error relative to the own fragment. */
      disagreement: number
      codingError: number
      /** Handed to neighbours, and taken in; without what the gossip network adds. */
      bytesSent: number
      bytesReceived: number
    }
  | { kind: 'joined'; donor?: PeerName; step: number; round: number; bytes: number; milliseconds: number }
  /** Nothing goes on here until that comes; `for` in words, `what` for programs. */
  | { kind: 'waiting'; what?: WaitingFor; for: string; peer?: PeerName }
  | { kind: 'finished'; step: number; round: number }
  | { kind: 'rejected'; peer: PeerName; what: string; reason: string }
  /**
   * The set of contributions that the parameters stand for now. `digest`: the first 8 bytes of the set's digest in hex, equal where the sets are;
   * `added`: contributions since the last such event, less than 0 after an exclusion.
   */
  | { kind: 'contributions'; contributions: number; authors: number; digest: string; added: number }
  /** The largest sum of contributions is above half of what 32 bits hold; a run that goes on like this ends with 'sums-overflow'. Said once. */
  | { kind: 'sums-large'; largest: number; contributions: number }
  /** This peer had forgotten contributions of its own, and another peer gave them back. */
  | { kind: 'own-contributions-restored'; peer: PeerName; contributions: number }
  /** A peer is proven to have signed two contributions for one step; nothing of it counts any more. `own`: this peer itself. */
  | { kind: 'excluded'; peer: PeerName; step: number; own: boolean; reason: string }
  /** How a joiner gets its parameters, and what it expected of either way; without anybody to give a snapshot there is no time for it. */
  | {
      kind: 'plan'
      choice: 'snapshot' | 'replay'
      contributions: number
      replaySeconds: number
      snapshotSeconds?: number
    }
  /** This peer of a pipeline holds a stage from now on, and where its parameters came from. `degraded`: neighbours were missing too, see docs/pipeline.md. */
  | {
      kind: 'stage-taken'
      stage: number
      how: StageOrigin
      from: PeerName[]
      step: number
      degraded: boolean
      bytes: number
      milliseconds: number
    }
  /** It does not hold the stage any more: given to another peer. */
  | { kind: 'stage-left'; stage: number; to?: PeerName; step: number }
  /** A data peer can no longer use this holder of a stage; `others` hold it too, so with any of them nothing was lost but what was under way. */
  | {
      kind: 'stage-lost'
      stage: number
      peer: PeerName
      step: number
      reason: 'disconnected' | 'silent' | 'refused'
      others: number
    }
  /** Training goes on after a stage was lost: what that did to the validation loss, and how long no microbatch could pass. */
  | {
      kind: 'stage-recovered'
      stage: number
      peer: PeerName
      how: StageOrigin
      step: number
      lossBefore: number
      lossAfter: number
      milliseconds: number
    }
  /** What a data peer's pipeline did since the last such event, at most one a second. `holders`: of each stage, in order. */
  | {
      kind: 'pipeline'
      step: number
      microbatches: number
      inFlight: number
      /** Microbatches begun again. */
      retries: number
      holders: { stage: number; peers: PeerName[] }[]
      bytesSent: number
      bytesReceived: number
    }
  /** All peers on its paths have checked a plan of partial paths and accepted it. */
  | { kind: 'plan-agreed'; plan: string; paths: number; seconds: number }

/** Where the parameters of a stage came from. */
export type StageOrigin =
  | 'initial' // the run's common start
  | 'own' // this peer's checkpoint
  | 'replica' // another holder of the same stage
  | 'moved' // handed over by the holder, with the optimizer's state
  | 'average' // both neighbours, weighted by their gradient norms (CheckFree)
  | 'uniform' // both neighbours, alike
  | 'twin' // a copy of the stage that it is swapped with (CheckFree+)
  | 'neighbour' // a copy of the nearest stage that lives
  | 'random' // the run's start again, for comparison
  | 'checkpoint' // the last checkpoint; all other stages went back to theirs
