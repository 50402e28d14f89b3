// impair: a bad wire between two interfaces of one network namespace. Every frame that comes in by one leaves by the other, or is lost,
// or leaves twice, or leaves later than those behind it.
//
//   impair A B LOSS DUPLICATION REORDERING SEED        rates in 1/10000, in each direction
//
// netem would do the same, but not every kernel has it; a program in the middle needs nothing but packet sockets. Only frames of IPv4 and
// IPv6 suffer: ARP and neighbour discovery are what a test needs to work. Prints {"ready":true}, and its counts as JSON at SIGTERM.
// Thread: one.
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FRAME 2048
#define HELD 4096
// How long a frame that is to be overtaken waits: longer than a round through the lab, shorter than any retransmission.
#define LATEST_US 8000

struct held {
  uint64_t due_us;
  int to;
  unsigned length;
  uint8_t bytes[FRAME];
};

static volatile sig_atomic_t ended;
static unsigned rates[3];
static uint64_t counts[5];  // passed, lost, duplicated, reordered, refused
static struct held queue[HELD];
static unsigned held;
static uint64_t random_state;

static void end(int signal) {
  (void)signal;
  ended = 1;
}

static uint64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

// xorshift64*
static unsigned draw(unsigned below) {
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return (unsigned)((random_state * 0x2545f4914f6cdd1dull) >> 33) % below;
}

static int open_port(const char* name) {
  const int port = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
  struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(name)};
  const struct packet_mreq all = {.mr_ifindex = address.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
  const int size = 8 << 20, one = 1;
  if (port < 0 || bind(port, (struct sockaddr*)&address, sizeof(address)) != 0 ||
      setsockopt(port, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) != 0 ||
      setsockopt(port, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) != 0) {
    perror(name);
    exit(1);
  }
  setsockopt(port, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
  setsockopt(port, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
  return port;
}

static void leave(int to, const uint8_t* bytes, unsigned length) {
  if (send(to, bytes, length, 0) < 0) counts[4]++;
  else counts[0]++;
}

// ICMPv6 133 to 137 is neighbour discovery.
static int suffers(const uint8_t* frame, unsigned length) {
  if (length < 55) return length >= 34 && frame[12] == 0x08 && frame[13] == 0x00;
  if (frame[12] == 0x08 && frame[13] == 0x00) return 1;
  if (frame[12] != 0x86 || frame[13] != 0xdd) return 0;
  return frame[20] != 58 || frame[54] < 133 || frame[54] > 137;
}

static void pass(int to, const uint8_t* bytes, unsigned length) {
  if (!suffers(bytes, length)) return leave(to, bytes, length);
  if (draw(10000) < rates[0]) {
    counts[1]++;
    return;
  }
  if (draw(10000) < rates[1]) {
    counts[2]++;
    leave(to, bytes, length);
  }
  if (draw(10000) < rates[2] && held < HELD) {
    counts[3]++;
    queue[held].due_us = now_us() + 1 + draw(LATEST_US);
    queue[held].to = to;
    queue[held].length = length;
    memcpy(queue[held++].bytes, bytes, length);
    return;
  }
  leave(to, bytes, length);
}

// Sends what has waited long enough. Returns how long the next one still waits, in milliseconds; -1 if none does.
static int release(void) {
  const uint64_t now = now_us();
  uint64_t next = UINT64_MAX;
  for (unsigned i = 0; i < held;) {
    if (queue[i].due_us <= now) {
      leave(queue[i].to, queue[i].bytes, queue[i].length);
      queue[i] = queue[--held];
    } else {
      if (queue[i].due_us < next) next = queue[i].due_us;
      i++;
    }
  }
  return next == UINT64_MAX ? -1 : (int)((next - now + 999) / 1000);
}

int main(int argc, char** argv) {
  if (argc != 7) {
    fprintf(stderr, "usage: impair A B LOSS DUPLICATION REORDERING SEED\n");
    return 2;
  }
  for (int i = 0; i < 3; i++) rates[i] = (unsigned)atoi(argv[3 + i]);
  random_state = strtoull(argv[6], NULL, 10) * 0x9e3779b97f4a7c15ull + 1;
  struct pollfd ports[2] = {{.fd = open_port(argv[1]), .events = POLLIN}, {.fd = open_port(argv[2]), .events = POLLIN}};
  const struct sigaction action = {.sa_handler = end};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  printf("{\"ready\":true}\n");
  fflush(stdout);
  while (!ended) {
    if (poll(ports, 2, release()) < 0 && errno != EINTR) break;
    for (int side = 0; side < 2; side++) {
      for (int i = 0; i < 64; i++) {
        uint8_t frame[FRAME];
        const ssize_t length = recv(ports[side].fd, frame, sizeof(frame), MSG_DONTWAIT | MSG_TRUNC);
        if (length <= 0 || length > FRAME) break;
        pass(ports[1 - side].fd, frame, (unsigned)length);
      }
    }
  }
  printf("{\"passed\":%llu,\"lost\":%llu,\"duplicated\":%llu,\"reordered\":%llu,\"refused\":%llu}\n", (unsigned long long)counts[0],
         (unsigned long long)counts[1], (unsigned long long)counts[2], (unsigned long long)counts[3], (unsigned long long)counts[4]);
  return 0;
}
