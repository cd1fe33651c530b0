/** A manifest's canonical bytes (DAG-CBOR) and the name they give to the run (CID, version 1, SHA-256). */
import * as dagCbor from '@ipld/dag-cbor'
import { CID } from 'multiformats/cid'
import { create as createDigest } from 'multiformats/hashes/digest'
import { StarlingError } from '../errors.ts'
import { equalBytes, HASH_BYTES, sha256 } from '../hash.ts'
import { structureFault } from '../wire/index.ts'
import { type ManifestSchema, manifestError } from './manifest.ts'

/** Most bytes of a manifest: it is fetched in one answer. */
export const MAX_MANIFEST_BYTES = 64 * 1024

/** Multicodec of SHA-256. */
const SHA2_256 = 0x12

/** Nesting and number of values of a manifest. */
const LIMITS = { maxDepth: 16, maxItems: 8192 }

/**
 * The canonical bytes of a checked manifest. Keys are sorted, numbers have one form each and keys without a value are left out, so the
 * same run has the same bytes on every machine. Throws StarlingError 'bad-manifest' when there are more than {@link MAX_MANIFEST_BYTES}.
 */
export function manifestBytes(manifest: object): Uint8Array {
  // A copy: the encoder may return a Buffer, whose slice() shares its memory.
  const bytes = new Uint8Array(dagCbor.encode(plain(manifest)))
  if (bytes.byteLength > MAX_MANIFEST_BYTES) {
    throw new StarlingError(
      'bad-manifest',
      `the manifest has ${bytes.byteLength} bytes, more than ${MAX_MANIFEST_BYTES}`,
      {
        bytes: bytes.byteLength,
      },
    )
  }
  return bytes
}

/** The run's name: the CID of its manifest's bytes, e.g. bafyrei... */
export function runId(bytes: Uint8Array): string {
  return CID.createV1(dagCbor.code, createDigest(SHA2_256, sha256(bytes))).toString()
}

/** What is wrong with a text as the name of a run, or undefined when nothing is. */
export function runIdFault(text: string): string | undefined {
  let cid: CID
  try {
    cid = CID.parse(text)
  } catch {
    return 'it is not a CID'
  }
  if (cid.version !== 1 || cid.code !== dagCbor.code) {
    return 'it is the CID of something else than a manifest'
  }
  if (cid.multihash.code !== SHA2_256 || cid.multihash.digest.byteLength !== HASH_BYTES) {
    return 'it does not use SHA-256'
  }
  return cid.toString() === text ? undefined : 'it is not written in base32'
}

/** Throws StarlingError 'wrong-manifest' unless the bytes are those that the run is named after. */
export function verifyManifest(bytes: Uint8Array, run: string): void {
  if (bytes.byteLength > MAX_MANIFEST_BYTES || runId(bytes) !== run) {
    throw new StarlingError('wrong-manifest', `these bytes are not the manifest of run ${run}`, {
      run,
      bytes: bytes.byteLength,
    })
  }
}

/** The manifest in bytes from anywhere. Throws StarlingError 'bad-manifest' for what is not canonical or does not fit the schema. */
export function decodeManifest<M>(bytes: Uint8Array, schema: ManifestSchema<M>): M {
  const bad = (reason: string): StarlingError =>
    new StarlingError('bad-manifest', `the manifest is not valid: ${reason}`, { reason })
  if (bytes.byteLength > MAX_MANIFEST_BYTES) {
    throw bad(`it has ${bytes.byteLength} bytes, more than ${MAX_MANIFEST_BYTES}`)
  }
  const fault = structureFault(bytes, LIMITS)
  if (fault !== undefined) {
    throw bad(fault)
  }
  let value: unknown
  try {
    value = dagCbor.decode(bytes)
    if (!equalBytes(dagCbor.encode(value), bytes)) {
      throw new TypeError('not in canonical form')
    }
  } catch (error) {
    throw bad(error instanceof Error ? error.message : String(error))
  }
  const checked = schema.check(value)
  if ('manifest' in checked) {
    return checked.manifest
  }
  throw manifestError(checked.problems, () => '')
}

/** The same plain data without keys whose value is undefined, and with 0 for -0. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(plain)
  }
  if (typeof value === 'number') {
    return value === 0 ? 0 : value
  }
  if (typeof value === 'object' && value !== null && !(value instanceof Uint8Array)) {
    return Object.fromEntries(
      Object.entries(value)
        .filter(([, item]) => item !== undefined)
        .map(([key, item]) => [key, plain(item)]),
    )
  }
  return value
}
