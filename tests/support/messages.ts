/** What a test and the process of a daemon say to each other. */
export interface PeerRequest {
  id: number
  what: 'status' | 'peers' | 'events' | 'generate' | 'stop'
  options?: unknown
}

export type PeerReply =
  | { kind: 'ready'; peer: string; link: string; page: string }
  | { kind: 'finished' }
  | { kind: 'broken'; code: string; message: string }
  | { kind: 'answer'; id: number; value: unknown }
  | { kind: 'failed'; id: number; message: string }
