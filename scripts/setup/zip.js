/**
 * Takes files out of a zip archive (a Python wheel is one) without unpacking the rest, streaming, so that a library of 800 MB needs
 * no memory. Format: APPNOTE.TXT of PKWARE, sections 4.3.7, 4.3.12 and 4.3.16; stored and deflated entries; no zip64, no encryption.
 */
import { createReadStream, createWriteStream, mkdirSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createInflateRaw } from 'node:zlib'

const END_OF_DIRECTORY = 0x06054b50
const DIRECTORY_ENTRY = 0x02014b50
const LOCAL_HEADER = 0x04034b50

/** Bytes of the record that ends an archive, with the longest comment it may carry. */
const LONGEST_END = 22 + 0xffff

async function readAt(file, position, length) {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, position)
  return buffer.subarray(0, bytesRead)
}

/**
 * Lists an archive.
 * @param {import('node:fs/promises').FileHandle} file
 * @returns {Promise<{ name: string, method: number, packed: number, size: number, header: number }[]>}
 */
async function directory(file) {
  const { size } = await file.stat()
  const tail = await readAt(file, Math.max(0, size - LONGEST_END), Math.min(size, LONGEST_END))
  let end = tail.length - 22
  while (end >= 0 && tail.readUInt32LE(end) !== END_OF_DIRECTORY) end--
  if (end < 0) throw new Error('not a zip archive, or cut short')
  const count = tail.readUInt16LE(end + 10)
  const listing = await readAt(file, tail.readUInt32LE(end + 16), tail.readUInt32LE(end + 12))
  const entries = []
  for (let i = 0, at = 0; i < count; i++) {
    if (listing.length < at + 46 || listing.readUInt32LE(at) !== DIRECTORY_ENTRY) {
      throw new Error('damaged zip directory')
    }
    const name = listing.readUInt16LE(at + 28)
    entries.push({
      name: listing.toString('utf8', at + 46, at + 46 + name),
      method: listing.readUInt16LE(at + 10),
      packed: listing.readUInt32LE(at + 20),
      size: listing.readUInt32LE(at + 24),
      header: listing.readUInt32LE(at + 42),
    })
    at += 46 + name + listing.readUInt16LE(at + 30) + listing.readUInt16LE(at + 32)
  }
  return entries
}

/** Writes one entry to a file and checks that all of it came out. */
async function extractEntry(archive, file, entry, to) {
  if (entry.method !== 0 && entry.method !== 8) throw new Error(`${entry.name} is packed with method ${entry.method}`)
  const header = await readAt(file, entry.header, 30)
  if (header.readUInt32LE(0) !== LOCAL_HEADER) throw new Error(`damaged zip entry ${entry.name}`)
  const start = entry.header + 30 + header.readUInt16LE(26) + header.readUInt16LE(28)
  mkdirSync(dirname(to), { recursive: true })
  let written = 0
  const count = new Transform({
    transform(chunk, _encoding, done) {
      written += chunk.length
      done(null, chunk)
    },
  })
  if (entry.packed > 0) {
    const packed = createReadStream(archive, { start, end: start + entry.packed - 1, highWaterMark: 1 << 20 })
    const unpack = entry.method === 8 ? [createInflateRaw({ chunkSize: 1 << 20 })] : []
    await pipeline([packed, ...unpack, count, createWriteStream(to)])
  }
  if (written !== entry.size) throw new Error(`${entry.name} is cut short: ${written} of ${entry.size} bytes`)
}

/**
 * Extracts the entries that `place` gives a path for.
 * @param {string} archive path of the zip file
 * @param {(name: string) => string | undefined} place where an entry goes; undefined leaves it out
 * @returns {Promise<number>} entries written
 * @throws {Error} when the archive is damaged; files written by then stay
 */
export async function extract(archive, place) {
  const file = await open(archive)
  try {
    let extracted = 0
    for (const entry of await directory(file)) {
      const to = entry.name.endsWith('/') ? undefined : place(entry.name)
      if (to === undefined) continue
      await extractEntry(archive, file, entry, to)
      extracted++
    }
    return extracted
  } finally {
    await file.close()
  }
}
