// What follows from a forwarding mode, for the rules of the configuration and for its translation.
// Guarantees: agrees with native/sessions/forward_mode.h.
// Thread: any; no state.

/** As the configuration names them. */
export const FORWARD_MODES = ['fullnat', 'nat', 'direct', 'ipip', 'gre', 'gue', 'l3dsr'] as const;
export type ForwardMode = (typeof FORWARD_MODES)[number];

/** The balancer speaks to the server from a local address: as itself, or as the near end of a tunnel. */
export function usesLocalAddress(mode: ForwardMode): boolean {
  return mode === 'fullnat' || isTunnel(mode);
}

export function isTunnel(mode: ForwardMode): boolean {
  return mode === 'ipip' || mode === 'gre' || mode === 'gue';
}

/** The server receives the port that the client asked for. */
export function keepsPort(mode: ForwardMode): boolean {
  return mode !== 'fullnat' && mode !== 'nat';
}

/** Client and server must be of one address family. */
export function keepsFamily(mode: ForwardMode): boolean {
  return !usesLocalAddress(mode);
}
