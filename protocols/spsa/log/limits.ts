/** Bounds that the wire, the disk and the memory share. */

/**
 * Most contributions of one author in a run. A proof holds at most two histories of one author; with this it stays below 1 MiB, which one
 * answer and one record carry. The longest runs of MeZO (Malladi et al. 2023, appendix D) have 100,000 steps on one machine.
 */
export const MAX_STEPS = 2 ** 19 - 1024

/** Longest name of an author, characters. A peer id has 52. */
export const MAX_NAME = 64

/** Names that can stand in a message and in the key of a record. */
export const AUTHOR_NAME = /^[0-9A-Za-z_-]{1,64}$/

/** Whether that text can be the name of an author. */
export function isAuthorName(name: string): boolean {
  return AUTHOR_NAME.test(name)
}

/** The byte that is no contribution: minus zero. */
export const NO_CONTRIBUTION = 0x80
