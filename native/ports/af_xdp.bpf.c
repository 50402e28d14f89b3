// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Decides in the driver which packets belong to the balancer: those whose destination is one of its own addresses (a VIP or a
// local address) or lies in a prefix of VIPs go to the worker of the receive queue they arrived on, and so do answers of servers in
// mode nat, whose destination is a client, and packets of inside hosts that a rule of the outbound gateway takes; everything else goes
// to the kernel's stack, addresses of the kernel inside such a prefix included. ports/selection.h and ports/outbound_selection.h are the
// same decision for captures. So ARP, neighbour discovery, ssh, routing daemons and health checks never pass through a data queue.
// Guarantees: never drops; a packet that it cannot read is the kernel's; without a socket on the queue the packet is the
// kernel's; received = to_workers + to_kernel at every instant between two packets. Runs in NAPI context (native mode) or after
// the skb was made (SKB mode), on the CPU of the receive queue.
#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MAX_VLAN_TAGS 2
// Router solicitation to redirect (RFC 4861 4.1-4.5).
#define ICMPV6_ND_FIRST 133
#define ICMPV6_ND_LAST 137

struct vlan_tag {
  __be16 control;
  __be16 type;
};

// Network byte order; IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2).
struct address {
  __be32 words[4];
};

// Where a server in mode nat answers from; layout shared with xdp_attachment.cc. Port 0: any. Fragments have no ports: `fragment`
// is 1 in a second entry of each server, with port 0.
struct nat_server {
  struct address address;
  __be16 port;
  __u8 protocol;
  __u8 fragment;
};

// Layout shared with XdpCounters in xdp_attachment.cc.
struct counters {
  __u64 received_packets;
  __u64 received_bytes;
  __u64 to_workers_packets;
  __u64 to_workers_bytes;
  __u64 to_kernel_packets;
  __u64 to_kernel_bytes;
};

// Receive queue -> AF_XDP socket. Sized to the number of receive queues before it is loaded.
struct {
  __uint(type, BPF_MAP_TYPE_XSKMAP);
  __uint(max_entries, 64);
  __type(key, __u32);
  __type(value, __u32);
} sockets SEC(".maps");

// Not preallocated: the full size would cost megabytes per interface, and it changes only with the configuration.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 65536);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct address);
  __type(value, __u8);
} owned SEC(".maps");

struct prefix_key {
  __u32 length;
  struct address address;
};

#define TO_KERNEL 0
#define TO_WORKERS 1

// Prefixes of VIPs (TO_WORKERS) and, while there are any, each address of the kernel (TO_KERNEL): the longest match decides.
struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, 32768);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct prefix_key);
  __type(value, __u8);
} prefixes SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1048576);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct nat_server);
  __type(value, __u8);
} nat_servers SEC(".maps");

// Addresses of this host: what a NAT server sends to them is the kernel's (health checks, ssh).
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 65536);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct address);
  __type(value, __u8);
} kernel_addresses SEC(".maps");

// Whether nat_servers has entries: without, packets for the kernel cost no further look-up.
volatile __u32 nat_in_use;

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct counters);
} statistics SEC(".maps");

static __always_inline int is_vlan(__be16 type) { return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD); }

static __always_inline int is_owned(const struct address* destination) {
  if (bpf_map_lookup_elem(&owned, destination)) return 1;
  struct prefix_key key = {.length = 128, .address = *destination};
  const __u8* found = bpf_map_lookup_elem(&prefixes, &key);
  return found && *found == TO_WORKERS;
}

// A rule of the outbound gateway: ports in host byte order, protocol 0 for all that it can carry (TCP, UDP, echo). Layout shared with
// xdp_attachment.cc.
struct outbound_rule {
  struct address source;
  struct address source_mask;
  struct address destination;
  struct address destination_mask;
  __u16 port_low;
  __u16 port_high;
  __u8 protocol;
  __u8 reserved[3];
};

#define MAX_OUTBOUND_RULES 64

// Two sets, of which one is in use: rules change all at once.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 2 * MAX_OUTBOUND_RULES);
  __type(key, __u32);
  __type(value, struct outbound_rule);
} outbound_rules SEC(".maps");

// Number of the first rule in use, and in the upper half how many there are.
volatile __u32 outbound_in_use;

enum outbound_kind { OUTBOUND_OTHER, OUTBOUND_WITH_PORT, OUTBOUND_LATER_FRAGMENT, OUTBOUND_ERROR };

struct outbound_packet {
  struct address source;
  struct address destination;
  enum outbound_kind kind;
  __u16 port;
  __u8 protocol;
};

static __always_inline __u32 differs(const struct address* a, const struct address* b, const struct address* mask) {
  return ((a->words[0] ^ b->words[0]) & mask->words[0]) | ((a->words[1] ^ b->words[1]) & mask->words[1]) |
         ((a->words[2] ^ b->words[2]) & mask->words[2]) | ((a->words[3] ^ b->words[3]) & mask->words[3]);
}

// The same as ports/outbound_selection.h.
static __always_inline int takes_outbound(const struct outbound_packet* packet) {
  if (packet->kind == OUTBOUND_OTHER) return 0;
  const __u32 in_use = outbound_in_use;
  for (__u32 i = 0; i < MAX_OUTBOUND_RULES; i++) {
    if (i >= in_use >> 16) break;
    const __u32 number = (in_use & 0xffff) + i;
    const struct outbound_rule* rule = bpf_map_lookup_elem(&outbound_rules, &number);
    if (!rule) return 0;
    if (differs(&packet->source, &rule->source, &rule->source_mask) |
        differs(&packet->destination, &rule->destination, &rule->destination_mask))
      continue;
    if (packet->kind != OUTBOUND_ERROR) {
      if (rule->protocol != 0 && rule->protocol != packet->protocol) continue;
      if (packet->kind == OUTBOUND_WITH_PORT && (packet->port < rule->port_low || packet->port > rule->port_high)) continue;
    }
    // Addresses of the kernel are no destinations of others.
    return bpf_map_lookup_elem(&kernel_addresses, &packet->destination) == 0;
  }
  return 0;
}

static __always_inline void read_outbound(struct outbound_packet* packet, __u8 protocol, int later, const void* l4, const void* end) {
  packet->protocol = protocol;
  if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) {
    const __be16* ports = l4;
    if (later) {
      packet->kind = OUTBOUND_LATER_FRAGMENT;
    } else if ((const void*)(ports + 2) <= end) {
      packet->kind = OUTBOUND_WITH_PORT;
      packet->port = bpf_ntohs(ports[1]);
    }
    return;
  }
  const __u8* type = l4;
  if (later || (const void*)(type + 1) > end) return;
  if (protocol == IPPROTO_ICMP) {
    if (*type == 8) packet->kind = OUTBOUND_WITH_PORT;
    if (*type == 3 || *type == 11 || *type == 12) packet->kind = OUTBOUND_ERROR;
  } else if (protocol == IPPROTO_ICMPV6) {
    if (*type == 128) packet->kind = OUTBOUND_WITH_PORT;
    if (*type >= 1 && *type <= 4) packet->kind = OUTBOUND_ERROR;
  }
}

static __always_inline int is_outbound_v4(const struct iphdr* ip, const void* end) {
  if ((const void*)(ip + 1) > end || ip->ihl < 5) return 0;
  struct outbound_packet packet = {
      .source = {{0, 0, bpf_htonl(0xffff), ip->saddr}},
      .destination = {{0, 0, bpf_htonl(0xffff), ip->daddr}},
      .kind = OUTBOUND_OTHER,
  };
  read_outbound(&packet, ip->protocol, (ip->frag_off & bpf_htons(0x1fff)) != 0, (const void*)ip + ip->ihl * 4, end);
  return takes_outbound(&packet);
}

static __always_inline int is_outbound_v6(const struct ipv6hdr* ip, const void* end) {
  if ((const void*)(ip + 1) > end) return 0;
  struct outbound_packet packet = {.kind = OUTBOUND_OTHER};
  __builtin_memcpy(&packet.source, &ip->saddr, sizeof(packet.source));
  __builtin_memcpy(&packet.destination, &ip->daddr, sizeof(packet.destination));
  if (packet.source.words[0] == 0 && packet.source.words[1] == 0 && packet.source.words[2] == bpf_htonl(0xffff)) return 0;
  if (packet.destination.words[0] == 0 && packet.destination.words[1] == 0 && packet.destination.words[2] == bpf_htonl(0xffff))
    return 0;
  const void* l4 = ip + 1;
  __u8 protocol = ip->nexthdr;
  int later = 0;
  if (protocol == IPPROTO_FRAGMENT) {
    const __u8* fragment = l4;
    if ((const void*)(fragment + 8) > end) return 0;
    protocol = fragment[0];
    later = fragment[2] != 0 || (fragment[3] & 0xf8) != 0;
    l4 = fragment + 8;
  }
  read_outbound(&packet, protocol, later, l4, end);
  return takes_outbound(&packet);
}

// Fragments are judged by their address alone: a worker counts them, the kernel would answer or forward them.
static __always_inline int is_owned_v4(const struct iphdr* ip, const void* end) {
  if ((const void*)(ip + 1) > end) return 0;
  struct address key = {{0, 0, bpf_htonl(0xffff), ip->daddr}};
  return is_owned(&key);
}

static __always_inline int is_owned_v6(const struct ipv6hdr* ip, const void* end) {
  if ((const void*)(ip + 1) > end) return 0;
  struct address key;
  __builtin_memcpy(&key, &ip->daddr, sizeof(key));
  // A v4-mapped destination never stands in an IPv6 header (net/address.h); it must not match an owned IPv4 address.
  if (key.words[0] == 0 && key.words[1] == 0 && key.words[2] == bpf_htonl(0xffff)) return 0;
  if (!is_owned(&key)) return 0;
  // Neighbour discovery sent to the address itself (unreachability probes) is answered by the control thread from a packet
  // socket.
  if (ip->nexthdr == IPPROTO_ICMPV6) {
    const struct icmp6hdr* icmp = (const void*)(ip + 1);
    if ((const void*)(icmp + 1) > end) return 0;
    if (icmp->icmp6_type >= ICMPV6_ND_FIRST && icmp->icmp6_type <= ICMPV6_ND_LAST) return 0;
  }
  return 1;
}

#define IPV4_FRAGMENT_MASK 0x3fff
// Errors about packets (RFC 792).
#define ICMPV4_UNREACHABLE 3
#define ICMPV4_TIME_EXCEEDED 11
#define ICMPV4_PARAMETER_PROBLEM 12

struct icmp_head {
  __u8 type;
  __u8 code;
  __be16 checksum;
  __be32 rest;
};

static __always_inline int has_ports(__u8 protocol) {
  return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

static __always_inline int is_nat_server(const struct address* address, __be16 port, __u8 protocol, __u8 fragment) {
  struct nat_server key = {*address, port, protocol, fragment};
  if (bpf_map_lookup_elem(&nat_servers, &key)) return 1;
  if (port == 0) return 0;
  key.port = 0;
  return bpf_map_lookup_elem(&nat_servers, &key) != 0;
}

static __always_inline struct address mapped(__be32 ipv4) {
  struct address address = {{0, 0, bpf_htonl(0xffff), ipv4}};
  return address;
}

// An error about a packet that a client sent to a NAT server; routers on the way send them, too.
static __always_inline int is_about_nat_v4(const struct iphdr* outer, const struct icmp_head* icmp, const void* end) {
  if ((const void*)(icmp + 1) > end) return 0;
  if (icmp->type != ICMPV4_UNREACHABLE && icmp->type != ICMPV4_TIME_EXCEEDED && icmp->type != ICMPV4_PARAMETER_PROBLEM) return 0;
  const struct iphdr* inner = (const void*)(icmp + 1);
  if ((const void*)(inner + 1) > end || inner->ihl < 5 || inner->saddr != outer->daddr) return 0;
  const struct address server = mapped(inner->daddr);
  if (!has_ports(inner->protocol)) return is_nat_server(&server, 0, inner->protocol, 0);
  const __be16* ports = (const void*)inner + inner->ihl * 4;
  if ((const void*)(ports + 2) > end) return 0;
  return is_nat_server(&server, ports[1], inner->protocol, 0);
}

static __always_inline int is_from_nat_v4(const struct iphdr* ip, const void* end) {
  if ((const void*)(ip + 1) > end || ip->ihl < 5) return 0;
  const void* transport = (const void*)ip + ip->ihl * 4;
  const struct address source = mapped(ip->saddr);
  int found;
  if (ip->frag_off & bpf_htons(IPV4_FRAGMENT_MASK)) {
    found = is_nat_server(&source, 0, ip->protocol, 1);
  } else if (ip->protocol == IPPROTO_ICMP) {
    found = is_about_nat_v4(ip, transport, end);
  } else if (has_ports(ip->protocol)) {
    const __be16* ports = transport;
    if ((const void*)(ports + 2) > end) return 0;
    found = is_nat_server(&source, ports[0], ip->protocol, 0);
  } else {
    found = is_nat_server(&source, 0, ip->protocol, 0);
  }
  if (!found) return 0;
  const struct address destination = mapped(ip->daddr);
  return bpf_map_lookup_elem(&kernel_addresses, &destination) == 0;
}

static __always_inline int is_about_nat_v6(const struct ipv6hdr* outer, const struct icmp6hdr* icmp, const void* end) {
  if ((const void*)(icmp + 1) > end || icmp->icmp6_type < 1 || icmp->icmp6_type > 4) return 0;
  const struct ipv6hdr* inner = (const void*)(icmp + 1);
  const __be16* ports = (const void*)(inner + 1);
  if ((const void*)(ports + 2) > end) return 0;
  const __be32* from = (const void*)&inner->saddr;
  const __be32* to = (const void*)&outer->daddr;
  if (((from[0] ^ to[0]) | (from[1] ^ to[1]) | (from[2] ^ to[2]) | (from[3] ^ to[3])) != 0) return 0;
  struct address server;
  __builtin_memcpy(&server, &inner->daddr, sizeof(server));
  return is_nat_server(&server, has_ports(inner->nexthdr) ? ports[1] : 0, inner->nexthdr, 0);
}

// Headers between the fixed one and the transport's are not walked, but for the fragment header: no server's stack sends others
// unasked.
static __always_inline int is_from_nat_v6(const struct ipv6hdr* ip, const void* end) {
  if ((const void*)(ip + 1) > end) return 0;
  const void* transport = ip + 1;
  struct address source;
  __builtin_memcpy(&source, &ip->saddr, sizeof(source));
  if (source.words[0] == 0 && source.words[1] == 0 && source.words[2] == bpf_htonl(0xffff)) return 0;
  int found;
  if (ip->nexthdr == IPPROTO_ICMPV6) {
    found = is_about_nat_v6(ip, transport, end);
  } else if (ip->nexthdr == IPPROTO_FRAGMENT) {
    const __u8* fragment = transport;
    if ((const void*)(fragment + 8) > end) return 0;
    found = is_nat_server(&source, 0, fragment[0], 1);
  } else if (has_ports(ip->nexthdr)) {
    const __be16* ports = transport;
    if ((const void*)(ports + 2) > end) return 0;
    found = is_nat_server(&source, ports[0], ip->nexthdr, 0);
  } else {
    found = is_nat_server(&source, 0, ip->nexthdr, 0);
  }
  if (!found) return 0;
  struct address destination;
  __builtin_memcpy(&destination, &ip->daddr, sizeof(destination));
  return bpf_map_lookup_elem(&kernel_addresses, &destination) == 0;
}

static __always_inline int is_for_workers(const void* data, const void* end) {
  const struct ethhdr* ethernet = data;
  if ((const void*)(ethernet + 1) > end) return 0;
  __be16 type = ethernet->h_proto;
  const void* next = ethernet + 1;
#pragma unroll
  for (int i = 0; i < MAX_VLAN_TAGS; i++) {
    if (!is_vlan(type)) break;
    const struct vlan_tag* tag = next;
    if ((const void*)(tag + 1) > end) return 0;
    type = tag->type;
    next = tag + 1;
  }
  // What is sent to many is no answer to a client and goes through no gateway.
  const int to_one = (ethernet->h_dest[0] & 1) == 0;
  const int may_be_answer = nat_in_use != 0 && to_one;
  const int may_pass = outbound_in_use != 0 && to_one;
  if (type == bpf_htons(ETH_P_IP)) {
    return is_owned_v4(next, end) || (may_be_answer && is_from_nat_v4(next, end)) || (may_pass && is_outbound_v4(next, end));
  }
  if (type == bpf_htons(ETH_P_IPV6)) {
    return is_owned_v6(next, end) || (may_be_answer && is_from_nat_v6(next, end)) || (may_pass && is_outbound_v6(next, end));
  }
  return 0;
}

SEC("xdp")
int millrace_xdp(struct xdp_md* context) {
  const void* data = (const void*)(long)context->data;
  const void* end = (const void*)(long)context->data_end;
  const __u64 bytes = context->data_end - context->data;

  int verdict = XDP_PASS;
  // The third argument is the verdict for a queue that has no socket.
  if (is_for_workers(data, end)) verdict = (int)bpf_redirect_map(&sockets, context->rx_queue_index, XDP_PASS);

  __u32 zero = 0;
  struct counters* counters = bpf_map_lookup_elem(&statistics, &zero);
  if (counters) {
    counters->received_packets++;
    counters->received_bytes += bytes;
    if (verdict == XDP_REDIRECT) {
      counters->to_workers_packets++;
      counters->to_workers_bytes += bytes;
    } else {
      counters->to_kernel_packets++;
      counters->to_kernel_bytes += bytes;
    }
  }
  return verdict;
}

char kernel_license[] SEC("license") = "Dual BSD/GPL";
