/** What codes mean, in words that follow a colon or "because". */
import type { ExchangeFailure } from '../../protocols/index.ts'
import type { RejectReason } from '../network/types.ts'

/** Why an exchange did not happen. */
const SKIPPED: Readonly<Record<ExchangeFailure, string>> = {
  'no-partner': 'there was no partner for it',
  'partner-late': 'the partner was late',
  'partner-ahead': 'the partner was in a later round already',
  'partner-lost': 'the partner vanished',
  'view-mismatch': 'the two saw different members',
  'bad-tensor': 'what the partner sent was refused',
  'too-far': 'the model of the partner was farther away than an honest one can be',
  aborted: 'it was stopped meanwhile',
}

/** Why something of a peer was refused; the protocols above the network have more codes, which are read as they stand. */
const REFUSED: Readonly<Record<RejectReason | 'bad-tensor' | 'too-far', string>> = {
  banned: 'it is refused for a while after proven faults',
  'not-admitted': 'the run does not admit it',
  'other-run': 'it is of another run',
  'no-protocol': "it does not speak Starling's protocol",
  'other-version': "it speaks another version of Starling's protocol",
  'malformed-frame': 'it cannot be read',
  'too-large': 'it is too large',
  'too-many-questions': 'too many questions at once',
  'too-slow': 'it comes too slowly',
  'rate-limit': 'too much in a short time',
  'invalid-message': 'the message is not valid',
  fault: 'a proven fault',
  'gossip-score': 'too many bad messages',
  'address-limit': 'too many connections from its address',
  'connection-rate': 'too many new connections from its address',
  'no-room': 'all places are taken',
  'bad-tensor': 'its values cannot be used',
  'too-far': 'it is farther away than an honest one can be',
}

/** Why an exchange did not happen; newer peers may know reasons that this build does not. */
export function whySkipped(reason: string): string {
  return (SKIPPED as Readonly<Record<string, string>>)[reason] ?? readAsWords(reason)
}

/** Why something was refused. */
export function whyRefused(reason: string): string {
  return (REFUSED as Readonly<Record<string, string>>)[reason] ?? readAsWords(reason)
}

const readAsWords = (code: string): string => code.replaceAll('-', ' ')
