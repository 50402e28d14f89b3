// address_server: says what it believes of its clients. TCP; one connection is:
//
//   (PROXY header)     server: "HELLO\n" if it speaks first, once it knows who the client is
//   client: "ADDR LENGTH SEED\n" and so many bytes from that seed
//   server: "SEEN ADDRESS PORT VERDICT LENGTH\n" and so many bytes from SEED + 1, then FIN       verdict: ok, bad
//
//   address_server peer|proxy-v1|proxy-v2 client|server ADDRESS PORT [ADDRESS PORT ...]
//
// With "peer" it asks the kernel (getpeername), with a PROXY header it reads it as strictly as it can: once, first, whole; the bytes behind
// it are compared one by one, so a header too many is as wrong as one too few. Prints {"ready":true}, and its counts as JSON at SIGTERM.
// Thread: one.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LARGEST 65536
#define CONNECTIONS 65536

enum method { PEER, PROXY_V1, PROXY_V2 };

struct connection {
  int used;
  char address[INET6_ADDRSTRLEN];
  unsigned port;
  int known, greeted;
  unsigned have, seed, length, checked;
  int requested, bad;
  uint8_t in[512];
  uint8_t* out;
  unsigned out_length, out_sent;
};

static struct connection connections[CONNECTIONS];
static enum method method;
static int server_first;
static unsigned long long accepted, answered, malformed, aborted, silent;
static volatile sig_atomic_t ended;
static int events;

static void end(int signal) {
  (void)signal;
  ended = 1;
}

static uint8_t byte_at(unsigned seed, unsigned place) {
  uint32_t x = seed * 2654435761u + place * 40503u + 12345u;
  x ^= x >> 15;
  x *= 2246822519u;
  x ^= x >> 13;
  return (uint8_t)x;
}

static void forget(int fd, unsigned long long* why) {
  if (why) (*why)++;
  free(connections[fd].out);
  memset(&connections[fd], 0, sizeof(connections[fd]));
  close(fd);
}

static void set_peer(struct connection* c, int fd) {
  struct sockaddr_storage peer;
  socklen_t length = sizeof(peer);
  if (getpeername(fd, (struct sockaddr*)&peer, &length) != 0) return;
  if (peer.ss_family == AF_INET) {
    const struct sockaddr_in* in = (const struct sockaddr_in*)&peer;
    inet_ntop(AF_INET, &in->sin_addr, c->address, sizeof(c->address));
    c->port = ntohs(in->sin_port);
  } else {
    const struct sockaddr_in6* in6 = (const struct sockaddr_in6*)&peer;
    if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) inet_ntop(AF_INET, (const uint8_t*)&in6->sin6_addr + 12, c->address, sizeof(c->address));
    else inet_ntop(AF_INET6, &in6->sin6_addr, c->address, sizeof(c->address));
    c->port = ntohs(in6->sin6_port);
  }
  c->known = 1;
}

// Bytes of the header at the front of c->in; 0 while it is not whole, -1 if it is none.
static int read_v1(struct connection* c) {
  char line[108], protocol[8], source[64], destination[64];
  unsigned source_port, destination_port;
  int end = 0;
  for (unsigned i = 0; i + 1 < c->have && i < 107; i++) {
    if (c->in[i] == '\r' && c->in[i + 1] == '\n') {
      memcpy(line, c->in, i);
      line[i] = 0;
      char again[160];
      if (sscanf(line, "PROXY %7s %63s %63s %u %u%n", protocol, source, destination, &source_port, &destination_port, &end) != 5) return -1;
      snprintf(again, sizeof(again), "PROXY %s %s %s %u %u", protocol, source, destination, source_port, destination_port);
      const int family = strcmp(protocol, "TCP4") == 0 ? AF_INET : AF_INET6;
      uint8_t raw[16];
      if (strcmp(again, line) != 0 || inet_pton(family, source, raw) != 1 || inet_pton(family, destination, raw) != 1) return -1;
      snprintf(c->address, sizeof(c->address), "%.45s", source);
      c->port = source_port;
      return (int)i + 2;
    }
  }
  return c->have >= 107 || (c->have >= 6 && memcmp(c->in, "PROXY ", 6) != 0) ? -1 : 0;
}

static int read_v2(struct connection* c) {
  static const uint8_t signature[12] = {13, 10, 13, 10, 0, 13, 10, 'Q', 'U', 'I', 'T', 10};
  const unsigned compared = c->have < 12 ? c->have : 12;
  if (memcmp(c->in, signature, compared) != 0) return -1;
  if (c->have < 16) return 0;
  const unsigned length = 16u + (unsigned)(c->in[14] << 8 | c->in[15]);
  const int family = c->in[13] == 0x11 ? AF_INET : c->in[13] == 0x21 ? AF_INET6 : 0;
  if (c->in[12] != 0x21 || family == 0 || length > sizeof(c->in)) return -1;
  if (c->have < length) return 0;
  const unsigned size = family == AF_INET ? 4 : 16;
  inet_ntop(family, c->in + 16, c->address, sizeof(c->address));
  c->port = (unsigned)(c->in[16 + 2 * size] << 8 | c->in[17 + 2 * size]);
  return (int)length;
}

static void write_out(int fd) {
  struct connection* c = &connections[fd];
  while (c->out_sent < c->out_length) {
    const ssize_t sent = send(fd, c->out + c->out_sent, c->out_length - c->out_sent, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno != EAGAIN) return forget(fd, &aborted);
      struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.fd = fd};
      epoll_ctl(events, EPOLL_CTL_MOD, fd, &event);
      return;
    }
    c->out_sent += (unsigned)sent;
  }
  if (c->out_length != 0) shutdown(fd, SHUT_WR);
}

static void respond(int fd) {
  struct connection* c = &connections[fd];
  c->out = malloc(256 + LARGEST);
  const int head = sprintf((char*)c->out, "SEEN %s %u %s %u\n", c->address, c->port, c->bad ? "bad" : "ok", c->length);
  for (unsigned i = 0; i < c->length; i++) c->out[head + (int)i] = byte_at(c->seed + 1, i);
  c->out_length = (unsigned)head + c->length;
  answered++;
  write_out(fd);
}

// Goes on with what has come. 0: the connection is gone.
static int proceed(int fd) {
  struct connection* c = &connections[fd];
  if (!c->known) {
    const int length = method == PROXY_V1 ? read_v1(c) : read_v2(c);
    if (length < 0) return forget(fd, &malformed), 0;
    if (length == 0) return 1;
    c->have -= (unsigned)length;
    memmove(c->in, c->in + length, c->have);
    c->known = 1;
  }
  if (server_first && !c->greeted) {
    c->greeted = 1;
    if (send(fd, "HELLO\n", 6, MSG_NOSIGNAL) != 6) return forget(fd, &aborted), 0;
  }
  if (!c->requested) {
    uint8_t* line_end = memchr(c->in, '\n', c->have);
    if (!line_end) {
      if (c->have > 64) return forget(fd, &malformed), 0;
      return 1;
    }
    *line_end = 0;
    if (sscanf((char*)c->in, "ADDR %u %u", &c->length, &c->seed) != 2 || c->length > LARGEST) return forget(fd, &malformed), 0;
    c->requested = 1;
    const unsigned used = (unsigned)(line_end - c->in) + 1;
    c->have -= used;
    memmove(c->in, c->in + used, c->have);
  }
  for (unsigned i = 0; i < c->have; i++, c->checked++) {
    if (c->checked >= c->length || c->in[i] != byte_at(c->seed, c->checked)) c->bad = 1;
  }
  c->have = 0;
  if (c->checked >= c->length && c->out == NULL) respond(fd);
  return connections[fd].used;
}

static void read_in(int fd) {
  for (;;) {
    struct connection* c = &connections[fd];
    const ssize_t length = recv(fd, c->in + c->have, sizeof(c->in) - c->have, 0);
    if (length < 0 && errno == EAGAIN) return;
    if (length < 0) return forget(fd, &aborted);
    if (length == 0) {
      if (c->out && c->out_sent < c->out_length) {
        // All has been said; what is to be answered is still on its way.
        struct epoll_event event = {.events = EPOLLOUT, .data.fd = fd};
        epoll_ctl(events, EPOLL_CTL_MOD, fd, &event);
        return;
      }
      return forget(fd, c->out ? NULL : c->have || c->known ? &aborted : &silent);
    }
    c->have += (unsigned)length;
    if (!proceed(fd)) return;
  }
}

static void take(int listener) {
  for (;;) {
    const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    accepted++;
    struct connection* c = &connections[fd];
    memset(c, 0, sizeof(*c));
    c->used = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(events, EPOLL_CTL_ADD, fd, &event);
    if (method == PEER) set_peer(c, fd);
    if (c->known) proceed(fd);
  }
}

static void listen_on(const char* text, unsigned port) {
  struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
  struct sockaddr_in address4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  const int ipv4 = inet_pton(AF_INET, text, &address4.sin_addr) == 1;
  if (!ipv4 && inet_pton(AF_INET6, text, &address.sin6_addr) != 1) exit(2);
  const int fd = socket(ipv4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const int one = 1, both = strcmp(text, "::") != 0;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  if (!ipv4) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &both, sizeof(both));
  const struct sockaddr* where = ipv4 ? (const struct sockaddr*)&address4 : (const struct sockaddr*)&address;
  if (bind(fd, where, ipv4 ? sizeof(address4) : sizeof(address)) != 0 || listen(fd, 4096) != 0) {
    perror(text);
    exit(1);
  }
  struct epoll_event event = {.events = EPOLLIN, .data.fd = -fd};
  epoll_ctl(events, EPOLL_CTL_ADD, fd, &event);
}

int main(int argc, char** argv) {
  if (argc < 5 || argc % 2 == 0) {
    fprintf(stderr, "usage: address_server peer|proxy-v1|proxy-v2 client|server ADDRESS PORT [ADDRESS PORT ...]\n");
    return 2;
  }
  method = strcmp(argv[1], "proxy-v1") == 0 ? PROXY_V1 : strcmp(argv[1], "proxy-v2") == 0 ? PROXY_V2 : PEER;
  server_first = strcmp(argv[2], "server") == 0;
  events = epoll_create1(0);
  for (int i = 3; i + 1 < argc; i += 2) listen_on(argv[i], (unsigned)atoi(argv[i + 1]));
  const struct sigaction action = {.sa_handler = end};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  printf("{\"ready\":true}\n");
  fflush(stdout);
  struct epoll_event batch[256];
  while (!ended) {
    const int count = epoll_wait(events, batch, 256, -1);
    for (int i = 0; i < count; i++) {
      const int fd = batch[i].data.fd;
      if (fd < 0) {
        take(-fd);
        continue;
      }
      if (connections[fd].used && (batch[i].events & EPOLLOUT)) write_out(fd);
      if (connections[fd].used && (batch[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) read_in(fd);
    }
  }
  printf("{\"accepted\":%llu,\"answered\":%llu,\"malformed\":%llu,\"aborted\":%llu,\"silent\":%llu}\n", accepted, answered, malformed, aborted, silent);
  return 0;
}
