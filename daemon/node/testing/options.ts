import type { NodeOptions } from '../../types.ts'

/** Options of a node that keeps to this machine: ports of its own choice, no discovery, one thread. */
export function localOptions(dataFolder: string, more: Partial<NodeOptions> = {}): NodeOptions {
  return {
    dataFolder,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    announce: [],
    bootstrap: [],
    mdns: false,
    resume: false,
    api: { host: '127.0.0.1', port: 0 },
    threads: 1,
    local: {},
    ...more,
  }
}
