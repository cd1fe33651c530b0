/** Where a node keeps what strangers give it to keep: in memory, and bounded. */
import { NotFoundError } from '@libp2p/interface'
import { BaseDatastore } from 'datastore-core'
import { Key, type KeyQuery, type Pair, type Query } from 'interface-datastore'
import { StarlingError } from '../../../protocols/index.ts'

/**
 * Records of each kind (first part of the key: the DHT's, the peer store's). One is a few hundred bytes, so these are some megabytes. libp2p's own store in
 * memory has no bound, and anybody may give a node of the DHT records to keep for two days.
 */
export const MAX_RECORDS = 16_384

/** Longest key and value. A CID has some 60 characters, a peer with as many addresses as identify lets it name some kilobytes. */
export const MAX_KEY_LENGTH = 512
export const MAX_VALUE_BYTES = 16 * 1024

/**
 * A datastore in memory; the record of a kind that was written first makes room for a new one. `put` throws StarlingError 'record-too-large'.
 *
 * Looking records up by prefix compares texts and makes no objects but for what is found, because every question of a stranger does it.
 */
export class BoundedDatastore extends BaseDatastore {
  readonly #most: number
  /** By kind, then by key in the order of writing; the kinds are this program's, the records are bounded. */
  readonly #kinds = new Map<string, Map<string, Uint8Array>>()

  constructor(most: number = MAX_RECORDS) {
    super()
    this.#most = most
  }

  override put(key: Key, value: Uint8Array): Key {
    const text = key.toString()
    if (text.length > MAX_KEY_LENGTH || value.byteLength > MAX_VALUE_BYTES) {
      const message = `a record of ${value.byteLength} bytes under a key of ${text.length} characters is more than is kept`
      throw new StarlingError('record-too-large', message)
    }
    const records = this.#records(text)
    records.delete(text)
    records.set(text, value)
    if (records.size > this.#most) records.delete(records.keys().next().value as string)
    return key
  }

  override get(key: Key): Uint8Array {
    const value = this.#records(key.toString()).get(key.toString())
    if (value === undefined) throw new NotFoundError(`there is no record ${key}`)
    return value
  }

  override has(key: Key): boolean {
    return this.#records(key.toString()).has(key.toString())
  }

  override delete(key: Key): void {
    this.#records(key.toString()).delete(key.toString())
  }

  override *_all({ prefix = '' }: Query): Generator<Pair> {
    for (const records of this.#kinds.values()) {
      for (const [text, value] of records) if (text.startsWith(prefix)) yield { key: new Key(text, false), value }
    }
  }

  override *_allKeys(query: KeyQuery): Generator<Key> {
    const { prefix } = query
    for (const { key } of this._all(prefix === undefined ? {} : { prefix })) yield key
  }

  #records(text: string): Map<string, Uint8Array> {
    const kind = text.split('/', 2)[1] ?? ''
    let records = this.#kinds.get(kind)
    if (records === undefined) {
      records = new Map()
      this.#kinds.set(kind, records)
    }
    return records
  }
}
