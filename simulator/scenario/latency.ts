/** How long messages take in a scenario. */
import { type PeerName, seededRandom } from '../../protocols/index.ts'
import { logNormal } from '../portable.ts'
import type { LatencyModel } from '../types.ts'
import { peerNames, type Scenario } from './scenario.ts'

/** Regions of the world, the share of the peers that live in each (an assumption), and the place where delays to the others were measured. */
const REGIONS = [
  { name: 'North America, middle and west', place: 'Dallas', share: 0.2 },
  { name: 'North America, east', place: 'Washington DC', share: 0.25 },
  { name: 'Europe', place: 'Frankfurt', share: 0.3 },
  { name: 'East Asia', place: 'Tokyo', share: 0.13 },
  { name: 'Oceania', place: 'Sydney', share: 0.05 },
  { name: 'South America', place: 'São Paulo', share: 0.07 },
] as const

/**
 * Round trips between these places, ms, from row to column: averages of the 30 days to 15 September 2024 as IBM Cloud publishes them for its regions
 * ("Network latency dashboards" in the documentation of its VPC, https://cloud.ibm.com/docs/vpc?topic=vpc-network-latency-dashboard).
 */
const ROUND_TRIPS: readonly (readonly number[])[] = [
  [0, 31, 123, 143, 185, 145],
  [32, 0, 91, 166, 214, 118],
  [123, 91, 0, 228, 250, 197],
  [143, 166, 231, 0, 115, 284],
  [186, 216, 250, 115, 0, 327],
  [146, 119, 198, 285, 328, 0],
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
    const far = (ROUND_TRIPS[region.get(from) ?? 0]?.[region.get(to) ?? 0] ?? 0) / 2
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
