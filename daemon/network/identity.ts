/** The key of a peer: an Ed25519 private key in the data folder. */
import { randomUUID } from 'node:crypto'
import { chmod, link, mkdir, open, readFile, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { Ed25519PeerId, PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey, peerIdFromString } from '@libp2p/peer-id'
import { type PeerName, StarlingError } from '../../protocols/index.ts'

const KEY_FILE = 'identity.key'

/** A protobuf-wrapped Ed25519 key has 68 bytes; nothing near this limit is one. */
const MAX_KEY_BYTES = 1_024

const SIGNATURE_BYTES = 64

/** The base58 text of an Ed25519 peer id has 52 characters. */
const MAX_NAME = 64

export interface Identity {
  key: PrivateKey
  peer: PeerName
  /** Whether the key was made by this call. */
  created: boolean
}

/** Base58 text of the peer id that belongs to a key. */
export function peerNameOf(key: PrivateKey): PeerName {
  return peerIdFromPrivateKey(key).toString()
}

/**
 * Whether the peer of that name signed `data`. False for anything malformed and for names in another spelling than {@link peerNameOf}'s, or one
 * key could pass for several peers.
 */
export async function verifySignature(peer: PeerName, data: Uint8Array, signature: Uint8Array): Promise<boolean> {
  const id = parsePeerName(peer)
  return id !== undefined && signature.byteLength === SIGNATURE_BYTES && (await id.publicKey.verify(data, signature))
}

/** The peer id with its key; undefined for what is no Ed25519 peer's name. */
function parsePeerName(peer: PeerName): Ed25519PeerId | undefined {
  if (peer.length > MAX_NAME) return undefined
  try {
    const id = peerIdFromString(peer)
    return id.type === 'Ed25519' && id.toString() === peer ? id : undefined
  } catch {
    // What the library cannot read, whatever it throws.
    return undefined
  }
}

/**
 * Reads the folder's key file, or makes it (mode 600) when there is none. A file that cannot be read or is no Ed25519 key is an error,
 * 'bad-identity', and never replaced: with the key the peer would lose its name and its place in allow-lists.
 */
export async function loadOrCreateIdentity(folder: string): Promise<Identity> {
  const path = join(folder, KEY_FILE)
  const bytes = await readKey(path)
  if (bytes !== undefined) return { ...parseKey(path, bytes), created: false }
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const key = await generateKeyPair('Ed25519')
  if (!(await writeKey(folder, path, privateKeyToProtobuf(key)))) return loadOrCreateIdentity(folder)
  return { key, peer: peerNameOf(key), created: true }
}

async function readKey(path: string): Promise<Uint8Array | undefined> {
  try {
    const { size, mode } = await stat(path)
    if (size > MAX_KEY_BYTES) throw badIdentity(path, `it has ${size} bytes`)
    const bytes = await readFile(path)
    // A key that others can read is still ours: close it again rather than refuse to start.
    if ((mode & 0o077) !== 0) await chmod(path, 0o600)
    return bytes
  } catch (error) {
    if (error instanceof StarlingError) throw error
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw badIdentity(path, `it cannot be read: ${(error as Error).message}`, error)
  }
}

function parseKey(path: string, bytes: Uint8Array): { key: PrivateKey; peer: PeerName } {
  let key: PrivateKey
  try {
    key = privateKeyFromProtobuf(bytes)
  } catch (error) {
    throw badIdentity(path, 'it is not a private key', error)
  }
  if (key.type !== 'Ed25519') throw badIdentity(path, `it holds a key of type ${key.type}`)
  return { key, peer: peerNameOf(key) }
}

/** Writes beside and links into place, so that the file is whole or absent; false when another process was first. */
async function writeKey(folder: string, path: string, bytes: Uint8Array): Promise<boolean> {
  const temporary = join(folder, `${KEY_FILE}.${randomUUID()}`)
  const file = await open(temporary, 'wx', 0o600)
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
  try {
    await link(temporary, path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw badIdentity(path, `it cannot be written: ${(error as Error).message}`, error)
  } finally {
    await unlink(temporary)
  }
}

function badIdentity(path: string, why: string, cause?: unknown): StarlingError {
  const message = `${path} should hold this peer's Ed25519 key, but ${why}. Restore it from a backup, or move it away to start as a new peer.`
  return new StarlingError('bad-identity', message, { path }, { cause })
}
