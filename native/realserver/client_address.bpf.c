// SPDX-License-Identifier: Dual BSD/GPL
// Tells the sockets of a real server behind full NAT who their clients are, without a kernel module and without a change to the server:
//
//   TCP   sockops reads TOA from the segment that ends the handshake --> storage of the socket --> getpeername and accept answer with it
//   UDP   tc ingress reads UOA and takes it off --> hash map --> recvmsg shows the client, sendmsg and connect find the balancer again
//
// Formats: TOA as DPVS kmod/toa and Alibaba LVS have it (TCP option: kind, 8 or 20, port, address), UOA as DPVS include/uoa.h.
// Guarantees: an address is believed only from a balancer whose address is in `trusted`; the first one of a connection stays.
// Linux 5.10 (header options in sockops). Loops are bounded and keep little state, as older verifiers want it.
// Thread: kernel, on the CPU that has the packet or runs the system call.
#include "ingress.bpf.h"

#define AF_INET_NUMBER 2
#define AF_INET6_NUMBER 10
#define SOCK_DGRAM_NUMBER 2
#define PROTOCOL_UOA 248
#define OPTION_UOA 31
#define UOA_HEAD 4
#define OPTION_V4 8
#define OPTION_V6 20
#define MAX_KINDS 4
#define TCP_FIXED 20
#define MAX_OPTIONS 24

// A field of the context: the verifier wants each access at its own constant place, which a compiler that joins two branches forgets.
#define FIELD(field) (*(volatile __typeof__(field)*)&(field))

enum counter {
#define CLIENT_ADDRESS_COUNTER(name, meaning) COUNT_##name,
#include "client_address_counters.def"
#undef CLIENT_ADDRESS_COUNTER
  COUNTERS
};

struct prefix {
  __u32 length;
  struct address address;
};

struct settings {
  __u8 kinds[MAX_KINDS];
};

// Who a socket's peer is. Port in network byte order.
struct client {
  struct address address;
  __be16 port;
  __be16 known;
};

// The far end and the near end of datagrams as the socket sees them: address and port of the balancer (or the client, in `balancers`),
// the server's own port and, where the socket is bound to one, its address.
struct endpoint {
  struct address peer;
  struct address own;
  __be16 peer_port;
  __be16 own_port;
};

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, 1024);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct prefix);
  __type(value, __u8);
} trusted SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct settings);
} settings SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct client);
} clients SEC(".maps");

// From balancer to client, and back. Sizes are set before loading.
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 65536);
  __type(key, struct endpoint);
  __type(value, struct client);
} datagrams SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 65536);
  __type(key, struct endpoint);
  __type(value, struct client);
} balancers SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, COUNTERS);
  __type(key, __u32);
  __type(value, __u64);
} counters SEC(".maps");

always_inline void count(__u32 counter) {
  __u64* value = bpf_map_lookup_elem(&counters, &counter);
  if (value) (*value)++;
}

always_inline int is_trusted(const struct address* address) {
  struct prefix key = {128, *address};
  return bpf_map_lookup_elem(&trusted, &key) != 0;
}

// ---- TCP

always_inline int is_kind(const struct settings* wanted, __u8 kind) {
  return kind == wanted->kinds[0] || kind == wanted->kinds[1] || kind == wanted->kinds[2] || kind == wanted->kinds[3];
}

// Looks for TOA among the options of the segment. 1: `client` holds it.
always_inline int read_toa(struct bpf_sock_ops* ops, struct client* client) {
  __u32 zero = 0;
  const struct settings* wanted = bpf_map_lookup_elem(&settings, &zero);
  if (!wanted) return 0;
  __u8* data = ops->skb_data;
  __u8* end = ops->skb_data_end;
  if (data + TCP_FIXED > end) return 0;
  __u32 header = (data[12] >> 4) * 4u;
  __u32 at = TCP_FIXED;
  for (int i = 0; i < MAX_OPTIONS; i++) {
    at &= 63;
    __u8* option = data + at;
    if (at + 2 > header || option + 2 > end) return 0;
    const __u8 kind = option[0];
    if (kind == 0) return 0;
    if (kind == 1) {
      at++;
      continue;
    }
    const __u8 length = option[1];
    if (length < 2 || length > 40) return 0;
    if (is_kind(wanted, kind)) {
      if (length == OPTION_V4 && option + OPTION_V4 <= end) {
        __u32 raw;
        __builtin_memcpy(&client->port, option + 2, 2);
        __builtin_memcpy(&raw, option + 4, 4);
        client->address = from_ipv4(raw);
        return 1;
      }
      if (length == OPTION_V6 && option + OPTION_V6 <= end) {
        __builtin_memcpy(&client->port, option + 2, 2);
        __builtin_memcpy(client->address.words, option + 4, 16);
        return 1;
      }
    }
    at += length;
  }
  return 0;
}

always_inline struct address peer_of(struct bpf_sock_ops* ops) {
  if (ops->family == AF_INET_NUMBER) return from_ipv4(ops->remote_ip4);
  struct address address = {{FIELD(ops->remote_ip6[0]), FIELD(ops->remote_ip6[1]), FIELD(ops->remote_ip6[2]), FIELD(ops->remote_ip6[3])}};
  return address;
}

always_inline void note_client(struct bpf_sock_ops* ops, int late) {
  struct client found = {};
  const int told = read_toa(ops, &found);
  const struct address peer = peer_of(ops);
  const int believed = is_trusted(&peer);
  if (told && believed && ops->sk) {
    struct client* client = bpf_sk_storage_get(&clients, ops->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
    if (client && !client->known) {
      client->address = found.address;
      client->port = found.port;
      client->known = 1;
      count(late ? COUNT_connections_late : COUNT_connections_found);
    }
  } else if (told && !believed && !late) {
    count(COUNT_connections_refused);
  }
  if (late) {
    if (told) bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags & ~BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG);
  } else if (!told && believed) {
    count(COUNT_connections_missing);
    bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG);
  }
}

SEC("sockops")
int millrace_connections(struct bpf_sock_ops* ops) {
  if (ops->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB) note_client(ops, 0);
  else if (ops->op == BPF_SOCK_OPS_PARSE_HDR_OPT_CB) note_client(ops, 1);
  return 1;
}

// ---- names of peers

// The key under which the datagrams of this socket are known.
always_inline void endpoint_of(struct bpf_sock_addr* ctx, const struct address* peer, struct endpoint* key) {
  key->peer = *peer;
  key->peer_port = (__be16)FIELD(ctx->user_port);
  if (!ctx->sk) return;
  key->own_port = bpf_htons((__u16)ctx->sk->src_port);
  if (ctx->sk->family == AF_INET_NUMBER) {
    if (ctx->sk->src_ip4 != 0) key->own = from_ipv4(ctx->sk->src_ip4);
  } else {
    key->own.words[0] = ctx->sk->src_ip6[0];
    key->own.words[1] = ctx->sk->src_ip6[1];
    key->own.words[2] = ctx->sk->src_ip6[2];
    key->own.words[3] = ctx->sk->src_ip6[3];
  }
}

always_inline struct address user_ipv6(struct bpf_sock_addr* ctx) {
  struct address address = {{FIELD(ctx->user_ip6[0]), FIELD(ctx->user_ip6[1]), FIELD(ctx->user_ip6[2]), FIELD(ctx->user_ip6[3])}};
  return address;
}

always_inline void answer_ipv6(struct bpf_sock_addr* ctx, const struct client* client) {
  FIELD(ctx->user_ip6[0]) = client->address.words[0];
  FIELD(ctx->user_ip6[1]) = client->address.words[1];
  FIELD(ctx->user_ip6[2]) = client->address.words[2];
  FIELD(ctx->user_ip6[3]) = client->address.words[3];
  FIELD(ctx->user_port) = client->port;
}

// An IPv4 socket cannot be told an IPv6 client: it keeps seeing the balancer.
always_inline void answer_ipv4(struct bpf_sock_addr* ctx, const struct client* client) {
  if (!is_mapped_ipv4(&client->address)) return;
  FIELD(ctx->user_ip4) = client->address.words[3];
  FIELD(ctx->user_port) = client->port;
  count(COUNT_names_answered);
}

always_inline const struct client* client_of_datagrams(struct bpf_sock_addr* ctx, const struct address* peer) {
  struct endpoint key = {};
  endpoint_of(ctx, peer, &key);
  return bpf_map_lookup_elem(&datagrams, &key);
}

always_inline const struct client* client_of(struct bpf_sock_addr* ctx, const struct address* peer) {
  if (ctx->type == SOCK_DGRAM_NUMBER) return client_of_datagrams(ctx, peer);
  if (!ctx->sk) return 0;
  const struct client* client = bpf_sk_storage_get(&clients, ctx->sk, 0, 0);
  return client && client->known ? client : 0;
}

SEC("cgroup/getpeername4")
int millrace_getpeername4(struct bpf_sock_addr* ctx) {
  const struct address peer = from_ipv4(ctx->user_ip4);
  const struct client* client = client_of(ctx, &peer);
  if (client) answer_ipv4(ctx, client);
  return 1;
}

SEC("cgroup/getpeername6")
int millrace_getpeername6(struct bpf_sock_addr* ctx) {
  const struct address peer = user_ipv6(ctx);
  const struct client* client = client_of(ctx, &peer);
  if (!client) return 1;
  answer_ipv6(ctx, client);
  count(COUNT_names_answered);
  return 1;
}

SEC("cgroup/recvmsg4")
int millrace_recvmsg4(struct bpf_sock_addr* ctx) {
  const struct address peer = from_ipv4(ctx->user_ip4);
  const struct client* client = client_of_datagrams(ctx, &peer);
  if (client) answer_ipv4(ctx, client);
  return 1;
}

SEC("cgroup/recvmsg6")
int millrace_recvmsg6(struct bpf_sock_addr* ctx) {
  const struct address peer = user_ipv6(ctx);
  const struct client* client = client_of_datagrams(ctx, &peer);
  if (!client) return 1;
  answer_ipv6(ctx, client);
  count(COUNT_names_answered);
  return 1;
}

always_inline const struct client* balancer_of(struct bpf_sock_addr* ctx, const struct address* peer) {
  if (ctx->type != SOCK_DGRAM_NUMBER) return 0;
  struct endpoint key = {};
  endpoint_of(ctx, peer, &key);
  return bpf_map_lookup_elem(&balancers, &key);
}

always_inline int redirect_ipv4(struct bpf_sock_addr* ctx) {
  const struct address peer = from_ipv4(ctx->user_ip4);
  const struct client* balancer = balancer_of(ctx, &peer);
  if (!balancer || !is_mapped_ipv4(&balancer->address)) return 1;
  FIELD(ctx->user_ip4) = balancer->address.words[3];
  FIELD(ctx->user_port) = balancer->port;
  count(COUNT_sends_redirected);
  return 1;
}

// The kernel sends what goes to a v4-mapped address by way of the IPv4 hook, and refuses to have one written here.
always_inline int redirect_ipv6(struct bpf_sock_addr* ctx) {
  const struct address peer = user_ipv6(ctx);
  if (is_mapped_ipv4(&peer)) return 1;
  const struct client* balancer = balancer_of(ctx, &peer);
  if (!balancer || is_mapped_ipv4(&balancer->address)) return 1;
  answer_ipv6(ctx, balancer);
  count(COUNT_sends_redirected);
  return 1;
}

SEC("cgroup/sendmsg4")
int millrace_sendmsg4(struct bpf_sock_addr* ctx) { return redirect_ipv4(ctx); }

SEC("cgroup/sendmsg6")
int millrace_sendmsg6(struct bpf_sock_addr* ctx) { return redirect_ipv6(ctx); }

SEC("cgroup/connect4")
int millrace_connect4(struct bpf_sock_addr* ctx) { return redirect_ipv4(ctx); }

SEC("cgroup/connect6")
int millrace_connect6(struct bpf_sock_addr* ctx) { return redirect_ipv6(ctx); }

// ---- UDP packets

struct datagram {
  struct address source;
  struct address destination;
  struct client client;
  // Where UDP begins, and how many bytes before it are taken out.
  __u32 udp;
  __u32 removed;
};

always_inline int drop(__u32 counter) {
  count(counter);
  return TC_ACT_SHOT;
}

// Remembers both ways, once for sockets bound to the address and once for those bound to none.
always_inline int remember(struct __sk_buff* skb, const struct datagram* datagram, __u32 udp) {
  __be16 ports[2];
  if (bpf_skb_load_bytes(skb, udp, ports, sizeof(ports)) < 0) return -1;
  struct client balancer = {datagram->source, ports[0], 1};
  struct endpoint from = {datagram->source, datagram->destination, ports[0], ports[1]};
  struct endpoint back = {datagram->client.address, datagram->destination, datagram->client.port, ports[1]};
  bpf_map_update_elem(&datagrams, &from, &datagram->client, BPF_ANY);
  bpf_map_update_elem(&balancers, &back, &balancer, BPF_ANY);
  __builtin_memset(&from.own, 0, sizeof(from.own));
  __builtin_memset(&back.own, 0, sizeof(back.own));
  bpf_map_update_elem(&datagrams, &from, &datagram->client, BPF_ANY);
  bpf_map_update_elem(&balancers, &back, &balancer, BPF_ANY);
  return 0;
}

// The option itself: kind 31, its length, port, address.
always_inline int read_option(struct __sk_buff* skb, __u32 at, __u32 length, struct client* client) {
  __u8 head[4];
  if (bpf_skb_load_bytes(skb, at, head, sizeof(head)) < 0 || head[0] != OPTION_UOA || head[1] != length) return -1;
  __builtin_memcpy(&client->port, head + 2, 2);
  client->known = 1;
  if (length == OPTION_V4) {
    __u32 raw;
    if (bpf_skb_load_bytes(skb, at + 4, &raw, sizeof(raw)) < 0) return -1;
    client->address = from_ipv4(raw);
    return 0;
  }
  return bpf_skb_load_bytes(skb, at + 4, client->address.words, 16) < 0 ? -1 : 0;
}

// The header of IP protocol 248 at `at`. Returns its length, 0 when it is malformed.
always_inline __u32 read_header(struct __sk_buff* skb, __u32 at, struct client* client) {
  __u8 head[UOA_HEAD];
  if (bpf_skb_load_bytes(skb, at, head, sizeof(head)) < 0 || head[1] != IPPROTO_UDP || head[2] != 0) return 0;
  const __u32 length = head[0] == 0x10 ? OPTION_V4 : head[0] == 0x20 ? OPTION_V6 : 0;
  if (length == 0 || head[3] != UOA_HEAD + length) return 0;
  if (read_option(skb, at + UOA_HEAD, length, client) < 0) return 0;
  return UOA_HEAD + length;
}

always_inline int with_header_ipv4(struct __sk_buff* skb, const struct ipv4_header* ip, struct datagram* datagram) {
  if (!is_trusted(&datagram->source)) return drop(COUNT_datagrams_refused);
  if (ip->version_length != 0x45 || (ip->fragment & bpf_htons(IPV4_FRAGMENT_MASK)) != 0) return drop(COUNT_datagrams_malformed);
  const __u32 l4 = ETH_HLEN + IPV4_HEADER_LENGTH;
  const __u32 removed = read_header(skb, l4, &datagram->client);
  if (removed == 0 || remember(skb, datagram, l4 + removed) < 0) return drop(COUNT_datagrams_malformed);
  const __be16 length = bpf_htons((__u16)(bpf_ntohs(ip->total_length) - removed));
  // Length and protocol change, and the checksum by as much: what the card summed over all of them stays right.
  const __u32 checksum = ETH_HLEN + __builtin_offsetof(struct ipv4_header, checksum);
  const __u8 udp = IPPROTO_UDP;
  const __be16 before = bpf_htons((__u16)(ip->ttl << 8 | PROTOCOL_UOA)), after = bpf_htons((__u16)(ip->ttl << 8 | IPPROTO_UDP));
  if (bpf_l3_csum_replace(skb, checksum, ip->total_length, length, 2) < 0 || bpf_l3_csum_replace(skb, checksum, before, after, 2) < 0 ||
      bpf_skb_store_bytes(skb, ETH_HLEN + __builtin_offsetof(struct ipv4_header, total_length), &length, 2, 0) < 0 ||
      bpf_skb_store_bytes(skb, ETH_HLEN + __builtin_offsetof(struct ipv4_header, protocol), &udp, 1, 0) < 0 ||
      bpf_skb_adjust_room(skb, -(__s32)removed, BPF_ADJ_ROOM_NET, 0) < 0) {
    return drop(COUNT_datagrams_failed);
  }
  count(COUNT_datagrams_found);
  return TC_ACT_UNSPEC;
}

always_inline int with_header_ipv6(struct __sk_buff* skb, const struct ipv6_header* ip, struct datagram* datagram) {
  if (!is_trusted(&datagram->source)) return drop(COUNT_datagrams_refused);
  const __u32 l4 = ETH_HLEN + IPV6_HEADER_LENGTH;
  const __u32 removed = read_header(skb, l4, &datagram->client);
  if (removed == 0 || remember(skb, datagram, l4 + removed) < 0) return drop(COUNT_datagrams_malformed);
  const __be16 length = bpf_htons((__u16)(bpf_ntohs(ip->payload_length) - removed));
  const __u8 udp = IPPROTO_UDP;
  if (bpf_skb_store_bytes(skb, ETH_HLEN + __builtin_offsetof(struct ipv6_header, payload_length), &length, 2, BPF_F_RECOMPUTE_CSUM) < 0 ||
      bpf_skb_store_bytes(skb, ETH_HLEN + __builtin_offsetof(struct ipv6_header, next_header), &udp, 1, BPF_F_RECOMPUTE_CSUM) < 0 ||
      bpf_skb_adjust_room(skb, -(__s32)removed, BPF_ADJ_ROOM_NET, 0) < 0) {
    return drop(COUNT_datagrams_failed);
  }
  count(COUNT_datagrams_found);
  return TC_ACT_UNSPEC;
}

// An IPv4 option becomes eight no-operations: the header keeps its length, and its checksum follows.
always_inline int blank_option(struct __sk_buff* skb, __u32 at) {
  __u32 before[2], after[2] = {0x01010101, 0x01010101};
  if (bpf_skb_load_bytes(skb, at, before, sizeof(before)) < 0) return -1;
  const __s64 difference = bpf_csum_diff(before, sizeof(before), after, sizeof(after), 0);
  if (bpf_l3_csum_replace(skb, ETH_HLEN + __builtin_offsetof(struct ipv4_header, checksum), 0, (__u64)difference, 0) < 0) return -1;
  return bpf_skb_store_bytes(skb, at, after, sizeof(after), 0) < 0 ? -1 : 0;
}

// Balancers put the option first.
always_inline int with_option(struct __sk_buff* skb, const struct ipv4_header* ip, struct datagram* datagram) {
  const __u32 header = (ip->version_length & 0x0fu) * 4;
  const __u32 at = ETH_HLEN + IPV4_HEADER_LENGTH;
  __u8 head[2];
  if (header < IPV4_HEADER_LENGTH + OPTION_V4 || bpf_skb_load_bytes(skb, at, head, sizeof(head)) < 0 || head[0] != OPTION_UOA) return TC_ACT_UNSPEC;
  const int believed = is_trusted(&datagram->source);
  const int later = (ip->fragment & bpf_htons(IPV4_FRAGMENT_OFFSET_MASK)) != 0;
  if (head[1] != OPTION_V4 || read_option(skb, at, OPTION_V4, &datagram->client) < 0) {
    return believed ? drop(COUNT_datagrams_malformed) : drop(COUNT_datagrams_refused);
  }
  if (believed && !later && remember(skb, datagram, ETH_HLEN + header) < 0) return drop(COUNT_datagrams_malformed);
  if (blank_option(skb, at) < 0) return drop(COUNT_datagrams_failed);
  count(believed ? COUNT_datagrams_found : COUNT_datagrams_refused);
  return TC_ACT_UNSPEC;
}

SEC("tc")
int millrace_datagrams(struct __sk_buff* skb) {
  if (skb->vlan_present || skb->pkt_type != PACKET_TO_US) return TC_ACT_UNSPEC;
  struct datagram datagram = {};
  if (skb->protocol == bpf_htons(ETH_P_IP)) {
    struct ipv4_header ip;
    if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) < 0) return TC_ACT_UNSPEC;
    datagram.source = from_ipv4(ip.source);
    datagram.destination = from_ipv4(ip.destination);
    if (ip.protocol == PROTOCOL_UOA) return with_header_ipv4(skb, &ip, &datagram);
    if (ip.protocol == IPPROTO_UDP && ip.version_length != 0x45) return with_option(skb, &ip, &datagram);
  } else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
    struct ipv6_header ip;
    if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) < 0) return TC_ACT_UNSPEC;
    datagram.source = from_ipv6(ip.source);
    datagram.destination = from_ipv6(ip.destination);
    if (ip.next_header == PROTOCOL_UOA) return with_header_ipv6(skb, &ip, &datagram);
  }
  return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
