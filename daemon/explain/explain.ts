/** Answers "why am I waiting?" from what a node knows of itself. Pure: the same facts give the same answer. */
import { CHUNK_BYTES } from '../../protocols/index.ts'
import type { Explanation } from '../types.ts'
import { describeStages, formatBytes, formatDuration, shortName, whySkipped } from '../view/index.ts'
import { turnedAway, whyAlone } from './alone.ts'
import type { Facts, Transfer } from './types.ts'
import { count, list } from './words.ts'

/** A step that takes this many times the last one, and this long at least (milliseconds), means that something is wrong with the machine. */
const STALLED_FACTOR = 20
const STALLED_LEAST = 20_000

/** Exchanges in a row that did not happen before it is more than chance. */
const OFTEN_SKIPPED = 5

/** A partner that was heard so long ago is probably gone, milliseconds. */
const SILENT = 10_000

const ago = (now: number, time: number): string => `${formatDuration((now - time) / 1_000)} ago`

/** What the node is at, the first of these that holds. */
export function explain(facts: Facts): Explanation {
  const { situation, node } = facts
  if (situation.stopping !== undefined) {
    const { reason, time } = situation.stopping
    return {
      state: 'stopping',
      tone: 'warn',
      because: `The node is stopping: ${reason}.`,
      since: time,
      next: 'It writes a checkpoint and ends within a few seconds.',
      advice: [],
    }
  }
  if (node === undefined) return searching(facts)
  if (node.phase === 'finished') return finished(facts)
  if (situation.trainer.state === 'restarting') {
    const { since, message } = situation.trainer
    return {
      state: 'trainer-restarting',
      tone: 'warn',
      because: `The trainer thread died (${message ?? 'no reason given'}) and is started again.`,
      since,
      next: 'It goes on from the parameters in memory.',
      advice: ['Dies it again and again: look at the memory with: starling doctor'],
    }
  }
  if (situation.waiting !== undefined) return waiting(facts)
  if (situation.trainer.state === 'starting') return starting(facts)
  const stalled = stall(facts)
  if (stalled !== undefined) return stalled
  if (facts.others.length === 0) return alone(facts)
  return working(facts)
}

/** There is no manifest yet. */
function searching(facts: Facts): Explanation {
  const { situation, network } = facts
  const since = situation.begun
  if (network !== undefined && network.connected.length > 0) {
    const peers = list(network.connected.map(shortName))
    return {
      state: 'looking-for-peers',
      tone: 'plain',
      because: `Connected with ${peers}, who ${network.connected.length === 1 ? 'has' : 'have'} not given the run's manifest yet.`,
      since,
      next: 'It asks again every half second, for a minute in all.',
      advice: [],
    }
  }
  const { because, advice } = whyAlone(facts)
  return {
    state: 'looking-for-peers',
    tone: 'warn',
    because: `Looking for a peer of the run: ${because}.`,
    since,
    next: 'All addresses are tried again, with pauses of up to 15 s. After a minute without the run it gives up.',
    advice,
  }
}

/** Between the manifest and the first step: files of the run, then the engine. */
function starting(facts: Facts): Explanation {
  const { situation, transfer } = facts
  if (transfer !== undefined) return fetching(facts, transfer, "the run's data")
  return {
    state: 'starting',
    tone: 'plain',
    because: 'Loading the engine, the data and the parameters.',
    since: situation.trainer.since,
    next: 'Training begins.',
    advice: [],
  }
}

function fetching({ now }: Facts, { bytes, size, holder, since }: Transfer, what: string): Explanation {
  const pieces = Math.ceil(size / CHUNK_BYTES)
  const done = bytes >= size ? pieces : Math.floor(bytes / CHUNK_BYTES)
  const from = holder === undefined ? '' : ` from ${shortName(holder)}`
  const seconds = (now - since) / 1_000
  const rate = seconds > 0 ? bytes / seconds : 0
  const left = rate > 0 ? `About ${formatDuration((size - bytes) / rate)} to go at ${formatBytes(rate)}/s.` : undefined
  return {
    state: 'fetching',
    tone: 'plain',
    because: `Fetching ${what}: ${done} of ${count(pieces, 'piece')} (${formatBytes(bytes)} of ${formatBytes(size)})${from}.`,
    since,
    next: left ?? 'Each piece is checked by its hash; another peer is asked where one fails.',
    advice: [],
    ...(holder === undefined ? {} : { about: holder }),
  }
}

function waiting(facts: Facts): Explanation {
  const { situation, transfer, others, now } = facts
  const { what, for: words, peer, since } = situation.waiting as NonNullable<Facts['situation']['waiting']>
  const about = peer === undefined ? {} : { about: peer }
  switch (what) {
    case 'replica': {
      if (transfer !== undefined) return fetching(facts, transfer, 'the parameters of a peer')
      if (peer !== undefined) {
        const because = `Asked ${shortName(peer)} for its parameters.`
        const next = 'It copies and hashes them first; another peer is asked where that fails.'
        return { state: 'fetching', tone: 'plain', because, since, next, advice: [], ...about }
      }
      return nobodyHas(facts, 'Nobody in view has parameters to give', since)
    }
    case 'file':
      if (transfer !== undefined) return fetching(facts, transfer, "the run's data")
      return nobodyHas(facts, `No connected peer has what is needed: ${words}`, since)
    case 'partner': {
      const other = others.find((one) => one.peer === peer)
      const silent = other !== undefined && other.silentFor > SILENT
      const who = peer === undefined ? 'its partner' : shortName(peer)
      const at = other === undefined ? ', which is not in view any more' : `, which is at step ${other.step}`
      const heard = silent ? ` and was heard ${ago(now, now - other.silentFor)}` : ''
      return {
        state: 'waiting-for-partner',
        tone: silent ? 'warn' : 'plain',
        because: `Ready for the exchange of round ${facts.node?.round ?? 0} and waiting for ${who}${at}${heard}.`,
        since,
        next: 'If it does not come in time, the round is taken without it and training goes on.',
        advice: [],
        ...about,
      }
    }
    case 'stage':
      return {
        state: 'waiting-for-stage',
        tone: 'warn',
        because: `No microbatch can pass: it waits for ${words}.`,
        since,
        next: 'A spare peer takes the stage over, or one with room; its parameters are rebuilt.',
        advice:
          facts.others.length === 0
            ? [`Every stage needs a peer with room. ${join(facts)}`]
            : [`If it lasts: more peers help. ${join(facts)}`],
      }
    case 'contributions':
      return {
        state: 'waiting-for-contributions',
        tone: 'plain',
        because:
          'This peer has contributed before and lost its records; it must hear of them before it contributes again.',
        since,
        next: 'Members are asked one after the other.',
        advice: [],
      }
    case 'others': {
      const busy = others.filter(({ phase }) => phase === 'training' || phase === 'joining')
      const names = list(busy.map(({ peer, step }) => `${shortName(peer)} (step ${step})`))
      return {
        state: 'waiting-for-others',
        tone: 'plain',
        because: `Done with its own steps; ${busy.length === 0 ? 'it settles the end with the others' : `${names} still ${busy.length === 1 ? 'trains' : 'train'}`}.`,
        since,
        next: 'It waits a minute at the most, then ends with what it has.',
        advice: [],
      }
    }
    default:
      return { state: 'waiting', tone: 'plain', because: `Waiting for ${words}.`, since, advice: [], ...about }
  }
}

/** What is needed is at no peer that this one sees. */
function nobodyHas(facts: Facts, because: string, since: number): Explanation {
  const { network } = facts
  const alone = network === undefined || network.connected.length === 0
  const why = alone ? whyAlone(facts) : undefined
  return {
    state: 'waiting-for-holder',
    tone: 'warn',
    because: why === undefined ? `${because}.` : `${because}; ${why.because}.`,
    since,
    next: 'It looks again every second.',
    advice:
      why === undefined || why.advice.length === 0
        ? ['Start a peer of the run that has it, or wait until one comes back.']
        : why.advice,
  }
}

/** No step was finished for long. */
function stall({ situation, node, now }: Facts): Explanation | undefined {
  const { step } = situation
  if (step === undefined || node?.phase !== 'training' || situation.ended !== undefined) return undefined
  if (now - step.time < Math.max(STALLED_LEAST, STALLED_FACTOR * step.milliseconds)) return undefined
  return {
    state: 'stalled',
    tone: 'warn',
    because: `The last training step was ${ago(now, step.time)}; one usually takes ${formatDuration(step.milliseconds / 1_000)}.`,
    since: step.time,
    next: 'Training goes on as soon as the trainer thread gets the processor.',
    advice: ['Look whether the machine is overloaded, swaps or was asleep: starling doctor'],
  }
}

const join = ({ node }: Pick<Facts, 'node'>): string =>
  node === undefined || node.link === '' ? '' : `Others join with: starling join '${node.link}'`

function alone(facts: Facts): Explanation {
  const { situation, network, node, now } = facts
  const { departed, begun, joined } = situation
  const company = departed !== undefined || joined?.donor !== undefined || (network?.bootstrap.length ?? 0) > 0
  const advice = [join({ node })].filter((line) => line !== '')
  const common = { state: 'alone' as const, next: 'It trains on by itself; others take over its state when they come.' }
  if (node?.strategy === 'pipeline' && node.pipeline?.flow === undefined) {
    return {
      state: 'waiting-for-stage',
      tone: 'warn',
      because: 'The stages of a pipeline are for several peers, and nobody else of the run is in view.',
      since: departed?.time ?? begun,
      next: 'Stages are given out as soon as there are peers with room for all of them.',
      advice: [...outside(network), ...advice],
    }
  }
  if (!company) {
    const away = turnedAway(facts)
    const others = away.because.length === 0 ? '' : `; ${away.because.join('; ')}`
    return {
      ...common,
      tone: away.because.length === 0 ? 'plain' : 'warn',
      because: `It is the first peer of the run, and nobody has joined yet${others}.`,
      since: begun,
      advice: [...away.advice, ...outside(network), ...advice],
    }
  }
  const why = whyAlone(facts)
  const left =
    departed === undefined
      ? ''
      : ` ${shortName(departed.peer)} ${departed.reason === 'leaving' ? 'left' : 'fell silent'} ${ago(now, departed.time)};`
  return {
    ...common,
    tone: 'warn',
    because: `Nobody else of the run is in view:${left} ${why.because}.`,
    since: departed?.time ?? begun,
    advice: [...why.advice, ...advice],
  }
}

/** What keeps others from dialling this node. */
function outside(network: Facts['network']): string[] {
  const reach = network?.reachability
  if (reach?.state !== 'private') return []
  return [[reach.reason, reach.advice].filter((text) => text !== undefined).join('; ')].filter((text) => text !== '')
}

/** In company, and at work. */
function working(facts: Facts): Explanation {
  const { situation, node, others, network, now } = facts
  const { skipped, exchanged } = situation
  const at = `Step ${node?.step ?? 0} of ${node?.steps ?? 0}`
  const company = `${count(others.length, 'other peer')} in view`
  const plain = { tone: 'good' as const, advice: [] as string[] }
  const { pipeline } = node ?? {}
  if (pipeline !== undefined || node?.strategy === 'pipeline') {
    const stages = pipeline?.stages ?? []
    const since = situation.trainer.since
    if (stages.length === 0) {
      const because = `A spare peer: all stages are held by others. ${company}.`
      return { ...plain, state: 'spare', because, since, next: 'It takes over the stage of a peer that goes.' }
    }
    return { ...plain, state: 'training', because: `${at}; holds ${describeStages(stages)}; ${company}.`, since }
  }
  if (skipped !== undefined) {
    const { partner, reason, round, inRow } = skipped
    const whom = partner === undefined ? '' : ` with ${shortName(partner)}`
    const often = inRow > 1 ? `, the ${ordinal(inRow)} in a row` : ''
    const bad = inRow >= OFTEN_SKIPPED && reason !== 'no-partner'
    return {
      state: 'standing-out',
      tone: bad ? 'warn' : 'plain',
      because: `${at}, on its own since round ${round}: no exchange${whom}, because ${whySkipped(reason)}${often}.`,
      since: skipped.time,
      next: 'Training goes on; the next round has another partner.',
      advice: bad ? advise(reason) : [],
      ...(partner === undefined ? {} : { about: partner }),
    }
  }
  const last =
    exchanged === undefined
      ? ''
      : `; exchanged with ${shortName(exchanged.partner)} in round ${exchanged.round}, ${ago(now, exchanged.time)}`
  const cut = network !== undefined && network.connected.length === 0
  return {
    state: 'training',
    tone: cut ? 'warn' : 'good',
    because: `${at}${last}; ${company}${cut ? ', but no connection is open' : ''}.`,
    since: situation.trainer.since,
    advice: [],
  }
}

/** What to do where exchanges fail for the same reason again and again. */
function advise(reason: NonNullable<Facts['situation']['skipped']>['reason']): string[] {
  switch (reason) {
    case 'partner-late':
    case 'partner-ahead':
      return [
        'The peers differ much in speed: more innerSteps, or a longer partnerTimeout in run.yaml, evens that out.',
      ]
    case 'view-mismatch':
      return ['The peers see different members: look at their connections with: starling peers']
    case 'bad-tensor':
    case 'too-far':
      return ['What others send is refused; see who with: starling events. An allow-list keeps liars out.']
    default:
      return ['Look at the connections with: starling peers']
  }
}

function finished({ situation, node, others, now }: Facts): Explanation {
  const busy = others.filter(({ phase }) => phase === 'training').length
  return {
    state: 'finished',
    tone: 'good',
    because: `All ${node?.steps ?? 0} steps are done.${busy > 0 ? ` ${count(busy, 'other peer')} still ${busy === 1 ? 'trains' : 'train'}, and can have its state.` : ''}`,
    since: situation.ended ?? now,
    next: 'It serves its state and the page until it is stopped.',
    advice: ['The model is in final/ of the data folder; try: starling generate'],
  }
}

const ordinal = (n: number): string =>
  `${n}${['th', 'st', 'nd', 'rd'][n % 100 > 10 && n % 100 < 14 ? 0 : n % 10] ?? 'th'}`
