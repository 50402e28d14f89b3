// How much of a packet frame is left for a packet: the limit that the configuration's check, the doctor and the native refusal share.
// Guarantees: the same numbers as native/ports/interface_check.h, which has the last word; a test compares the two.
// Thread: any; no state.

/** Bytes of a frame besides the IP packet: XDP_PACKET_HEADROOM, Ethernet header, two VLAN tags. */
export const FRAME_OVERHEAD = 256 + 14 + 2 * 4;

/** The largest MTU whose packets fit in one frame of this many bytes. */
export function largestMtu(frameSize: number): number {
  return frameSize - FRAME_OVERHEAD;
}
