/** One daemon in a process of its own, told what to do over the process channel by tests/support/peers.ts. */

import type { NodeOptions } from '../../daemon/index.ts'
import { createLog, startNode } from '../../daemon/index.ts'
import type { PeerReply, PeerRequest } from './messages.ts'

const say = (message: PeerReply): void => {
  // Nobody listens any more when the test is over.
  if (process.connected) process.send?.(message, undefined, undefined, () => {})
}
const options = JSON.parse(process.argv[2] as string) as Omit<NodeOptions, 'manifest'> & { manifest?: string }
const { manifest, ...rest } = options
const stop = new AbortController()
process.on('disconnect', () => stop.abort())

try {
  const node = await startNode(
    { ...rest, ...(manifest === undefined ? {} : { manifest: Buffer.from(manifest, 'base64') }) },
    {
      signal: stop.signal,
      log: createLog({ format: 'human', level: process.argv[3] as 'debug' | 'info', colour: false }),
    },
  )
  process.on('message', async ({ id, what, options }: PeerRequest) => {
    try {
      if (what === 'status') say({ kind: 'answer', id, value: node.status() })
      else if (what === 'peers') say({ kind: 'answer', id, value: node.peers() })
      else if (what === 'events') say({ kind: 'answer', id, value: node.events() })
      else if (what === 'generate') say({ kind: 'answer', id, value: await node.generate(options as never) })
      else {
        await node.stop('asked by the test')
        say({ kind: 'answer', id, value: null })
        // The channel keeps the process alive as long as it is open.
        process.disconnect()
      }
    } catch (error) {
      say({ kind: 'failed', id, message: String(error) })
    }
  })
  say({ kind: 'ready', peer: node.peer, link: node.status().link, page: node.page })
  node.finished.then(
    () => say({ kind: 'finished' }),
    (error: unknown) => say({ kind: 'broken', code: codeOf(error), message: String(error) }),
  )
} catch (error) {
  say({ kind: 'broken', code: codeOf(error), message: error instanceof Error ? error.message : String(error) })
  process.disconnect()
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'internal'
}
