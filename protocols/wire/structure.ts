/**
 * A look at the skeleton of CBOR bytes before anything is built from them: no allocation, no recursion into strings, one pass.
 * RFC 8949, sections 3 and 4.2 (deterministic encoding).
 */

/** What the bytes may hold at most. */
export interface StructureLimits {
  /** Nesting of arrays and maps. */
  maxDepth: number
  /** Values in all, map keys included. */
  maxItems: number
}

/**
 * Says what is wrong with the skeleton, or undefined when it is a single well-formed value within the limits, with minimal
 * lengths, definite sizes, no tags, no `undefined` and text keys only.
 */
export function structureFault(bytes: Uint8Array, limits: StructureLimits): string | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  // Values still to come at each depth; at most maxDepth + 1 entries. A map counts key and value as two.
  const pending: number[] = [1]
  const maps: boolean[] = [false]
  let position = 0
  let items = 0

  while (pending.length > 0) {
    const level = pending.length - 1
    const left = pending[level] as number
    if (left === 0) {
      pending.pop()
      maps.pop()
      continue
    }
    pending[level] = left - 1
    if (++items > limits.maxItems) {
      return `more than ${limits.maxItems} values`
    }
    if (position >= bytes.length) {
      return 'it ends too early'
    }
    const head = bytes[position++] as number
    const major = head >> 5
    const minor = head & 31
    if (maps[level] === true && left % 2 === 0 && major !== 3) {
      return 'a map key is not text'
    }
    if (major === 7) {
      // false, true, null and double floats; the encoder writes no other simple value.
      if (minor === 20 || minor === 21 || minor === 22) {
        continue
      }
      if (minor !== 27) {
        return 'it holds a simple value or a short float'
      }
      if (position + 8 > bytes.length) {
        return 'it ends too early'
      }
      if (!Number.isFinite(view.getFloat64(position))) {
        return 'it holds a number that is not finite'
      }
      position += 8
      continue
    }
    let value = minor
    if (minor >= 24) {
      if (minor > 27) {
        return 'a length is indefinite or reserved'
      }
      const width = 1 << (minor - 24)
      if (position + width > bytes.length) {
        return 'it ends too early'
      }
      if (width === 1) {
        value = view.getUint8(position)
      } else if (width === 2) {
        value = view.getUint16(position)
      } else if (width === 4) {
        value = view.getUint32(position)
      } else {
        value = Number(view.getBigUint64(position))
        if (value > Number.MAX_SAFE_INTEGER) {
          return 'a whole number is above 2^53 - 1'
        }
      }
      const smallest = width === 1 ? 24 : 2 ** (4 * width)
      if (value < smallest) {
        return 'a whole number is not in its shortest form'
      }
      position += width
    }
    if (major === 6) {
      return 'it holds a tag'
    }
    if (major === 2 || major === 3) {
      if (value > bytes.length - position) {
        return 'it ends too early'
      }
      position += value
    } else if (major === 4 || major === 5) {
      const count = major === 5 ? value * 2 : value
      // Every value takes at least one byte, so a larger count is a lie and nothing is built for it.
      if (count > bytes.length - position) {
        return 'it ends too early'
      }
      if (pending.length > limits.maxDepth) {
        return `nested deeper than ${limits.maxDepth}`
      }
      pending.push(count)
      maps.push(major === 5)
    }
  }
  return position === bytes.length ? undefined : 'there are bytes after its end'
}
