import type { Explained, Explanation } from '../types.ts'
import type { SwarmPeer } from './peer.ts'

/** What a peer of a local swarm says of itself, or what its launcher sees where it cannot. */
export function explainPeer(peer: SwarmPeer, now: number): Explained {
  const name = { peer: peer.ready?.peer ?? '', name: peer.name }
  if (peer.alive && peer.explanation !== undefined) return { ...peer.explanation, ...name }
  const since = peer.heardAt > 0 ? peer.heardAt : now
  return { ...ofProcess(peer, since), ...name }
}

function ofProcess({ state, failure, logFile }: SwarmPeer, since: number): Explanation {
  switch (state) {
    case 'down':
      return {
        state: 'starting',
        tone: 'warn',
        because: 'Its process died.',
        since,
        next: 'It is started again after a pause that grows with each death.',
        advice: [`Its log says more: ${logFile}`],
      }
    case 'failed':
      return {
        state: 'stopping',
        tone: 'warn',
        because: `Its process died again and again: ${failure?.message ?? 'no reason given'}.`,
        since,
        advice: [`Its log says more: ${logFile}`],
      }
    case 'stopped':
      return { state: 'stopping', tone: 'plain', because: 'It was stopped.', since, advice: [] }
    case 'finished':
      return { state: 'finished', tone: 'good', because: 'All its steps are done.', since, advice: [] }
    default:
      return { state: 'starting', tone: 'plain', because: 'Its process starts.', since, advice: [] }
  }
}
