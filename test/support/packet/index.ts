// Packets for tests in one import: builder, decoder, captures. Runs in tests only.

export { ipBytes, ipText, isIpv6, macBytes, macText } from './address.js';
export * from './builder.js';
export { type DecodedPacket, decodePacket, describePacket, diffPackets } from './decoder.js';
export { type CapturedPacket, decodePcap, encodePcap, readPcap, writePcap } from './pcap.js';
export * from './tcp-options.js';
