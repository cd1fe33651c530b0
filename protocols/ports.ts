/**
 * The two ports through which a strategy meets the world. A strategy runs unchanged over libp2p, over the in-memory swarm
 * of `simulator/` and over a three-line fake in a test, because this is all it may use: no socket, no timer, no file.
 */
import type { Kernels } from '../kernels/index.ts'

/** A peer's id: the base58 text of its Ed25519 peer id. */
export type PeerName = string

/** Time as a strategy sees it: real in the daemon, virtual in the simulator. */
export interface Clock {
  /** Milliseconds since some fixed moment; never goes back. */
  now(): number
  /** Resolves after `milliseconds`; rejects with the signal's reason when aborted. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>
}

/** Seeded randomness; the same seed gives the same numbers everywhere. */
export interface Random {
  /** Uniform in [0, 1). */
  uniform(): number
  /** Uniform integer in [0, bound). */
  integer(bound: number): number
}

/** What a validator says of a gossip message: forward it, drop it, or drop it and hold it against its forwarder. */
export type Verdict = { verdict: 'accept' } | { verdict: 'ignore' | 'reject'; reason: string }

/** One gossip message whose signature has been checked. */
export interface GossipMessage {
  topic: string
  /** The signer, never read from the payload. */
  from: PeerName
  data: Uint8Array
}

/** A topic's two callbacks. Both are called on the network thread and must be quick (under 10 ms). */
export interface TopicHandler {
  validate(message: GossipMessage): Verdict
  handle(message: GossipMessage): void
}

/** Options of {@link Swarm.ask}. */
export interface AskOptions {
  signal?: AbortSignal
  /** Whole time from asking to the last byte of the answer, milliseconds. Default 10,000. */
  timeout?: number
  /** Largest answer accepted, bytes; a longer one is a failure of the peer. Default 64 KiB, at most 1 MiB + 64 KiB. */
  maxAnswer?: number
}

/** Answers one question of a peer. A thrown StarlingError reaches the asker as code and message; anything else as 'internal'. */
export type Answerer = (from: PeerName, question: Uint8Array, signal: AbortSignal) => Promise<Uint8Array> | Uint8Array

/** A member of the run as this peer sees it now. */
export interface Member {
  peer: PeerName
  /** Last heartbeat, on this peer's clock. */
  seenAt: number
  /** What it last said of itself. */
  status: MemberStatus
}

/** What every peer says of itself in its heartbeats (protocols/membership). */
export interface MemberStatus {
  /** Number of this process of the peer; grows with every start, so that a restart is seen. */
  incarnation: number
  /** What it is doing: fetching state, training, done, or leaving. */
  phase: 'joining' | 'training' | 'finished' | 'leaving'
  /** Optimizer steps taken. */
  step: number
  /** Outer round it is in. */
  round: number
  /** Latest training and validation loss, if any. */
  loss?: number
  validationLoss?: number
  /** Bytes sent and received since its start. */
  bytesSent: number
  bytesReceived: number
}

/** How to talk to the peers of a run: what libp2p gives in the daemon and the memory network in the simulator. */
export interface Transport {
  readonly self: PeerName
  readonly clock: Clock
  /** A random stream for `purpose`, seeded by (run, self, purpose) in the daemon and by the scenario in the simulator. */
  random(purpose: string): Random
  /** Peers with an open connection now, sorted. */
  connected(): readonly PeerName[]
  /** Called after a peer connected or disconnected; returns how to stop that. */
  onConnections(listener: () => void): () => void
  /** Signed news to the whole run, at most 64 KiB. `topic` is a short name; the transport adds network and run. Resolves to the number of peers it was handed to. */
  publish(topic: string, data: Uint8Array, signal?: AbortSignal): Promise<number>
  subscribe(topic: string, handler: TopicHandler): () => void
  /** Asks one peer one question, and connects with it for that where it is not connected and can be found. Throws StarlingError: 'peer-unreachable', 'ask-timeout', 'answer-too-large', 'aborted', or the answerer's own code. */
  ask(peer: PeerName, method: string, question: Uint8Array, options?: AskOptions): Promise<Uint8Array>
  /** Answers questions of that method, each at most 64 KiB; returns how to stop that. */
  answer(method: string, answerer: Answerer): () => void
  /** Holds a proven fault against a peer (bad hash, malformed message); enough of them and it is disconnected and refused for a while. */
  penalize(peer: PeerName, reason: string): void
  /** Signs with this peer's Ed25519 key, 64 bytes. The key has other uses: `data` begins with what it is for. */
  sign(data: Uint8Array): Promise<Uint8Array>
  /** Whether that peer signed `data`; its key is in its name. False for anything malformed, never an error. */
  verify(peer: PeerName, data: Uint8Array, signature: Uint8Array): Promise<boolean>
}

/** A transport that also knows the run and its members (protocols/membership makes one from a transport). */
export interface Swarm extends Transport {
  /** CID text of the run's manifest: the name of the run. */
  readonly run: string
  /** Members heard from lately, this peer not included; sorted by name. */
  members(): readonly Member[]
  /** Called after a member came, changed its status or left; returns how to stop that. */
  onMembers(listener: () => void): () => void
  /** What this peer says of itself in its next heartbeats; `now` sends one at once (a round was reached, leaving). */
  announce(status: Partial<MemberStatus>, now?: boolean): void
}

/**
 * Work for the thread in which the parameters live. A task is a plain function exported by a strategy under a unique name;
 * the daemon runs it in the trainer thread, the simulator and the tests call it directly. Arguments and result are plain data.
 */
export interface ComputeTask<Arguments, Result> {
  readonly name: string
  run(context: ComputeContext, args: Arguments): Result
}

/** What a compute task works on: kernels, and the shared vectors by name. */
export interface ComputeContext {
  kernels: Kernels
  /** A float32 vector of the learner or of the strategy. */
  float32(name: string): Float32Array
  /** An int32 vector of the strategy. */
  int32(name: string): Int32Array
  /** Any vector's bytes. */
  bytes(name: string): Uint8Array
}

/** Reports of local training; plain data, the same in every implementation. */
export interface StepSummary {
  step: number
  loss: number
  gradientNorm: number
  learningRate: number
  samples: number
  milliseconds: number
}

export interface EvaluationSummary {
  step: number
  loss: number
  accuracy?: number
  samples: number
  milliseconds: number
}

/** Local training on this peer's own data. The parameters are the shared vector named 'theta', of `size` elements. */
export interface Learner extends Omit<ComputeContext, 'kernels'> {
  /** Elements of 'theta', padding included. */
  readonly size: number
  /** Optimizer steps taken so far; settable, so that a joiner takes over its donor's place in the schedule. */
  step(): number
  setStep(step: number): Promise<void>
  /** Writes the run's common start, the parameters before any training, into a float32 vector of theta's length. */
  initial(vector: string, signal?: AbortSignal): Promise<void>
  /** Takes `count` local optimizer steps; reports each one as it is done. Stops early, between steps, when aborted. */
  train(count: number, options?: { signal?: AbortSignal; onStep?: (report: StepSummary) => void }): Promise<void>
  /** Loss of the validation data at the parameters in `vector` (default 'theta'). */
  evaluate(options?: { signal?: AbortSignal; vector?: string }): Promise<EvaluationSummary>
  /** Loss at the parameters in `vector` on the training batch with this number. Never changes the parameters. */
  lossAt(vector: string, batch: number, signal?: AbortSignal): Promise<number>
  /** Gradient at 'theta' of the training batch with this number, into the vector 'gradient'; returns the loss. */
  gradient(batch: number, signal?: AbortSignal): Promise<number>
  /** Runs a task where the parameters live, between two steps. */
  compute<A, R>(task: ComputeTask<A, R>, args: A, signal?: AbortSignal): Promise<R>
}

/**
 * How a model is cut into stages for a pipeline. Part 0, the ends, is what stays with a peer that has data: embedding, last norm and output
 * matrix; parts 1 to `stages` are consecutive runs of layers.
 */
export interface StageCut {
  readonly stages: number
  /** Elements of each part's parameters, padding included: [ends, stage 1, ..., stage S]. */
  readonly sizes: readonly number[]
  /** Layers of each stage, for people: [0, stage 1, ..., stage S]. */
  readonly layers: readonly number[]
  /** Values per row (a sequence, an image) that leave each part in a forward pass: [embedding, stage 1, ..., stage S]. */
  readonly stream: readonly number[]
  /** Whether all stages have the same tensors and all streams the same shape: only then can stages be averaged, swapped and skipped. */
  readonly alike: boolean
  /** Rows of a microbatch. */
  readonly rows: number
  /** Microbatches of one step of one data peer. */
  readonly microbatches: number
  /** Stages that one peer has room for. 'theta' (and 'gradient', and each moment of the optimizer) is the ends, then the places, each as long as the largest stage. */
  readonly places: number
  /** Gradients that are summed apart, one for each data peer: 'gradient', 'gradient-1', ... */
  readonly accumulators: number
}

/** Rows to work on: a microbatch of a training batch, a part of the validation data, or a text to be continued. */
export type StageSource =
  | { kind: 'training'; batch: number; microbatch: number }
  | { kind: 'validation'; part: number }
  | { kind: 'tokens'; tokens: readonly number[] }

/** Where parameters lie at a peer of a pipeline: the ends, or the stage in a place (0, 1, ...). */
export type StagePlace = 'ends' | number

/**
 * The parts of a model that a peer of a pipeline holds. What goes from part to part is the vector 'stream' (float32, `rows` rows of the largest stream):
 * each call reads it, and leaves its result there. Calls are done one at a time, in the order in which they were made; whoever needs several in a row for one microbatch must
 * keep others from coming between. A `slot` is a number chosen by the caller under which a forward pass keeps what its backward needs.
 */
export interface StageLearner {
  readonly cut: StageCut
  /** Names of the optimizer's vectors, each as long as 'theta' and divided as it is. */
  readonly moments: readonly string[]
  /** Parts of the validation data, each at most a microbatch long. */
  validationParts(): Promise<number>
  /**
   * From here on `place` holds `stage` (1 to S), whose parameters the caller brings: from a copy, from the neighbours, from a checkpoint. The place's slots are dropped and its
   * gradients <- 0; with `fresh` so are its moments. Its parameters stay as they are.
   */
  hold(place: number, stage: number, fresh: boolean): Promise<void>
  /** A place <- the run's common start of a part (0 for the ends), which it holds from here on; its moments and gradients <- 0. */
  initial(part: number, place: StagePlace, signal?: AbortSignal): Promise<void>
  /** stream <- the embedded rows of the source; resolves to how many. Without a slot nothing is kept. */
  embed(source: StageSource, slot?: number): Promise<number>
  /** stream <- the stage in `place` applied to the first `rows` rows of stream. Without a slot nothing is kept. */
  forward(place: number, rows: number, slot?: number): Promise<void>
  /**
   * Sum of the source's losses at stream, and how many were classified right (images). With an accumulator also the backward pass of the head: stream <- the gradient at stream,
   * the ends' gradient += its part; each sample weighs 1 / (samples of the whole step).
   */
  loss(source: StageSource, accumulator?: number): Promise<{ loss: number; samples: number; right: number }>
  /** stream (gradient at what the pass of that slot gave) <- gradient at what it got; the gradient of its parameters is added to an accumulator. The slot is free again. Of an embedding, stream is not written. */
  backward(slot: number, accumulator: number): Promise<void>
  /** Frees a slot without a backward pass; one that holds nothing is fine. */
  drop(slot: number): Promise<void>
  /** Gradients of a place in an accumulator <- 0. */
  clear(place: StagePlace, accumulator: number): Promise<void>
  /**
   * One optimizer step of a place from an accumulator, which is 0 afterwards. `step`: place in the schedule of learning rates, from 1; `applied`: steps that the moments have
   * taken in, this one included (1 for a fresh optimizer); `rate`: factor of the learning rate. The gradient is clipped by its own norm. Throws 'not-finite' and changes nothing where it is not finite.
   */
  step(
    place: StagePlace,
    accumulator: number,
    options: { step: number; applied: number; rate: number },
  ): Promise<{ gradientNorm: number; learningRate: number }>
  /** Logits of one row of stream (a token's), for text that is generated. */
  logits(row: number): Promise<Float32Array>
}

/** Largest value of one record, bytes: what LevelDB keeps well, and as much as one chunk of a transfer. */
export const MAX_RECORD_BYTES = 1024 * 1024

/** Small records that outlive the process. Values are at most {@link MAX_RECORD_BYTES}; a longer one is refused with 'bad-record'. */
export interface RecordStore {
  get(key: string): Promise<Uint8Array | undefined>
  put(key: string, value: Uint8Array): Promise<void>
  delete(key: string): Promise<void>
  /** Keys that begin with `prefix`, sorted, at most `limit`. */
  keys(prefix: string, limit: number): Promise<string[]>
}
