/** How long messages take in a scenario. */
import { type PeerName, seededRandom } from '../../protocols/index.ts'
import { logNormal } from '../portable.ts'
import type { LatencyModel } from '../types.ts'
import { peerNames, type Scenario } from './scenario.ts'

/** Regions of the world, and the share of the peers that live in each. */
const REGIONS = [
  { name: 'North America, east', share: 0.25 },
  { name: 'North America, west', share: 0.15 },
  { name: 'Europe', share: 0.3 },
  { name: 'South America', share: 0.07 },
  { name: 'East Asia', share: 0.13 },
  { name: 'South-East Asia', share: 0.1 },
] as const

/** One-way delays between the regions, ms: half the round trips between cloud regions (Virginia, Oregon, Ireland, São Paulo, Tokyo, Singapore) as usually measured, rounded. */
const BETWEEN: readonly (readonly number[])[] = [
  [0, 33, 35, 58, 75, 110],
  [33, 0, 63, 88, 50, 83],
  [35, 63, 0, 90, 103, 88],
  [58, 88, 90, 0, 130, 163],
  [75, 50, 103, 130, 0, 35],
  [110, 83, 88, 163, 35, 0],
]

/** Bytes per second of a megabit per second. */
const MEGABIT = 125_000

/** The delays of a scenario. Where a peer lives and whether it can be dialled comes from the scenario's seed. */
export function latencyModel({ network, peers, seed }: Pick<Scenario, 'network' | 'peers' | 'seed'>): LatencyModel {
  const random = seededRandom('scenario-places', seed)
  const region = new Map<PeerName, number>()
  const hidden = new Set<PeerName>()
  for (const name of peerNames(peers)) {
    region.set(name, network.regions === 'world' ? regionOf(random.uniform()) : 0)
    if (random.uniform() < network.nat) {
      hidden.add(name)
    }
  }
  const rate = MEGABIT * Math.min(network.upload, network.download)
  return (from, to, bytes, dice) => {
    const far = BETWEEN[region.get(from) ?? 0]?.[region.get(to) ?? 0] ?? 0
    const trip = far + logNormal(network.latency, network.spread, dice)
    return (hidden.has(from) && hidden.has(to) ? 2 * trip : trip) + (bytes / rate) * 1000
  }
}

function regionOf(uniform: number): number {
  const total = REGIONS.reduce((sum, { share }) => sum + share, 0)
  let rest = uniform * total
  const found = REGIONS.findIndex(({ share }) => {
    rest -= share
    return rest < 0
  })
  return Math.max(0, found)
}
