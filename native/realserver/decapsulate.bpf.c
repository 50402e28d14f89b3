// SPDX-License-Identifier: Dual BSD/GPL
// The far end of the balancer's tunnels on hosts whose kernel has no tunnel devices: takes IPIP, GRE and GUE off at clsact
// ingress and lets the inner packet go on as if it had come on the wire. Guarantees: only packets for a VIP, from a balancer's
// prefix, to an address of this host and on this very interface (no VLAN tag) are touched; everything else the kernel gets as it
// came. What is dropped is counted with its reason. Congestion marks follow RFC 6040; TTL and DSCP of the inner packet stay (pipe
// model, RFC 2983). Thread: kernel, on the CPU that received the packet.
//
// At tc and not at XDP: here a packet is an skb with the card's verdict on checksums, which the helpers keep right; every device
// can do it, at every MTU, beside XDP programs of others; and a filter set by netlink stays without a process.
#include "ingress.bpf.h"

enum decapsulation_counter {
#define MILLRACE_INGRESS_COUNTER(name, help) COUNT_##name,
#include "decapsulation_counters.def"
#undef MILLRACE_INGRESS_COUNTER
  COUNT_END,
};

enum carrier { CARRIER_IPIP, CARRIER_GRE, CARRIER_GUE0, CARRIER_GUE1 };

#define ACCEPT_IPIP 1
#define ACCEPT_GRE 2
#define ACCEPT_GUE 4

// RFC 2784 2.1, RFC 2890 2
#define GRE_CHECKSUM 0x8000
#define GRE_MUST_BE_ZERO 0x7fff

// draft-ietf-intarea-gue-09 3.1: variant (2 bits), control (1), header length in words beyond the first (5), protocol, flags.
#define GUE_VARIANT_SHIFT 6
#define GUE_CONTROL 0x20
#define GUE_LENGTH_MASK 0x1f

#define ECN_MASK 3
#define ECN_NOT_ECT 0
#define ECN_ECT1 1
#define ECN_ECT0 2
#define ECN_CE 3

// Bytes summed at a time: the kernel's limit for bpf_csum_diff. 128 of them are 64 KiB, the longest packet.
#define CHUNK 512
#define MAX_CHUNKS 128

// Set before loading.
const volatile __u32 accepted = ACCEPT_IPIP;
// Host byte order.
const volatile __u16 gue_port = 6080;

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 4096);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct address);
  __type(value, __u8);
} decap_vips SEC(".maps");

struct prefix {
  // Leading bits that count; 96 more than the IPv4 length for IPv4.
  __u32 length;
  struct address address;
};

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, 1024);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct prefix);
  __type(value, __u8);
} decap_trusted SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, COUNT_END);
  __type(key, __u32);
  __type(value, struct ingress_counter);
} decap_counters SEC(".maps");

struct tunnel {
  struct address source;
  struct address destination;
  // Offsets from the start of the frame.
  __u32 offset;  // of the header behind the outer IP header
  __u32 end;     // of the outer packet, without padding
  __u32 inner;
  __u32 checked;      // where the checksummed bytes begin; 0 if there is no checksum
  __u32 checked_end;  // where they end
  __u32 pseudo_header;
  __u16 checksum;  // as it stands in the packet, raw
  __u8 protocol;
  __u8 outer_tos;
  __u8 outer_is_v6;
  __u8 inner_is_v6;
  __u8 inner_tos;
  __u8 carrier;
  __u8 fragment;
  __u8 later_fragment;
};

struct scratch {
  struct tunnel tunnel;
  __u64 chunk[CHUNK / 8];
};

// What is known about the packet in hand. Not on the stack: there is no room for the chunk, and the verifier would follow every
// combination of values instead of each way once. One per CPU: packets of one CPU never run into each other here.
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct scratch);
} decap_scratch SEC(".maps");

// What was found. Above NOT_OURS: a counter's number.
#define OURS -1
#define NOT_OURS -2

// `bytes` as the packet arrived.
always_inline void count(__u32 index, __u32 bytes) {
  struct ingress_counter* counter = bpf_map_lookup_elem(&decap_counters, &index);
  if (counter == 0) return;
  counter->packets++;
  counter->bytes += bytes;
}

always_inline int drop(struct __sk_buff* skb, __u32 reason) {
  count(reason, skb->len);
  return TC_ACT_SHOT;
}

always_inline int read_outer_v4(struct __sk_buff* skb, struct tunnel* tunnel) {
  struct ipv4_header header;
  if (bpf_skb_load_bytes(skb, ETH_HLEN, &header, sizeof(header)) < 0) return NOT_OURS;
  const __u32 length = (header.version_length & 15) * 4;
  const __u32 total = bpf_ntohs(header.total_length);
  if (header.version_length >> 4 != 4 || length < sizeof(header) || total < length) return NOT_OURS;
  const __u16 fragment = bpf_ntohs(header.fragment);
  tunnel->source = from_ipv4(header.source);
  tunnel->destination = from_ipv4(header.destination);
  tunnel->offset = ETH_HLEN + length;
  tunnel->end = ETH_HLEN + total;
  tunnel->protocol = header.protocol;
  tunnel->outer_tos = header.tos;
  tunnel->fragment = (fragment & IPV4_FRAGMENT_MASK) != 0;
  tunnel->later_fragment = (fragment & IPV4_FRAGMENT_OFFSET_MASK) != 0;
  return OURS;
}

always_inline int read_outer_v6(struct __sk_buff* skb, struct tunnel* tunnel) {
  struct ipv6_header header;
  if (bpf_skb_load_bytes(skb, ETH_HLEN, &header, sizeof(header)) < 0) return NOT_OURS;
  const __u32 first = bpf_ntohl(header.version_class_label);
  if (first >> 28 != 6) return NOT_OURS;
  tunnel->source = from_ipv6(header.source);
  tunnel->destination = from_ipv6(header.destination);
  // These never stand in an IPv6 header; they must not pass for IPv4 prefixes.
  if (is_mapped_ipv4(&tunnel->source) || is_mapped_ipv4(&tunnel->destination)) return NOT_OURS;
  tunnel->end = ETH_HLEN + sizeof(header) + bpf_ntohs(header.payload_length);
  tunnel->outer_tos = (__u8)(first >> 20);
  tunnel->outer_is_v6 = 1;
  // Linux tunnel ends send a destination option with the encapsulation limit (RFC 2473 5.1) unless told not to.
  struct extension_walk walk = {.offset = ETH_HLEN + sizeof(header), .protocol = header.next_header};
  if (walk_extensions(skb, &walk) < 0) return NOT_OURS;
  tunnel->offset = walk.offset;
  tunnel->protocol = walk.protocol;
  tunnel->fragment = walk.fragment;
  tunnel->later_fragment = walk.later_fragment;
  return OURS;
}

always_inline int read_gre(struct __sk_buff* skb, struct tunnel* tunnel) {
  struct {
    __be16 flags;
    __be16 type;
    __u16 checksum;
    __be16 reserved;
  } header = {};
  if (bpf_skb_load_bytes(skb, tunnel->offset, &header, 4) < 0) return COUNT_malformed;
  const __u16 flags = bpf_ntohs(header.flags);
  // A key or a sequence number says that this is another tunnel of the same balancer.
  if ((flags & GRE_MUST_BE_ZERO) != 0) return NOT_OURS;
  if (header.type != bpf_htons(ETH_P_IP) && header.type != bpf_htons(ETH_P_IPV6)) return NOT_OURS;
  tunnel->carrier = CARRIER_GRE;
  tunnel->inner_is_v6 = header.type == bpf_htons(ETH_P_IPV6);
  tunnel->inner = tunnel->offset + 4;
  if ((flags & GRE_CHECKSUM) == 0) return OURS;
  if (bpf_skb_load_bytes(skb, tunnel->offset, &header, sizeof(header)) < 0) return COUNT_malformed;
  tunnel->inner = tunnel->offset + sizeof(header);
  tunnel->checksum = header.checksum;
  tunnel->checked = tunnel->offset;
  tunnel->checked_end = tunnel->end;
  return OURS;
}

// Sum of a UDP pseudo header (RFC 768; RFC 8200 8.1), not folded.
always_inline __u32 pseudo_header_sum(const struct tunnel* tunnel, __u32 udp_length) {
  __u32 words[10];
  __builtin_memcpy(words, &tunnel->source, 16);
  __builtin_memcpy(words + 4, &tunnel->destination, 16);
  // The first twelve bytes of a mapped IPv4 address add ffff, which is zero in this arithmetic.
  words[8] = bpf_htonl(udp_length);
  words[9] = bpf_htonl(IPPROTO_UDP);
  return (__u32)bpf_csum_diff(0, 0, words, sizeof(words), 0);
}

always_inline int read_gue(struct __sk_buff* skb, struct tunnel* tunnel) {
  struct {
    __be16 source;
    __be16 destination;
    __be16 length;
    __u16 checksum;
    __u8 first;
    __u8 protocol;
    __be16 flags;
  } header;
  if (tunnel->later_fragment) return NOT_OURS;
  if (bpf_skb_load_bytes(skb, tunnel->offset, &header, 8) < 0) return NOT_OURS;
  if (header.destination != bpf_htons(gue_port)) return NOT_OURS;
  if (tunnel->fragment) return COUNT_outer_fragment;
  if (bpf_skb_load_bytes(skb, tunnel->offset, &header, sizeof(header)) < 0) return COUNT_malformed;
  const __u32 length = bpf_ntohs(header.length);
  if (length < sizeof(header) || tunnel->offset + length > tunnel->end) return COUNT_malformed;
  tunnel->end = tunnel->offset + length;
  if (header.checksum != 0) {
    tunnel->checksum = header.checksum;
    tunnel->checked = tunnel->offset;
    tunnel->checked_end = tunnel->end;
    tunnel->pseudo_header = pseudo_header_sum(tunnel, length);
  }
  // Variant 1: no header at all; 01 are the first two bits of both IP versions (4.1 of the draft).
  if (header.first >> 4 == 4 || header.first >> 4 == 6) {
    tunnel->carrier = CARRIER_GUE1;
    tunnel->inner_is_v6 = header.first >> 4 == 6;
    tunnel->inner = tunnel->offset + 8;
    return OURS;
  }
  // Flags announce fields that change how the rest is read; private data without a flag (as GLB sends it) can be stepped over.
  if (header.first >> GUE_VARIANT_SHIFT != 0 || (header.first & GUE_CONTROL) != 0 || header.flags != 0) return COUNT_unsupported;
  if (header.protocol != IPPROTO_IPIP && header.protocol != IPPROTO_IPV6) return COUNT_unsupported;
  tunnel->carrier = CARRIER_GUE0;
  tunnel->inner_is_v6 = header.protocol == IPPROTO_IPV6;
  tunnel->inner = tunnel->offset + 8 + 4 + (header.first & GUE_LENGTH_MASK) * 4;
  return OURS;
}

always_inline int read_tunnel(struct __sk_buff* skb, struct tunnel* tunnel) {
  int found = NOT_OURS;
  if (skb->protocol == bpf_htons(ETH_P_IP)) found = read_outer_v4(skb, tunnel);
  if (skb->protocol == bpf_htons(ETH_P_IPV6)) found = read_outer_v6(skb, tunnel);
  if (found != OURS) return found;
  if (tunnel->protocol == IPPROTO_UDP) {
    return (accepted & ACCEPT_GUE) != 0 ? read_gue(skb, tunnel) : NOT_OURS;
  }
  const int is_ipip = tunnel->protocol == IPPROTO_IPIP || tunnel->protocol == IPPROTO_IPV6;
  const int is_gre = tunnel->protocol == IPPROTO_GRE;
  if (!(is_ipip && (accepted & ACCEPT_IPIP) != 0) && !(is_gre && (accepted & ACCEPT_GRE) != 0)) return NOT_OURS;
  if (tunnel->fragment) return COUNT_outer_fragment;
  if (is_gre) return read_gre(skb, tunnel);
  tunnel->carrier = CARRIER_IPIP;
  tunnel->inner_is_v6 = tunnel->protocol == IPPROTO_IPV6;
  tunnel->inner = tunnel->offset;
  return OURS;
}

always_inline int read_inner(struct __sk_buff* skb, struct tunnel* tunnel) {
  struct address destination;
  __u32 end;
  if (tunnel->end > skb->len) return COUNT_malformed;
  if (tunnel->inner_is_v6) {
    struct ipv6_header header;
    if (bpf_skb_load_bytes(skb, tunnel->inner, &header, sizeof(header)) < 0) return COUNT_malformed;
    const __u32 first = bpf_ntohl(header.version_class_label);
    if (first >> 28 != 6) return COUNT_malformed;
    tunnel->inner_tos = (__u8)(first >> 20);
    destination = from_ipv6(header.destination);
    if (is_mapped_ipv4(&destination)) return COUNT_malformed;
    end = tunnel->inner + sizeof(header) + bpf_ntohs(header.payload_length);
  } else {
    struct ipv4_header header;
    if (bpf_skb_load_bytes(skb, tunnel->inner, &header, sizeof(header)) < 0) return COUNT_malformed;
    const __u32 length = (header.version_length & 15) * 4;
    const __u32 total = bpf_ntohs(header.total_length);
    if (header.version_length >> 4 != 4 || length < sizeof(header) || total < length) return COUNT_malformed;
    tunnel->inner_tos = header.tos;
    destination = from_ipv4(header.destination);
    end = tunnel->inner + total;
  }
  if (end > tunnel->end) return COUNT_malformed;
  return bpf_map_lookup_elem(&decap_vips, &destination) == 0 ? NOT_OURS : OURS;
}

always_inline int is_trusted(const struct address* source) {
  struct prefix prefix = {.length = 128, .address = *source};
  return bpf_map_lookup_elem(&decap_trusted, &prefix) != 0;
}

always_inline __u32 fold(__u32 sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}

// One's complement sum of `length` bytes of the packet from `begin` on, folded; -1 if it cannot be read. A global function: the
// verifier looks at it once, for any arguments, and not at its loop again on each of the many ways that lead to it.
__attribute__((noinline)) int sum_bytes(struct __sk_buff* skb, __u32 begin, __u32 length, __u32 start) {
  __u32 zero = 0;
  struct scratch* scratch = bpf_map_lookup_elem(&decap_scratch, &zero);
  if (scratch == 0) return -1;
  __u64* chunk = scratch->chunk;
  __u32 sum = start;
  for (int i = 0; i < MAX_CHUNKS && length >= CHUNK; i++) {
    if (bpf_skb_load_bytes(skb, begin, chunk, CHUNK) < 0) return -1;
    sum = (__u32)bpf_csum_diff(0, 0, (__be32*)chunk, CHUNK, sum);
    begin += CHUNK;
    length -= CHUNK;
  }
  if (length == 0) return (int)fold(sum);
  __builtin_memset(chunk, 0, CHUNK);
  // The same number, in a form from which the verifier of any kernel sees that it is from 1 to CHUNK.
  const __u32 rest = ((length - 1) & (CHUNK - 1)) + 1;
  if (bpf_skb_load_bytes(skb, begin, chunk, rest) < 0) return -1;
  return (int)fold((__u32)bpf_csum_diff(0, 0, (__be32*)chunk, CHUNK, sum));
}

// The checksum field is within the summed bytes, so the sum of a right packet is all ones.
always_inline int is_checksum_right(struct __sk_buff* skb, const struct tunnel* tunnel) {
  // No checksum; or several packets merged by the kernel, which has looked at their checksums before.
  if (tunnel->checked == 0 || skb->gso_size != 0) return 1;
  // Between virtual machines and containers a sender leaves the sum of the pseudo header for a card to complete.
  if (tunnel->pseudo_header != 0 && tunnel->checksum == fold(tunnel->pseudo_header)) return 1;
  return sum_bytes(skb, tunnel->checked, tunnel->checked_end - tunnel->checked, tunnel->pseudo_header) == 0xffff;
}

// RFC 6040 4.2, figure 4: the congestion field that the packet goes on with; -1: it must be dropped.
always_inline int combine_ecn(__u8 outer, __u8 inner) {
  outer &= ECN_MASK;
  inner &= ECN_MASK;
  if (outer == ECN_CE) return inner == ECN_NOT_ECT ? -1 : ECN_CE;
  if (outer == ECN_ECT1 && inner == ECN_ECT0) return ECN_ECT1;
  return inner;
}

always_inline int write_ecn(struct __sk_buff* skb, const struct tunnel* tunnel, int ecn) {
  if ((tunnel->inner_tos & ECN_MASK) == ecn) return 0;
  const __u8 tos = (__u8)((tunnel->inner_tos & ~ECN_MASK) | ecn);
  if (tunnel->inner_is_v6) {
    __u8 head[2];
    if (bpf_skb_load_bytes(skb, ETH_HLEN, head, sizeof(head)) < 0) return -1;
    head[0] = (__u8)((head[0] & 0xf0) | tos >> 4);
    head[1] = (__u8)((head[1] & 0x0f) | tos << 4);
    return (int)bpf_skb_store_bytes(skb, ETH_HLEN, head, sizeof(head), BPF_F_RECOMPUTE_CSUM);
  }
  // The field and the checksum that covers it change together, so what the card summed over both stays right.
  const __u32 checksum = ETH_HLEN + __builtin_offsetof(struct ipv4_header, checksum);
  if (bpf_l3_csum_replace(skb, checksum, bpf_htons(tunnel->inner_tos), bpf_htons(tos), 2) < 0) return -1;
  return (int)bpf_skb_store_bytes(skb, ETH_HLEN + __builtin_offsetof(struct ipv4_header, tos), &tos, 1, 0);
}

// Takes away what stands between the Ethernet header and the inner packet.
always_inline int remove_outer(struct __sk_buff* skb, const struct tunnel* tunnel) {
  __s32 length = (__s32)(tunnel->inner - ETH_HLEN);
  if (tunnel->outer_is_v6 != tunnel->inner_is_v6) {
    // Tells the kernel what it will see. The helper exchanges the outer header for one of the other family, 20 bytes longer or
    // shorter, whose content does not matter: it goes next. Kernels from 6.3 on have flags for this, older ones have only this
    // way.
    if (bpf_skb_change_proto(skb, tunnel->inner_is_v6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP), 0) < 0) return -1;
    length += tunnel->inner_is_v6 ? IPV6_HEADER_LENGTH - IPV4_HEADER_LENGTH : IPV4_HEADER_LENGTH - IPV6_HEADER_LENGTH;
    const __be16 type = tunnel->inner_is_v6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
    if (bpf_skb_store_bytes(skb, ETH_HLEN - sizeof(type), &type, sizeof(type), 0) < 0) return -1;
  }
  // FIXED_GSO: in merged packets the size of the inner segments was noted, which stays. The checksum verdict is reset by the
  // helper because it may have been about the outer header.
  return (int)bpf_skb_adjust_room(skb, -length, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO);
}

SEC("tc")
int millrace_decap(struct __sk_buff* skb) {
  // A tagged frame belongs to another interface, on which this program would see it too if it was asked to.
  if (skb->vlan_present || skb->pkt_type != PACKET_TO_US) return TC_ACT_UNSPEC;
  __u32 zero = 0;
  struct scratch* scratch = bpf_map_lookup_elem(&decap_scratch, &zero);
  if (scratch == 0) return TC_ACT_UNSPEC;
  struct tunnel* tunnel = &scratch->tunnel;
  __builtin_memset(tunnel, 0, sizeof(*tunnel));
  int found = read_tunnel(skb, tunnel);
  if (found == OURS) found = read_inner(skb, tunnel);
  if (found == NOT_OURS) {
    if (tunnel->inner != 0) count(COUNT_other_tunnel, skb->len);
    return TC_ACT_UNSPEC;
  }
  if (!is_own_address(skb, &tunnel->source, &tunnel->destination)) return TC_ACT_UNSPEC;
  const int trusted = is_trusted(&tunnel->source);
  // From strangers only what would have reached a VIP is ours to drop; the rest may be anything.
  if (found != OURS) return trusted ? drop(skb, (__u32)found) : TC_ACT_UNSPEC;
  if (!trusted) return drop(skb, COUNT_untrusted);
  if (!is_checksum_right(skb, tunnel)) return drop(skb, COUNT_bad_checksum);
  const int ecn = combine_ecn(tunnel->outer_tos, tunnel->inner_tos);
  if (ecn < 0) return drop(skb, COUNT_congestion);

  const __u32 kind = tunnel->carrier * 4u + tunnel->outer_is_v6 * 2u + tunnel->inner_is_v6;
  const __u32 bytes = skb->len;
  if (remove_outer(skb, tunnel) < 0 || write_ecn(skb, tunnel, ecn) < 0) return drop(skb, COUNT_failed);
  count(kind, bytes);
  // Further filters see the inner packet.
  return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
