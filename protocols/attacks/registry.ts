/** Attacks by name, as a test peer's command line gives them. */
import { StarlingError } from '../errors.ts'
import { freeRider, hugeNorm, notANumber, staleReplay } from './broken.ts'
import { innerProduct, littleIsEnough, noise, signFlip } from './models.ts'
import { rotation } from './symmetry.ts'
import type { Attack, AttackDefinition, AttackModules } from './types.ts'

/** All attacks. */
export const definitions: readonly AttackDefinition[] = [
  signFlip,
  innerProduct,
  littleIsEnough,
  noise,
  notANumber,
  hugeNorm,
  staleReplay,
  rotation,
  freeRider,
]

/**
 * The attack that a text names, 'sign-flip' or, with its strength, 'sign-flip:2'. Throws StarlingError 'bad-option' with what is allowed.
 *
 * @example
 * const attack = createAttack('alie:1.5', { random: seededRandom('attacker', 1), symmetries: [] })
 * attack(message, { honest: [message.slice(), ...received], before, peers: 13, faulty: 3 })
 */
export function createAttack(text: string, modules: AttackModules): Attack {
  const [name, given, ...rest] = text.split(':')
  const definition = definitions.find((attack) => attack.name === name)
  if (definition === undefined || rest.length > 0) {
    const allowed = definitions.map((attack) => attack.name)
    throw new StarlingError('bad-option', `attack: '${text}' is none of ${allowed.join(', ')}`, {
      value: text,
      allowed,
    })
  }
  const { least, meaning, default: usual } = definition.strength
  const strength = given === undefined ? usual : given.trim() === '' ? Number.NaN : Number(given)
  if (!(Number.isFinite(strength) && strength >= least)) {
    const message = `attack ${name}: the strength (${meaning}) must be a number from ${least}, not '${given}'`
    throw new StarlingError('bad-option', message, { value: text })
  }
  return definition.create(strength, modules)
}
