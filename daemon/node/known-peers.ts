import { z } from 'zod'
import type { PeerName } from '../../protocols/index.ts'
import type { Log } from '../log/index.ts'
import type { Ban, BanStore, Network } from '../network/index.ts'
import type { DataFolder } from '../storage/index.ts'

/** Peers whose addresses outlive the process; the longest unseen one makes room. */
const MAX_KNOWN = 64

/** Addresses kept of each. */
const MAX_ADDRESSES = 4

/** Addresses handed out to go back to: a part of what the network takes, so that those that the user names find room beside them. */
const MAX_HANDED = 32

/** Milliseconds from a change of the connections until it is on disk, for a process that gets no chance to stop. */
const SAVE_DELAY = 2_000

const KEY = 'known-peers'
const BANS = 'bans'

const knownSchema = z
  .array(z.object({ peer: z.string().max(64), addresses: z.array(z.string().max(256)).max(MAX_ADDRESSES) }))
  .max(MAX_KNOWN)
const bansSchema = z
  .array(z.object({ peer: z.string().max(64), until: z.number(), reason: z.string().max(1_000) }))
  .max(1_024)

async function read<T>(folder: DataFolder, key: string, schema: z.ZodType<T>, log: Log): Promise<T | undefined> {
  const bytes = await folder.records('network').get(key)
  if (bytes === undefined) return undefined
  try {
    return schema.parse(JSON.parse(new TextDecoder().decode(bytes)))
  } catch (error) {
    log.warn('a record cannot be read and is forgotten', { key }, error)
    return undefined
  }
}

const write = (folder: DataFolder, key: string, value: unknown): Promise<void> =>
  folder.records('network').put(key, new TextEncoder().encode(JSON.stringify(value)))

/** Keeps the network's bans in the data folder. */
export function banStore(folder: DataFolder, log: Log): BanStore {
  return {
    load: async () => (await read(folder, BANS, bansSchema, log)) ?? [],
    save: (bans: readonly Ban[]) => write(folder, BANS, bans),
  }
}

/** Remembers who was connected and where, so that a restart finds the swarm although the first peers are gone. */
export interface KnownPeers {
  /** Addresses to go back to: the latest seen peers' first, and one of each before a second of any. */
  addresses(): string[]
  /** Notes the addresses of connected peers from now on, and writes them down a little later; returns how to stop that. */
  watch(network: Network): () => void
  /** Writes down what is known now; rejects when the disk does not take it. */
  save(): Promise<void>
}

export async function loadKnownPeers(folder: DataFolder, log: Log): Promise<KnownPeers> {
  // Insertion order is the order of last sight; at most MAX_KNOWN.
  const known = new Map<PeerName, string[]>()
  for (const { peer, addresses } of (await read(folder, KEY, knownSchema, log)) ?? []) known.set(peer, addresses)
  const save = (): Promise<void> =>
    write(
      folder,
      KEY,
      [...known].map(([peer, addresses]) => ({ peer, addresses })),
    )
  return {
    addresses() {
      const latest = [...known.values()].reverse()
      const ordered = Array.from({ length: MAX_ADDRESSES }, (_, nth) =>
        latest.flatMap((each) => each.slice(nth, nth + 1)),
      )
      return ordered.flat().slice(0, MAX_HANDED)
    },
    watch(network) {
      const note = (): void => {
        for (const peer of network.connected()) {
          const addresses = network
            .addressesOf(peer)
            .slice(0, MAX_ADDRESSES)
            .map((address) => (address.includes('/p2p/') ? address : `${address}/p2p/${peer}`))
          if (addresses.length === 0) continue
          known.delete(peer)
          known.set(peer, addresses)
          if (known.size > MAX_KNOWN) known.delete(known.keys().next().value as PeerName)
        }
      }
      let due: NodeJS.Timeout | undefined
      const unsubscribe = network.onConnections(() => {
        note()
        due ??= setTimeout(() => {
          due = undefined
          save().catch((error: unknown) => log.warn('the known peers could not be written down', {}, error))
        }, SAVE_DELAY)
      })
      return () => {
        clearTimeout(due)
        note()
        unsubscribe()
      }
    },
    save,
  }
}
