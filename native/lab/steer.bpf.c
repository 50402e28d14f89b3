// SPDX-License-Identifier: Dual BSD/GPL
// Plays a multi-queue network card on a veth pair. It runs as a clsact egress program at the far end of the balancer's interface
// and decides on which of the balancer's receive queues each packet arrives: by rule for the destinations that the table names
// (what flow director rules do for local addresses), by a hash of the flow for all else (what receive side scaling does).
// Guarantees: never changes or drops a packet; packets of one flow always reach one queue; what is not IP goes to queue 0.
// Thread: kernel, on the sender's CPU.
//
// veth hands a packet to the receive queue with the index of the sender's transmit queue, and the sender's choice honours a queue
// that was recorded in skb->queue_mapping as index + 1.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct address {
  __u32 words[4];
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 4096);
  __type(key, struct address);
  __type(value, __u32);
} steering_rules SEC(".maps");

// Set before loading.
const volatile __u32 queue_count = 1;

// Only the fields that steering needs, at their offsets on the wire (RFC 791 3.1, RFC 8200 3).
#define IPV4_FRAGMENT_OFFSET 6
#define IPV4_PROTOCOL_OFFSET 9
#define IPV4_SOURCE_OFFSET 12
#define IPV6_NEXT_HEADER_OFFSET 6
#define IPV6_SOURCE_OFFSET 8
#define IPV6_HEADER_LENGTH 40

struct flow {
  struct address source;
  struct address destination;
  __u32 ports;
};

static __always_inline __u32 mix(__u32 hash, __u32 word) {
  hash ^= word;
  hash *= 0x9e3779b1u;
  return hash ^ (hash >> 15);
}

static __always_inline __u32 hash_flow(const struct flow* flow) {
  __u32 hash = 0x6d696c6cu;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    hash = mix(hash, flow->source.words[i]);
    hash = mix(hash, flow->destination.words[i]);
  }
  hash = mix(hash, flow->ports);
  hash *= 0x85ebca6bu;
  return hash ^ (hash >> 13);
}

static __always_inline int read_ports(struct __sk_buff* skb, __u32 offset, __u8 protocol, struct flow* flow) {
  if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) return 0;
  return bpf_skb_load_bytes(skb, offset, &flow->ports, sizeof(flow->ports));
}

static __always_inline int read_ipv4(struct __sk_buff* skb, struct flow* flow) {
  __u8 header[20];
  if (bpf_skb_load_bytes(skb, ETH_HLEN, header, sizeof(header)) < 0) return -1;
  flow->source.words[2] = flow->destination.words[2] = bpf_htonl(0xffff);
  __builtin_memcpy(&flow->source.words[3], header + IPV4_SOURCE_OFFSET, 4);
  __builtin_memcpy(&flow->destination.words[3], header + IPV4_SOURCE_OFFSET + 4, 4);
  // Only the first fragment carries ports; as a card does, all fragments are spread by addresses alone.
  __u16 fragment;
  __builtin_memcpy(&fragment, header + IPV4_FRAGMENT_OFFSET, 2);
  if ((fragment & bpf_htons(0x3fff)) != 0) return 0;
  return read_ports(skb, ETH_HLEN + (header[0] & 15) * 4, header[IPV4_PROTOCOL_OFFSET], flow);
}

static __always_inline int read_ipv6(struct __sk_buff* skb, struct flow* flow) {
  __u8 next_header;
  if (bpf_skb_load_bytes(skb, ETH_HLEN + IPV6_NEXT_HEADER_OFFSET, &next_header, 1) < 0) return -1;
  if (bpf_skb_load_bytes(skb, ETH_HLEN + IPV6_SOURCE_OFFSET, &flow->source, 32) < 0) return -1;
  return read_ports(skb, ETH_HLEN + IPV6_HEADER_LENGTH, next_header, flow);
}

SEC("tc")
int millrace_steer(struct __sk_buff* skb) {
  struct flow flow = {};
  int failed = -1;
  if (skb->protocol == bpf_htons(ETH_P_IP)) failed = read_ipv4(skb, &flow);
  if (skb->protocol == bpf_htons(ETH_P_IPV6)) failed = read_ipv6(skb, &flow);

  __u32 queue = 0;
  if (failed == 0) {
    const __u32* rule = bpf_map_lookup_elem(&steering_rules, &flow.destination);
    queue = (rule ? *rule : hash_flow(&flow)) % queue_count;
  }
  skb->queue_mapping = (__u16)(queue + 1);
  return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
