// SPDX-License-Identifier: Dual BSD/GPL
// The real server's half of L3DSR: the balancer sent a packet to this host's own address and said by its DSCP which VIP the
// client had asked for. Puts the VIP back and clears the DSCP, so that the kernel delivers to the VIP on lo and answers from it.
// Guarantees: only packets to an address of this host, on this very interface (no VLAN tag) and with a known mark are touched;
// ECN stays; header and transport checksums are changed by the difference only, so a wrong one stays wrong. Later fragments have
// no transport header and get the address alone. Thread: kernel, on the CPU that received the packet.
#include "ingress.bpf.h"

enum l3dsr_counter {
#define MILLRACE_INGRESS_COUNTER(name, help) COUNT_##name,
#include "l3dsr_counters.def"
#undef MILLRACE_INGRESS_COUNTER
  COUNT_END,
};

#define ECN_MASK 3
#define DSCP_COUNT 64

// Offsets of the checksum in transport headers whose checksum covers the addresses.
#define TCP_CHECKSUM 16
#define UDP_CHECKSUM 6
#define DCCP_CHECKSUM 6
#define ICMPV6_CHECKSUM 2

// DSCP, plus DSCP_COUNT for IPv6 -> VIP. All zero: no VIP.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 2 * DSCP_COUNT);
  __type(key, __u32);
  __type(value, struct address);
} l3dsr_marks SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, COUNT_END);
  __type(key, __u32);
  __type(value, struct ingress_counter);
} l3dsr_counters SEC(".maps");

always_inline void count(struct __sk_buff* skb, __u32 index) {
  struct ingress_counter* counter = bpf_map_lookup_elem(&l3dsr_counters, &index);
  if (counter == 0) return;
  counter->packets++;
  counter->bytes += skb->len;
}

// Where the checksum stands in the transport header; -1: none that covers addresses.
always_inline int checksum_place(__u8 protocol) {
  switch (protocol) {
    case IPPROTO_TCP:
      return TCP_CHECKSUM;
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
      return UDP_CHECKSUM;
    case IPPROTO_DCCP:
      return DCCP_CHECKSUM;
    case IPPROTO_ICMPV6:
      return ICMPV6_CHECKSUM;
    default:
      return -1;
  }
}

// Changes the transport checksum by `difference`, as bpf_csum_diff gave it.
always_inline int fix_transport(struct __sk_buff* skb, __u32 offset, __u8 protocol, __s64 difference) {
  const int place = checksum_place(protocol);
  if (place < 0) return 0;
  // A UDP checksum of zero means that there is none, and a computed zero is sent as ones (RFC 768).
  const __u64 flags = BPF_F_PSEUDO_HDR | (protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0);
  return (int)bpf_l4_csum_replace(skb, offset + (__u32)place, 0, (__u64)difference, flags);
}

// The VIP for a mark, or null. A packet that is for the VIP already is left alone: another balancer may use DR.
always_inline const struct address* find_vip(__u8 tos, int is_v6, const struct address* destination) {
  const __u32 mark = (tos >> 2) + (is_v6 ? DSCP_COUNT : 0);
  const struct address* vip = bpf_map_lookup_elem(&l3dsr_marks, &mark);
  if (vip == 0 || (vip->words[0] | vip->words[1] | vip->words[2] | vip->words[3]) == 0) return 0;
  const int same = vip->words[0] == destination->words[0] && vip->words[1] == destination->words[1] &&
                   vip->words[2] == destination->words[2] && vip->words[3] == destination->words[3];
  return same ? 0 : vip;
}

always_inline int restore_v4(struct __sk_buff* skb) {
  struct ipv4_header header;
  if (bpf_skb_load_bytes(skb, ETH_HLEN, &header, sizeof(header)) < 0) return TC_ACT_UNSPEC;
  const __u32 length = (header.version_length & 15) * 4;
  if (header.version_length >> 4 != 4 || length < sizeof(header)) return TC_ACT_UNSPEC;
  const struct address source = from_ipv4(header.source);
  const struct address destination = from_ipv4(header.destination);
  const struct address* vip = find_vip(header.tos, 0, &destination);
  if (vip == 0 || !is_own_address(skb, &source, &destination)) return TC_ACT_UNSPEC;

  const __be32 old_address = header.destination;
  const __be32 new_address = vip->words[3];
  const __u8 tos = header.tos & ECN_MASK;
  const __u32 checksum = ETH_HLEN + __builtin_offsetof(struct ipv4_header, checksum);
  int failed = 0;
  if ((bpf_ntohs(header.fragment) & IPV4_FRAGMENT_OFFSET_MASK) == 0) {
    const __s64 difference = bpf_csum_diff((__be32*)&old_address, 4, (__be32*)&new_address, 4, 0);
    failed |= fix_transport(skb, ETH_HLEN + length, header.protocol, difference) < 0;
  }
  // Each field changes together with the header checksum, so what the card summed over the header stays right.
  failed |= bpf_l3_csum_replace(skb, checksum, bpf_htons(header.tos), bpf_htons(tos), 2) < 0;
  failed |= bpf_l3_csum_replace(skb, checksum, old_address, new_address, 4) < 0;
  failed |= bpf_skb_store_bytes(skb, ETH_HLEN + __builtin_offsetof(struct ipv4_header, tos), &tos, 1, 0) < 0;
  failed |= bpf_skb_store_bytes(skb, ETH_HLEN + __builtin_offsetof(struct ipv4_header, destination), &new_address, 4, 0) < 0;
  count(skb, failed ? COUNT_failed : COUNT_restored_ipv4);
  return failed ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

always_inline int restore_v6(struct __sk_buff* skb) {
  struct ipv6_header header;
  if (bpf_skb_load_bytes(skb, ETH_HLEN, &header, sizeof(header)) < 0) return TC_ACT_UNSPEC;
  const __u32 first = bpf_ntohl(header.version_class_label);
  if (first >> 28 != 6) return TC_ACT_UNSPEC;
  const struct address source = from_ipv6(header.source);
  const struct address destination = from_ipv6(header.destination);
  const struct address* vip = find_vip((__u8)(first >> 20), 1, &destination);
  if (vip == 0 || !is_own_address(skb, &source, &destination)) return TC_ACT_UNSPEC;

  const struct address new_address = *vip;
  const __be32 new_first = bpf_htonl(first & ~((__u32)(0xff & ~ECN_MASK) << 20));
  struct extension_walk walk = {.offset = ETH_HLEN + sizeof(header), .protocol = header.next_header};
  int failed = walk_extensions(skb, &walk) < 0;
  if (!walk.later_fragment) {
    const __s64 difference = bpf_csum_diff(header.destination, 16, (__be32*)new_address.words, 16, 0);
    failed |= fix_transport(skb, walk.offset, walk.protocol, difference) < 0;
  }
  // No header checksum takes the change back here: the card's sum over the packet has to follow each store (RECOMPUTE), and the
  // replacement of the transport checksum above takes the address out of it again.
  failed |= bpf_skb_store_bytes(skb, ETH_HLEN, &new_first, sizeof(new_first), BPF_F_RECOMPUTE_CSUM) < 0;
  failed |= bpf_skb_store_bytes(skb, ETH_HLEN + __builtin_offsetof(struct ipv6_header, destination), &new_address,
                                sizeof(new_address), BPF_F_RECOMPUTE_CSUM) < 0;
  count(skb, failed ? COUNT_failed : COUNT_restored_ipv6);
  return failed ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

SEC("tc")
int millrace_l3dsr(struct __sk_buff* skb) {
  if (skb->vlan_present || skb->pkt_type != PACKET_TO_US) return TC_ACT_UNSPEC;
  if (skb->protocol == bpf_htons(ETH_P_IP)) return restore_v4(skb);
  if (skb->protocol == bpf_htons(ETH_P_IPV6)) return restore_v6(skb);
  return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
