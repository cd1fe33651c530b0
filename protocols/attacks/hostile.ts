/**
 * A learner that lies in what it sends: the attack zoo in a real peer, for demonstrations and tests. Around each task that encodes theta for others, theta
 * is replaced by what the attack makes of it and put back, so the peer trains and mixes like any other, and every strategy is attacked in the same way.
 */
import type { ComputeContext, ComputeTask, Learner } from '../ports.ts'
import { seededRandom } from '../random.ts'
import { createAttack } from './registry.ts'
import type { Attack, Symmetry } from './types.ts'

/** A task that encodes theta for others, and the vector that it writes. */
export interface Sending {
  task: string
  message: string
}

/** Options of {@link hostileLearner}. */
export interface HostileOptions {
  /** Name, and strength where wanted, e.g. 'sign-flip' or 'alie:1.5'; see {@link createAttack}. */
  attack: string
  /** Seed of its dice. Liars with the same seed and attack stand together. */
  seed: string
  symmetries: readonly Symmetry[]
  sends: readonly Sending[]
  /** Peers in all and liars among them, as far as it knows. */
  crowd(): { peers: number; faulty: number }
}

type AttackArguments = Omit<HostileOptions, 'crowd' | 'sends'> & { peers: number; faulty: number }

/** What a liar remembers, where its parameters live. */
interface Memory {
  attack: Attack
  /** Theta as it was at the last time of sending, and as it is. */
  before: Float32Array
  own: Float32Array
}

/** What liars remember, by where they compute and then by attack and seed: a thread has one liar, and each of a simulation's computes apart. */
const memories = new WeakMap<ComputeContext, Map<string, Memory>>()

/**
 * Replaces theta by what is sent. A real liar does not know the others' models: its own, now and a turn ago, stand for the honest ones. True when what it
 * makes is not finite and so cannot be encoded: then theta is left alone, and the encoded message is to be spoiled.
 */
const attackTask: ComputeTask<AttackArguments, boolean> = {
  name: 'attack',
  run(context, { attack, seed, symmetries, peers, faulty }) {
    const theta = context.float32('theta')
    const key = `${attack} ${seed}`
    const own = theta.slice()
    const known = memories.get(context) ?? new Map<string, Memory>()
    memories.set(context, known)
    const memory = known.get(key) ?? {
      attack: createAttack(attack, { random: seededRandom('attack', seed), symmetries }),
      before: own,
      own,
    }
    known.set(key, { ...memory, before: memory.own, own })
    const message = own.slice()
    memory.attack(message, { honest: [own, memory.own], before: memory.own, peers, faulty })
    if (!message.every(Number.isFinite)) {
      return true
    }
    theta.set(message)
    return false
  },
}

/** Puts theta back. */
const restoreTask: ComputeTask<AttackArguments, null> = {
  name: 'attack-restore',
  run(context, { attack, seed }) {
    const memory = memories.get(context)?.get(`${attack} ${seed}`)
    if (memory !== undefined) {
      context.float32('theta').set(memory.own)
    }
    return null
  },
}

/** Fills an encoded message with ones: not a number in every code with scales or floats. */
const spoilTask: ComputeTask<{ message: string }, null> = {
  name: 'attack-spoil',
  run(context, { message }) {
    context.bytes(message).fill(0xff)
    return null
  },
}

/** All of them, for the trainer thread's table. */
export const attackTasks = [attackTask, restoreTask, spoilTask] as readonly ComputeTask<never, unknown>[]

/** See the head of this file. Throws StarlingError 'bad-option' for an attack that is none. */
export function hostileLearner<L extends Learner>(learner: L, options: HostileOptions): L {
  const { attack, seed, symmetries, sends, crowd } = options
  // Refused now, not at the first message.
  createAttack(attack, { random: seededRandom('attack', seed), symmetries })
  /** Tasks one after the other: nothing may come between the poisoning and the antidote. */
  let last: Promise<unknown> = Promise.resolve()
  const compute: Learner['compute'] = (task, args, signal) => {
    const run = async () => {
      const sending = sends.find((each) => each.task === task.name)
      if (sending === undefined) {
        return learner.compute(task, args, signal)
      }
      const said = { attack, seed, symmetries, ...crowd() }
      const spoils = await learner.compute(attackTask, said)
      try {
        const result = await learner.compute(task, args, signal)
        if (spoils) {
          await learner.compute(spoilTask, { message: sending.message })
        }
        return result
      } finally {
        await learner.compute(restoreTask, said)
      }
    }
    const result = last.then(run)
    last = result.catch(() => undefined)
    return result
  }
  return Object.create(learner, { compute: { value: compute, configurable: true } }) as L
}
