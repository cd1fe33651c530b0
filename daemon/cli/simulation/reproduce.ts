/** The one line with which somebody else sees the same. */
import type { Command } from 'commander'

/** Options that do not change what is simulated, or that the line says in its own way. */
const LEFT_OUT = new Set(['json', 'seed', 'seeds', 'cores'])

/** The command as it was given, for one seed. */
export function reproduction(command: Command, seed: number): string {
  const words = ['starling', command.name(), ...command.args]
  for (const option of command.options) {
    const name = option.attributeName()
    if (LEFT_OUT.has(name) || command.getOptionValueSource(name) !== 'cli') continue
    const value: unknown = command.getOptionValue(name)
    for (const each of Array.isArray(value) ? value : [value]) {
      words.push(option.long ?? `--${name}`, ...(each === true ? [] : [String(each)]))
    }
  }
  return [...words, '--seed', String(seed)].map(quoted).join(' ')
}

/** As a shell reads it back. */
function quoted(word: string): string {
  return /^[\w./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}
