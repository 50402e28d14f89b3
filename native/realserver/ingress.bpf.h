// SPDX-License-Identifier: Dual BSD/GPL
// What the two ingress programs of a real server share: addresses, counters, and the question whether an address is this host's.
// Guarantees: nothing here reads the packet by pointer, so packets in several pieces need no special care.
// Thread: kernel, on the CPU that received the packet.
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define ADDRESS_FAMILY_IPV4 2
#define ADDRESS_FAMILY_IPV6 10

// skb->pkt_type of a frame that was sent to this host's own Ethernet address (linux/if_packet.h).
#define PACKET_TO_US 0

#define IPV4_HEADER_LENGTH 20
#define IPV6_HEADER_LENGTH 40
#define IPV4_FRAGMENT_MASK 0x3fff
#define IPV4_FRAGMENT_OFFSET_MASK 0x1fff
#define IPV6_FRAGMENT_OFFSET_MASK 0xfff8
#define IPV6_FRAGMENT_MORE 1

// The most IPv6 extension headers that are walked; no tunnel end or client of good will sends more than two.
#define MAX_EXTENSIONS 4

#define always_inline static inline __attribute__((always_inline))

// Network byte order; IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2).
struct address {
  __u32 words[4];
};

// RFC 791 3.1
struct ipv4_header {
  __u8 version_length;
  __u8 tos;
  __be16 total_length;
  __be16 id;
  __be16 fragment;
  __u8 ttl;
  __u8 protocol;
  __be16 checksum;
  __be32 source;
  __be32 destination;
};

// RFC 8200 3
struct ipv6_header {
  __be32 version_class_label;
  __be16 payload_length;
  __u8 next_header;
  __u8 hop_limit;
  __u32 source[4];
  __u32 destination[4];
};

// Layout of the value, shared with ingress.cc.
struct ingress_counter {
  __u64 packets;
  __u64 bytes;
};

always_inline struct address from_ipv4(__be32 raw) {
  struct address address = {{0, 0, bpf_htonl(0xffff), raw}};
  return address;
}

always_inline struct address from_ipv6(const __u32* words) {
  struct address address = {{words[0], words[1], words[2], words[3]}};
  return address;
}

always_inline int is_mapped_ipv4(const struct address* address) {
  return address->words[0] == 0 && address->words[1] == 0 && address->words[2] == bpf_htonl(0xffff);
}

// Whether the kernel would deliver to this host what it received for `destination`. The routing table is asked for every packet,
// so addresses may come and go after the program was loaded. A host that does not forward drops what is not its own, so there
// every packet may be taken.
always_inline int is_own_address(struct __sk_buff* skb, const struct address* source, const struct address* destination) {
  struct bpf_fib_lookup question = {};
  question.ifindex = skb->ifindex;
  if (is_mapped_ipv4(destination)) {
    question.family = ADDRESS_FAMILY_IPV4;
    question.ipv4_src = source->words[3];
    question.ipv4_dst = destination->words[3];
  } else {
    question.family = ADDRESS_FAMILY_IPV6;
    __builtin_memcpy(question.ipv6_src, source->words, 16);
    __builtin_memcpy(question.ipv6_dst, destination->words, 16);
  }
  const long answer = bpf_fib_lookup(skb, &question, sizeof(question), 0);
  return answer == BPF_FIB_LKUP_RET_NOT_FWDED || answer == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

// An IPv6 packet's extension headers up to the first that this walk does not know, or to a fragment that has no more of them.
struct extension_walk {
  // Of the header that follows, from the start of the frame.
  __u32 offset;
  __u8 protocol;
  // The packet is one of several fragments, the first one if !later_fragment.
  __u8 fragment;
  __u8 later_fragment;
};

// 0, or -1 if the chain is cut off.
always_inline int walk_extensions(struct __sk_buff* skb, struct extension_walk* walk) {
#pragma unroll
  for (int i = 0; i < MAX_EXTENSIONS; i++) {
    if (walk->later_fragment) return 0;
    if (walk->protocol == IPPROTO_HOPOPTS || walk->protocol == IPPROTO_DSTOPTS) {
      __u8 head[2];
      if (bpf_skb_load_bytes(skb, walk->offset, head, sizeof(head)) < 0) return -1;
      walk->protocol = head[0];
      walk->offset += (head[1] + 1u) * 8;
    } else if (walk->protocol == IPPROTO_FRAGMENT) {
      __u8 head[8];
      if (bpf_skb_load_bytes(skb, walk->offset, head, sizeof(head)) < 0) return -1;
      const __u16 place = (__u16)(head[2] << 8 | head[3]);
      walk->protocol = head[0];
      walk->offset += sizeof(head);
      // A fragment header on a whole packet is allowed (RFC 6946).
      walk->fragment = (place & (IPV6_FRAGMENT_OFFSET_MASK | IPV6_FRAGMENT_MORE)) != 0;
      walk->later_fragment = (place & IPV6_FRAGMENT_OFFSET_MASK) != 0;
    } else {
      return 0;
    }
  }
  return 0;
}
