// What operators of IPVS, keepalived or DPVS will look for and this version does not have. A key of that kind is refused with the
// reason and the way out, not reported as a spelling mistake. docs/not-yet.md says the same at length.
// Thread: any; no state.

/** Why a key is not there, and what to do instead. */
export interface NotYet {
  readonly reason: string;
  readonly remedy: string;
}

const synProxy: NotYet = {
  reason:
    'the SYN proxy is not part of this version: SYNs go to the servers, and a half-open session lives for timeouts.tcp.synRecv',
  remedy: 'remove the key; switch on SYN cookies on the servers and keep timeouts.tcp.synRecv short',
};
const sessionSync: NotYet = {
  reason: 'sessions are not synchronised between nodes in this version: a node that takes over knows none of them',
  remedy: 'remove the key; a hashing scheduler (mh, sh) sends clients of every node to the same servers',
};
const ftpHelper: NotYet = {
  reason: 'the FTP helper is not part of this version: data connections of FTP are not followed',
  remedy: 'remove the key; use passive mode with a port range of the servers as a service of its own, and persistence',
};
const persistenceEngine: NotYet = {
  reason: 'persistence engines (SIP call ids) are not part of this version: persistence goes by client address',
  remedy: 'remove the key; use persistence by client address, or the scheduler quic-cid for QUIC',
};
/** Not missing, but under another name. */
const clientAddress: NotYet = {
  reason: 'how servers learn the address of the client is said by the key clientAddress of a service',
  remedy: 'write clientAddress with the method toa, uoa, proxy-v1 or proxy-v2',
};

/** By key, in small letters, without hyphens and underscores. */
const KEYS: Readonly<Record<string, NotYet>> = {
  synproxy: synProxy,
  synproxydefer: synProxy,
  syncookies: synProxy,
  sync: sessionSync,
  sessionsync: sessionSync,
  syncdaemon: sessionSync,
  lvssyncdaemon: sessionSync,
  connsync: sessionSync,
  ftp: ftpHelper,
  ftphelper: ftpHelper,
  helper: ftpHelper,
  helpers: ftpHelper,
  pe: persistenceEngine,
  pename: persistenceEngine,
  persistenceengine: persistenceEngine,
  sip: persistenceEngine,
  toa: clientAddress,
  uoa: clientAddress,
  proxyprotocol: clientAddress,
};

/** What is said of a key that this version does not have yet; nothing of any other. */
export function notYet(key: string): NotYet | undefined {
  const plain = key.toLowerCase().replace(/[-_]/g, '');
  return Object.hasOwn(KEYS, plain) ? KEYS[plain] : undefined;
}
