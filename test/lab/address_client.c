// address_client: makes connections to address_server and judges what comes back.
//
//   address_client [options] ADDRESS PORT
//     --count N  --at-once N       connections altogether and at a time
//     --from A,B,...               own addresses, in turn
//     --bytes N                    of each request and answer
//     --server-first               the server greets
//     --shape plain|bytes|at-once|abort   bytes: one byte per segment; at-once: SYN with data, then FIN; abort: reset when connected
//     --send v1|v2                 sends a PROXY header itself: of 192.0.2.77 port 4711
//     --expect ADDRESS PORT        what the server should have seen, in place of the connection's own address
//     --seconds N                  how long the whole may take
//
// Prints one line of JSON: ok, wrongAddress, badBytes, reset, hung, failed. Exit code 0 when all were ok.
// Thread: one.
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LARGEST 65536
#define CONNECTIONS 65536

enum shape { PLAIN, BYTES, AT_ONCE, ABORT };

struct connection {
  int used, connected, greeted;
  unsigned seed;
  char* out;
  unsigned out_length, out_sent;
  char head[128];
  unsigned head_length;
  int head_done, bad;
  unsigned length, checked;
};

static struct connection connections[CONNECTIONS];
static struct sockaddr_storage target;
static socklen_t target_length;
static struct sockaddr_storage sources[64];
static unsigned source_count, started, ended, running;
static unsigned count = 1, at_once = 100, bytes = 2000, seconds = 120;
static int server_first, send_version;
static enum shape shape;
static const char* expected_address;
static unsigned expected_port;
static int events;
static unsigned ok, wrong_address, bad_bytes, resets, failed;
static char sample[256];

static uint8_t byte_at(unsigned seed, unsigned place) {
  uint32_t x = seed * 2654435761u + place * 40503u + 12345u;
  x ^= x >> 15;
  x *= 2246822519u;
  x ^= x >> 13;
  return (uint8_t)x;
}

static socklen_t read_address(const char* text, unsigned port, struct sockaddr_storage* address) {
  struct sockaddr_in* in = (struct sockaddr_in*)address;
  struct sockaddr_in6* in6 = (struct sockaddr_in6*)address;
  memset(address, 0, sizeof(*address));
  if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)port);
    return sizeof(*in);
  }
  if (inet_pton(AF_INET6, text, &in6->sin6_addr) != 1) {
    fprintf(stderr, "%s is no address\n", text);
    exit(2);
  }
  in6->sin6_family = AF_INET6;
  in6->sin6_port = htons((uint16_t)port);
  return sizeof(*in6);
}

static void finish(int fd, unsigned* how) {
  (*how)++;
  free(connections[fd].out);
  memset(&connections[fd], 0, sizeof(connections[fd]));
  close(fd);
  ended++;
  running--;
}

static void own_name(int fd, char* address, unsigned* port) {
  struct sockaddr_storage own;
  socklen_t length = sizeof(own);
  getsockname(fd, (struct sockaddr*)&own, &length);
  if (own.ss_family == AF_INET) {
    inet_ntop(AF_INET, &((struct sockaddr_in*)&own)->sin_addr, address, INET6_ADDRSTRLEN);
    *port = ntohs(((struct sockaddr_in*)&own)->sin_port);
  } else {
    inet_ntop(AF_INET6, &((struct sockaddr_in6*)&own)->sin6_addr, address, INET6_ADDRSTRLEN);
    *port = ntohs(((struct sockaddr_in6*)&own)->sin6_port);
  }
}

static unsigned write_header(char* out) {
  static const uint8_t v2[] = {13, 10, 13, 10, 0, 13, 10, 'Q', 'U', 'I', 'T', 10, 0x21, 0x11, 0, 12, 192, 0, 2, 77, 192, 0, 2, 99, 0x12, 0x67, 0x01, 0xbb};
  if (send_version == 1) return (unsigned)sprintf(out, "PROXY TCP4 192.0.2.77 192.0.2.99 4711 443\r\n");
  if (send_version == 2) memcpy(out, v2, sizeof(v2));
  return send_version == 2 ? (unsigned)sizeof(v2) : 0;
}

static void prepare(struct connection* c, unsigned seed) {
  c->seed = seed;
  c->out = malloc(256 + LARGEST);
  c->out_length = write_header(c->out);
  c->out_length += (unsigned)sprintf(c->out + c->out_length, "ADDR %u %u\n", bytes, seed);
  for (unsigned i = 0; i < bytes; i++) c->out[c->out_length++] = (char)byte_at(seed, i);
}

static void write_out(int fd) {
  struct connection* c = &connections[fd];
  // With a header of its own in front, that is all that may be said before the greeting.
  const unsigned allowed = server_first && !c->greeted ? (send_version == 1 ? 43u : send_version == 2 ? 28u : 0u) : c->out_length;
  while (c->out_sent < allowed) {
    const unsigned piece = shape == BYTES ? 1 : allowed - c->out_sent;
    const ssize_t sent = send(fd, c->out + c->out_sent, piece, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EAGAIN) return;
      return finish(fd, errno == ECONNRESET || errno == EPIPE ? &resets : &failed);
    }
    c->out_sent += (unsigned)sent;
  }
  if (c->out_sent == c->out_length && shape == AT_ONCE) shutdown(fd, SHUT_WR);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  epoll_ctl(events, EPOLL_CTL_MOD, fd, &event);
}

static void judge(int fd) {
  struct connection* c = &connections[fd];
  char seen[64], verdict[8], own[INET6_ADDRSTRLEN];
  unsigned seen_port, length, own_port;
  if (sscanf(c->head, "SEEN %63s %u %7s %u", seen, &seen_port, verdict, &length) != 4 || length != bytes || c->checked != bytes || c->bad ||
      strcmp(verdict, "ok") != 0) {
    if (!sample[0]) snprintf(sample, sizeof(sample), "%.60s, %u bytes", c->head, c->checked);
    return finish(fd, &bad_bytes);
  }
  own_name(fd, own, &own_port);
  const int right = expected_address ? strcmp(seen, expected_address) == 0 && seen_port == expected_port : strcmp(seen, own) == 0 && seen_port == own_port;
  if (!right && !sample[0]) snprintf(sample, sizeof(sample), "seen %s port %u, own %s port %u", seen, seen_port, own, own_port);
  finish(fd, right ? &ok : &wrong_address);
}

static void read_in(int fd) {
  struct connection* c = &connections[fd];
  for (;;) {
    char buffer[4096];
    const ssize_t length = recv(fd, buffer, sizeof(buffer), 0);
    if (length < 0 && errno == EAGAIN) return;
    if (length < 0) return finish(fd, errno == ECONNRESET ? &resets : &failed);
    if (length == 0) return judge(fd);
    for (ssize_t i = 0; i < length; i++) {
      if (c->head_done) {
        if (c->checked >= bytes || (uint8_t)buffer[i] != byte_at(c->seed + 1, c->checked)) c->bad = 1;
        c->checked++;
      } else if (buffer[i] == '\n') {
        c->head[c->head_length] = 0;
        if (server_first && !c->greeted) {
          if (strcmp(c->head, "HELLO") != 0) c->bad = 1;
          c->greeted = 1;
          c->head_length = 0;
          write_out(fd);
          if (!c->used) return;
        } else {
          c->head_done = 1;
        }
      } else if (c->head_length + 1 < sizeof(c->head)) {
        c->head[c->head_length++] = buffer[i];
      }
    }
  }
}

static void start(void) {
  const unsigned seed = ++started;
  running++;
  const int fd = socket(target.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const int one = 1;
  if (fd < 0 || fd >= CONNECTIONS) {
    perror("socket");
    exit(1);
  }
  memset(&connections[fd], 0, sizeof(connections[fd]));
  connections[fd].used = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  if (source_count) {
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    if (bind(fd, (struct sockaddr*)&sources[seed % source_count], target_length) != 0) {
      perror("bind");
      exit(1);
    }
  }
  prepare(&connections[fd], seed);
  struct connection* c = &connections[fd];
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.fd = fd};
  epoll_ctl(events, EPOLL_CTL_ADD, fd, &event);
  if (shape == AT_ONCE && !server_first) {
    const ssize_t sent = sendto(fd, c->out, c->out_length, MSG_FASTOPEN | MSG_NOSIGNAL, (struct sockaddr*)&target, target_length);
    if (sent > 0) {
      c->out_sent = (unsigned)sent;
      if (c->out_sent == c->out_length) shutdown(fd, SHUT_WR);
      return;
    }
    if (errno != EINPROGRESS) return finish(fd, &failed);
    return;
  }
  if (connect(fd, (struct sockaddr*)&target, target_length) != 0 && errno != EINPROGRESS) finish(fd, &failed);
}

static void abort_now(int fd) {
  const struct linger none = {.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
  finish(fd, &ok);
}

static void on_event(int fd, unsigned what) {
  struct connection* c = &connections[fd];
  if (!c->used) return;
  int error = 0;
  socklen_t length = sizeof(error);
  if (!c->connected && (what & (EPOLLOUT | EPOLLERR))) {
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error) return finish(fd, error == ECONNRESET ? &resets : &failed);
    c->connected = 1;
    if (shape == ABORT) return abort_now(fd);
  }
  if (c->connected && (what & EPOLLOUT)) write_out(fd);
  if (c->used && (what & (EPOLLIN | EPOLLHUP | EPOLLERR))) read_in(fd);
}

static void read_options(int argc, char** argv) {
  static const struct option options[] = {{"count", 1, NULL, 'c'}, {"at-once", 1, NULL, 'a'},   {"from", 1, NULL, 'f'},   {"bytes", 1, NULL, 'b'}, {"server-first", 0, NULL, 's'},
                                          {"shape", 1, NULL, 'h'}, {"send", 1, NULL, 'v'},      {"expect", 1, NULL, 'e'}, {"expect-port", 1, NULL, 'p'}, {"seconds", 1, NULL, 't'}, {NULL, 0, NULL, 0}};
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (option == 'c') count = (unsigned)atoi(optarg);
    else if (option == 'a') at_once = (unsigned)atoi(optarg);
    else if (option == 'b') bytes = (unsigned)atoi(optarg);
    else if (option == 's') server_first = 1;
    else if (option == 'v') send_version = strcmp(optarg, "v1") == 0 ? 1 : 2;
    else if (option == 'e') expected_address = optarg;
    else if (option == 'p') expected_port = (unsigned)atoi(optarg);
    else if (option == 't') seconds = (unsigned)atoi(optarg);
    else if (option == 'h') shape = strcmp(optarg, "bytes") == 0 ? BYTES : strcmp(optarg, "at-once") == 0 ? AT_ONCE : strcmp(optarg, "abort") == 0 ? ABORT : PLAIN;
    else if (option == 'f') {
      for (char* word = strtok(optarg, ","); word && source_count < 64; word = strtok(NULL, ",")) read_address(word, 0, &sources[source_count++]);
    } else exit(2);
  }
  if (argc - optind != 2 || bytes > LARGEST) {
    fprintf(stderr, "usage: address_client [options] ADDRESS PORT\n");
    exit(2);
  }
  target_length = read_address(argv[optind], (unsigned)atoi(argv[optind + 1]), &target);
}

int main(int argc, char** argv) {
  read_options(argc, argv);
  events = epoll_create1(0);
  const time_t deadline = time(NULL) + (time_t)seconds;
  struct epoll_event batch[256];
  while (ended < count && time(NULL) < deadline) {
    while (running < at_once && started < count) start();
    const int ready = epoll_wait(events, batch, 256, 1000);
    for (int i = 0; i < ready; i++) on_event(batch[i].data.fd, batch[i].events);
  }
  const unsigned hung = count - ended;
  printf("{\"ok\":%u,\"wrongAddress\":%u,\"badBytes\":%u,\"reset\":%u,\"failed\":%u,\"hung\":%u,\"sample\":\"%s\"}\n", ok, wrong_address, bad_bytes,
         resets, failed, hung, sample);
  return ok == count ? 0 : 1;
}
