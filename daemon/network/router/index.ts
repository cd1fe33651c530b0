/** The router of this network: finding it, and having it forward ports to this node (UPnP, NAT-PMP). */
export { type Forwarded, PortForwarding, type RouterReport } from './port-forwarding.ts'
