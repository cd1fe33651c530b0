/** What routers send each other, and how long it is on the wire. */
import type { PeerName } from '../../protocols/index.ts'
import type { Cost } from '../ask.ts'

/** A published message; shared by all its copies and never changed. */
export interface GossipNews {
  /** Stands for author and sequence number: unique and growing within a network. */
  id: number
  topic: string
  from: PeerName
  data: Uint8Array
}

/** A copy of a message on its way. */
export interface GossipCopy {
  news: GossipNews
  /** Links it has taken from its author, the present one included. */
  hops: number
}

/** One frame between two routers, an RPC in gossipsub's terms. Absent parts take no bytes. */
export interface GossipFrame {
  subscriptions?: { topic: string; subscribe: boolean }[]
  messages?: GossipCopy[]
  /** Ids of known messages by topic. */
  ihave?: Map<string, number[]>
  iwant?: number[]
  /** Ids of messages whose further copies are not wanted. */
  idontwant?: number[]
  graft?: string[]
  /** Topics, with how long the peer is not to come back, ms. */
  prune?: { topic: string; backoff: number }[]
}

/** A peer id as an identity multihash: two bytes of head, an Ed25519 key as protobuf. */
const AUTHOR_BYTES = 38
const KEY_BYTES = 36
const SEQUENCE_BYTES = 8
const SIGNATURE_BYTES = 64
/** Of a message: the author's key and the sequence number. */
const ID_BYTES = KEY_BYTES + SEQUENCE_BYTES
/** Tag and value of a back-off below 128 seconds. */
const BACKOFF_BYTES = 2
/** Tag and value of the subscribe flag. */
const FLAG_BYTES = 2

/** Yamux's header, and the length and the tag that noise adds to one message. A frame longer than noise's 64 KiB takes more of the latter. */
const YAMUX_BYTES = 12
const NOISE_BYTES = 18
const NOISE_MESSAGE = 65_519

/** Bytes of an unsigned number as a protobuf varint. */
function varint(value: number): number {
  let bytes = 1
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) bytes++
  return bytes
}

/** A length-delimited field of protobuf with a tag below 16. */
const field = (bytes: number): number => 1 + varint(bytes) + bytes

/** Bytes of a frame inside its stream: protobuf and the length before it. `topicPrefix` is what full topic names have more than short ones. */
export function frameBytes(frame: GossipFrame, topicPrefix: number): number {
  const topic = (name: string): number => field(topicPrefix + name.length)
  let bytes = 0
  for (const { topic: name } of frame.subscriptions ?? []) bytes += field(FLAG_BYTES + topic(name))
  for (const { news } of frame.messages ?? []) {
    // Every message carries its author, sequence number, signature and key beside data and topic.
    const signed = field(AUTHOR_BYTES) + field(SEQUENCE_BYTES) + field(SIGNATURE_BYTES) + field(KEY_BYTES)
    bytes += field(signed + field(news.data.byteLength) + topic(news.topic))
  }
  const ids = (count: number): number => count * field(ID_BYTES)
  let control = 0
  for (const [name, list] of frame.ihave ?? []) control += field(topic(name) + ids(list.length))
  if (frame.iwant !== undefined) control += field(ids(frame.iwant.length))
  if (frame.idontwant !== undefined) control += field(ids(frame.idontwant.length))
  for (const name of frame.graft ?? []) control += field(topic(name))
  for (const { topic: name } of frame.prune ?? []) control += field(topic(name) + BACKOFF_BYTES)
  if (control > 0) bytes += field(control)
  return bytes === 0 ? 0 : varint(bytes) + bytes
}

/** Bytes on the socket of so many bytes sent at once on a stream. What TCP and IP add is not in it, nor in the daemon's counters. */
function socketBytes(streamBytes: number): number {
  const framed = streamBytes + YAMUX_BYTES
  return framed + NOISE_BYTES * Math.ceil(framed / NOISE_MESSAGE)
}

/** What js-libp2p's yamux sends back for each frame it reads: an update of the stream's window. */
const WINDOW_UPDATE_BYTES = socketBytes(0)

/** Bytes on the sockets for so many bytes sent at once on a stream. */
export function streamCost(streamBytes: number): Cost {
  return { frame: socketBytes(streamBytes), acknowledgement: WINDOW_UPDATE_BYTES }
}

/** Header of a question or an answer (daemon/network/frames.ts). */
const ASK_HEADER_BYTES = 14

/** Bytes of a question with a method of `text` characters, or of an answer without, and a body. */
export function askCost(text: number, body: number): Cost {
  return streamCost(ASK_HEADER_BYTES + text + body)
}
