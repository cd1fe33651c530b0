/** How this program was called, so that a command that it suggests can be pasted as it is. */
import { readFileSync } from 'node:fs'
import { basename, relative } from 'node:path'

/** `starling`, `npx starling` under npm, or `node bin/starling.js`. */
export function programName(
  argv: readonly string[] = process.argv,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): string {
  if (environment.npm_lifecycle_event !== undefined) return 'npx starling'
  const script = argv[1] ?? ''
  if (!/\.js$/.test(script)) return basename(script) || 'starling'
  return `node ${relative(process.cwd(), script)}`
}

/** Version in package.json, three folders above the compiled file. */
export function version(): string {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
