/** Which running node a command talks to. */
import { resolve } from 'node:path'
import { Option } from 'commander'
import { StarlingError } from '../../protocols/index.ts'
import { type Endpoint, findEndpoints, readEndpoint } from '../api/index.ts'
import { jsonOption } from './options.ts'

/** Folder below which nodes started here keep their data. */
export const HOME = '.starling'

export interface PlaceFlags {
  api?: string
  token?: string
  dataFolder?: string
  json?: true
}

export function placeOptions(): Option[] {
  return [
    new Option('--data-folder <folder>', `data folder of the node (default: the newest running one below ${HOME})`),
    new Option('--api <url>', 'address of its API instead').conflicts('dataFolder'),
    new Option('--token <token>', 'token of that API, where it asks for one'),
    jsonOption(),
  ]
}

/** Throws StarlingError 'usage' for a bad address and 'node-not-running'. */
export function locate(flags: PlaceFlags): Pick<Endpoint, 'url' | 'token'> {
  const token = flags.token === undefined ? {} : { token: flags.token }
  if (flags.api !== undefined) {
    if (!URL.canParse(flags.api) || !/^https?:/.test(flags.api)) {
      throw new StarlingError('usage', `--api ${flags.api} is not an address; it looks like http://127.0.0.1:4000`)
    }
    return { url: new URL('/', flags.api).href, ...token }
  }
  if (flags.dataFolder !== undefined) {
    const endpoint = readEndpoint(resolve(flags.dataFolder))
    if (endpoint !== undefined) return { ...endpoint, ...token }
    throw new StarlingError('node-not-running', `No node runs on the data folder ${flags.dataFolder}`)
  }
  const [newest] = findEndpoints(resolve(HOME))
  if (newest !== undefined) return { ...newest.endpoint, ...token }
  throw new StarlingError(
    'node-not-running',
    `No node runs below ${resolve(HOME)}; name one with --data-folder or --api`,
  )
}
