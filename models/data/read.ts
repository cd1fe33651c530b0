/** Reads data files whole, with errors that name the file. */
import { readFile, stat } from 'node:fs/promises'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { ModelError } from '../errors.ts'
import { MAX_DATA_BYTES } from './spec.ts'

const inflate = promisify(gunzip)

/**
 * The bytes of a file, or the bytes themselves if that is what is given.
 * @throws ModelError 'file-missing', 'file-unreadable', 'file-empty', 'file-too-large', or 'file-size' when it is not as long as the run says.
 */
export async function readBytes(
  source: Uint8Array | string,
  options: { name: string; size?: number | undefined; signal?: AbortSignal | undefined },
): Promise<Uint8Array> {
  const place = typeof source === 'string' ? source : options.name
  options.signal?.throwIfAborted()
  let bytes: Uint8Array
  if (typeof source === 'string') {
    try {
      const facts = await stat(source)
      if (!facts.isFile()) throw new ModelError('file-unreadable', `${place} is not a file`, { file: place })
      if (facts.size > MAX_DATA_BYTES) {
        const message = `${place} holds ${facts.size} bytes; at most ${MAX_DATA_BYTES} can be read`
        throw new ModelError('file-too-large', message, { file: place, bytes: facts.size })
      }
      bytes = await readFile(source, { ...(options.signal && { signal: options.signal }) })
    } catch (error) {
      if (error instanceof ModelError) throw error
      options.signal?.throwIfAborted()
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOENT' || code === 'ENOTDIR') {
        throw new ModelError('file-missing', `${place} does not exist`, { file: place }, { cause: error })
      }
      throw new ModelError('file-unreadable', `${place} cannot be read (${code})`, { file: place }, { cause: error })
    }
  } else bytes = source
  if (bytes.length === 0) throw new ModelError('file-empty', `${place} is empty`, { file: place })
  if (options.size !== undefined && bytes.length !== options.size) {
    throw new ModelError('file-size', `${place} holds ${bytes.length} bytes, but the run says ${options.size}`, {
      file: place,
      bytes: bytes.length,
      expected: options.size,
    })
  }
  return bytes
}

/**
 * Unpacks gzip if the bytes start with its magic number; never more than `limit` bytes.
 * @throws ModelError 'bad-gzip'
 */
export async function unpack(bytes: Uint8Array, name: string, limit: number = MAX_DATA_BYTES): Promise<Uint8Array> {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes
  try {
    return await inflate(bytes, { maxOutputLength: limit })
  } catch (error) {
    const why = (error as Error).message
    throw new ModelError('bad-gzip', `${name} cannot be unpacked (${why})`, { file: name }, { cause: error })
  }
}

/** Bytes per look and number of looks at a long file. */
const LOOK = 65_536
const LOOKS = 16

/**
 * Refuses what is not text: NUL bytes, or more than a tenth of bytes that are control characters or not UTF-8. Long files are looked at in
 * 16 places. UTF-16 is named, because editors still write it.
 * @throws ModelError 'not-text' with the offset of the first such byte.
 */
export function checkText(bytes: Uint8Array, name: string): void {
  const start = (bytes[0]! << 8) | (bytes[1] ?? 0)
  if (start === 0xfffe || start === 0xfeff) {
    throw new ModelError('not-text', `${name} is UTF-16 text; save it as UTF-8`, { file: name, offset: 0 })
  }
  let seen = 0
  let bad = 0
  let first = -1
  for (let look = 0; look < LOOKS; look++) {
    const from = bytes.length <= LOOK * LOOKS ? look * LOOK : Math.floor(((bytes.length - LOOK) * look) / (LOOKS - 1))
    const to = Math.min(from + LOOK, bytes.length)
    if (from >= to) break
    for (let at = from; at < to; ) {
      const byte = bytes[at]!
      if (byte === 0) {
        const message = `${name} is not text: byte ${at} is NUL`
        throw new ModelError('not-text', message, { file: name, offset: at })
      }
      const length = characterLength(bytes, at)
      // A look may begin or end inside a character.
      const cut = at < from + 3 || at >= to - 3
      if (length === 0 && !cut) {
        bad++
        if (first < 0) first = at
      }
      seen++
      at += Math.max(1, length)
    }
  }
  if (bad > seen / 10) {
    const share = Math.round((100 * bad) / seen)
    throw new ModelError(
      'not-text',
      `${name} is not UTF-8 text: ${share} % of it cannot be read as characters, the first at byte ${first}`,
      { file: name, offset: first, share: bad / seen },
    )
  }
}

/** Bytes of the UTF-8 character at `at`, or 0 if there is none or it is a control character other than white space. */
function characterLength(bytes: Uint8Array, at: number): number {
  const byte = bytes[at]!
  if (byte < 0x80)
    return byte >= 0x20 ? (byte === 0x7f ? 0 : 1) : (byte >= 0x09 && byte <= 0x0d) || byte === 0x1b ? 1 : 0
  const length = byte >= 0xf0 && byte < 0xf5 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc2 ? 2 : 0
  if (byte >= 0xf5 || length === 0) return 0
  for (let i = 1; i < length; i++) if (((bytes[at + i] ?? 0) & 0xc0) !== 0x80) return 0
  return length
}
