// An SCTP echo, server and client, on a stack in user space (libusrsctp over raw sockets): the lab's kernels need no SCTP of their own.
// Each association has one address at each end: full NAT and NAT carry no others.
//   sctp_echo server NAME PORT ADDRESS...
//   sctp_echo client ADDRESS PORT SOURCE ASSOCIATIONS MESSAGES BYTES
// Guarantees: the server prints "ready" when it listens on all addresses; the client prints one JSON line and ends with 0 only if every
// message came back as it was sent, behind the server's name.
// Thread: processes of their own; the stack's threads beside one per address of the server.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <usrsctp.h>

enum { kLargest = 65536, kAnswerSeconds = 10 };

static const char* server_name;

static void fail(const char* what, const char* about) {
  fprintf(stderr, "%s: ", about);
  perror(what);
  exit(2);
}

union address {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
};

static socklen_t parse(const char* text, const char* port, union address* address) {
  memset(address, 0, sizeof(*address));
  const uint16_t number = htons((uint16_t)atoi(port));
  if (inet_pton(AF_INET, text, &address->v4.sin_addr) == 1) {
    address->v4.sin_family = AF_INET;
    address->v4.sin_port = number;
    return sizeof(address->v4);
  }
  if (inet_pton(AF_INET6, text, &address->v6.sin6_addr) == 1) {
    address->v6.sin6_family = AF_INET6;
    address->v6.sin6_port = number;
    return sizeof(address->v6);
  }
  fail("not an address", text);
  return 0;
}

/// A socket that is bound to one address, so that INIT names no other.
static struct socket* bound_socket(const char* text, const char* port) {
  union address address;
  const socklen_t length = parse(text, port, &address);
  struct socket* socket = usrsctp_socket(address.any.sa_family, SOCK_STREAM, IPPROTO_SCTP, NULL, NULL, 0, NULL);
  if (socket == NULL) fail("usrsctp_socket", text);
  const int on = 1;
  usrsctp_setsockopt(socket, IPPROTO_SCTP, SCTP_NODELAY, &on, sizeof(on));
  // The stack does not hear of ICMP errors: what a tunnel adds must fit from the start.
  struct sctp_paddrparams path = {.spp_pathmtu = 1280, .spp_flags = SPP_PMTUD_DISABLE};
  path.spp_address.ss_family = address.any.sa_family;
  usrsctp_setsockopt(socket, IPPROTO_SCTP, SCTP_PEER_ADDR_PARAMS, &path, sizeof(path));
  if (usrsctp_bind(socket, &address.any, length) < 0) fail("usrsctp_bind", text);
  return socket;
}

/// Bytes of the next message, 0 at the end of the association, -1 if it broke.
static ssize_t receive(struct socket* socket, char* buffer, size_t size) {
  union address from;
  socklen_t from_length = sizeof(from);
  struct sctp_rcvinfo info;
  socklen_t info_length = sizeof(info);
  unsigned type;
  int flags = 0;
  return usrsctp_recvv(socket, buffer, size, &from.any, &from_length, &info, &info_length, &type, &flags);
}

static int send_message(struct socket* socket, const char* bytes, size_t length) {
  return usrsctp_sendv(socket, bytes, length, NULL, 0, NULL, 0, SCTP_SENDV_NOINFO, 0) == (ssize_t)length;
}

static void* converse(void* argument) {
  struct socket* socket = argument;
  char buffer[kLargest];
  const int prefix = snprintf(buffer, sizeof(buffer), "%s ", server_name);
  for (;;) {
    const ssize_t length = receive(socket, buffer + prefix, sizeof(buffer) - (size_t)prefix);
    if (length <= 0 || !send_message(socket, buffer, (size_t)(prefix + length))) break;
  }
  usrsctp_close(socket);
  return NULL;
}

static void* accept_all(void* argument) {
  for (struct socket* peer; (peer = usrsctp_accept(argument, NULL, NULL)) != NULL;) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, converse, peer) != 0) fail("pthread_create", "an association");
    pthread_detach(thread);
  }
  return NULL;
}

static void serve(int count, char** addresses, const char* port) {
  for (int i = 0; i < count; i++) {
    struct socket* socket = bound_socket(addresses[i], port);
    if (usrsctp_listen(socket, 128) < 0) fail("usrsctp_listen", addresses[i]);
    pthread_t thread;
    if (pthread_create(&thread, NULL, accept_all, socket) != 0) fail("pthread_create", addresses[i]);
  }
  puts("ready");
  fflush(stdout);
  for (;;) pause();
}

/// Whether `answer` is a name, a space and `sent`; the name goes to `name`.
static int is_echo(const char* answer, size_t length, const char* sent, size_t sent_length, char name[16]) {
  const char* space = memchr(answer, ' ', length);
  if (space == NULL || space - answer >= 16) return 0;
  const size_t prefix = (size_t)(space - answer) + 1;
  memcpy(name, answer, prefix - 1);
  name[prefix - 1] = 0;
  return length == prefix + sent_length && memcmp(answer + prefix, sent, sent_length) == 0;
}

static int ask(char** words) {
  const int associations = atoi(words[3]), messages = atoi(words[4]);
  const size_t size = (size_t)atoi(words[5]);
  char sent[kLargest], answer[kLargest], names[8][16];
  int answered = 0, by_name[8] = {0}, known = 0;
  for (int i = 0; i < associations; i++) {
    struct socket* socket = bound_socket(words[2], "0");
    const struct timeval patience = {.tv_sec = kAnswerSeconds};
    usrsctp_setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    union address server;
    const socklen_t length = parse(words[0], words[1], &server);
    if (usrsctp_connect(socket, &server.any, length) < 0) fail("usrsctp_connect", words[0]);
    for (int j = 0; j < messages; j++) {
      for (size_t at = 0; at < size; at++) sent[at] = (char)(i * 31 + j * 7 + (int)at);
      char name[16];
      if (!send_message(socket, sent, size)) break;
      const ssize_t got = receive(socket, answer, sizeof(answer));
      if (got <= 0 || !is_echo(answer, (size_t)got, sent, size, name)) break;
      answered++;
      int which = 0;
      while (which < known && strcmp(names[which], name) != 0) which++;
      if (which == known && known < 8) strcpy(names[known++], name);
      if (which < 8) by_name[which]++;
    }
    usrsctp_close(socket);
  }
  printf("{\"sent\":%d,\"answered\":%d,\"failed\":%d,\"repeated\":0,\"byServer\":{", associations * messages, answered,
         associations * messages - answered);
  for (int i = 0; i < known; i++) printf("%s\"%s\":%d", i > 0 ? "," : "", names[i], by_name[i]);
  puts("}}");
  fflush(stdout);
  // Associations take a moment to shut down; the end of the process would leave their last packets unsent.
  for (int tries = 0; usrsctp_finish() != 0 && tries < 100; tries++) usleep(20000);
  return answered == associations * messages ? 0 : 1;
}

static void quiet(const char* format, ...) { (void)format; }

int main(int count, char** words) {
  const int is_server = count >= 5 && strcmp(words[1], "server") == 0;
  const int is_client = count == 8 && strcmp(words[1], "client") == 0;
  if (!is_server && !is_client) {
    fprintf(stderr, "sctp_echo server NAME PORT ADDRESS... | client ADDRESS PORT SOURCE ASSOCIATIONS MESSAGES BYTES\n");
    return 2;
  }
  usrsctp_init(0, NULL, quiet);
  usrsctp_sysctl_set_sctp_asconf_enable(0);
  usrsctp_sysctl_set_sctp_no_csum_on_loopback(0);
  if (is_client) return ask(words + 2);
  server_name = words[2];
  serve(count - 4, words + 4, words[3]);
  return 0;
}
