/**
 * One address for the page of a swarm of containers: forwards connections to one of the peers, and to another when that one is gone.
 *
 *     node page.js     listens on 7401, forwards to port 7401 of whatever the name "peer" resolves to
 *
 * All connections go to the same peer as long as it takes them: a page is a picture of what one node sees.
 */
import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

const SERVICE = 'peer'
const PORT = 7401

/** Where the peers keep the token of their API. */
const TOKEN = '/run/starling/token'

/** Connections at one time; each costs two sockets. */
const MAX_CONNECTIONS = 256

/** Milliseconds for a peer on the same machine to take a connection. */
const CONNECT_TIMEOUT = 2_000

/** Milliseconds between two looks for the token. */
const TOKEN_PAUSE = 500

/** The peer that is forwarded to. */
let chosen

/** The addresses to try, the chosen one first. */
async function candidates() {
  const found = await lookup(SERVICE, { all: true, family: 4 })
  const addresses = found.map(({ address }) => address)
  return addresses.includes(chosen) ? [chosen, ...addresses.filter((address) => address !== chosen)] : addresses
}

/** A connection to a peer. Throws when none takes one. */
async function reach() {
  let last = new Error(`${SERVICE} has no address`)
  for (const address of await candidates()) {
    const socket = connect({ host: address, port: PORT })
    try {
      await once(socket, 'connect', { signal: AbortSignal.timeout(CONNECT_TIMEOUT) })
      if (address !== chosen) console.log(`page: shown by the peer at ${address}`)
      chosen = address
      return socket
    } catch (error) {
      socket.destroy()
      last = error
    }
  }
  throw last
}

const server = createServer(async (client) => {
  client.on('error', () => client.destroy()) // a browser that went away; the other half is destroyed below
  try {
    const peer = await reach()
    peer.on('error', () => client.destroy()) // a peer that died: the browser asks again and gets another
    client.on('close', () => peer.destroy())
    peer.on('close', () => client.destroy())
    client.pipe(peer).pipe(client)
  } catch (error) {
    console.error(`page: no peer could be reached: ${error.message}`)
    client.destroy()
  }
})
server.maxConnections = MAX_CONNECTIONS
server.listen(PORT)
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => process.exit(0))

let token
while (token === undefined) {
  try {
    token = (await readFile(TOKEN, 'utf8')).trim() || undefined
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
  }
  if (token === undefined) await sleep(TOKEN_PAUSE)
}
console.log(`page: ${process.env.STARLING_PAGE ?? `http://localhost:${PORT}`}/?token=${token}`)
