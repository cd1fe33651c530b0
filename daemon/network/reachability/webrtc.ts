/** Nodes of this process that use WebRTC. */
let users = 0

/**
 * Notes that a node uses WebRTC; returns what to call when it has stopped. The native part keeps attempts that were cut short, and with them the process,
 * until it is told to clean up, which ends every node's connections.
 */
export function useWebRtc(): () => Promise<void> {
  users++
  let used = true
  return async () => {
    if (!used) return
    used = false
    users--
    if (users > 0) return
    const { cleanup } = await import('node-datachannel')
    cleanup()
  }
}
