#!/usr/bin/env node
import { existsSync } from 'node:fs'

const program = new URL('../dist/daemon/cli/main.js', import.meta.url)

if (existsSync(program)) {
  const { main } = await import(program.href)
  process.exitCode = await main(process.argv.slice(2))
} else {
  console.error(
    'starling is not built yet: run "npm run build" in its folder (or "npm ci", which builds it) and try again',
  )
  process.exitCode = 2
}
