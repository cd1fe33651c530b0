#!/usr/bin/env node
/**
 * A STUN server, as little as a machine behind a router needs to learn how the world sees it (RFC 5389: Binding request and XOR-MAPPED-ADDRESS, over UDP and IPv4). For the lab,
 * which has no way to those of others: `node scripts/lab/stun.js [PORT]` prints "listening" when it is there.
 */
import { createSocket } from 'node:dgram'

/** RFC 5389, sections 6 and 15. */
const HEADER = 20
const COOKIE = 0x2112a442
const BINDING_REQUEST = 0x0001
const BINDING_SUCCESS = 0x0101
const XOR_MAPPED_ADDRESS = 0x0020
const IPV4 = 0x01

/** The answer to a request that came from there, or undefined for what is no request. */
function answer(request, { address, port }) {
  if (request.length < HEADER || request.readUInt16BE(0) !== BINDING_REQUEST || request.readUInt32BE(4) !== COOKIE)
    return undefined
  const response = Buffer.alloc(HEADER + 12)
  response.writeUInt16BE(BINDING_SUCCESS, 0)
  response.writeUInt16BE(12, 2)
  request.copy(response, 4, 4, HEADER) // the cookie and the transaction's id
  response.writeUInt16BE(XOR_MAPPED_ADDRESS, HEADER)
  response.writeUInt16BE(8, HEADER + 2)
  response.writeUInt8(IPV4, HEADER + 5)
  response.writeUInt16BE(port ^ (COOKIE >>> 16), HEADER + 6)
  const number = address.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0)
  response.writeUInt32BE((number ^ COOKIE) >>> 0, HEADER + 8)
  return response
}

const socket = createSocket('udp4')
socket.on('message', (request, from) => {
  const response = answer(request, from)
  if (response !== undefined) socket.send(response, from.port, from.address)
})
socket.bind(Number(process.argv[2] ?? 3478), () => process.stdout.write('listening\n'))
