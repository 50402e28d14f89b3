// millrace-realserver: the real server's side of full NAT as one static program, for servers without Node. It loads the programs of
// client_address.bpf.c, fastens them to a control group and to interfaces, and ends; nothing of it keeps running.
//
//   control group, tc hook                          hold the programs, and the programs their maps: nothing has to be named anywhere
//   /run/millrace-realserver/client-address-NETNS   what was done, in words, for `status` and `undo`
//
// Guarantees: what fails half-way is taken back; a second run replaces the first; every error says what is missing and what to do.
// Exit codes: 0 done or in place, 1 failed, 2 wrong usage, 4 nothing is prepared or not all of it is in place.
// Thread: one.
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "client_address.skel.h"

#define MAX_LIST 64
#define TC_PRIORITY 9
#define TC_HANDLE 1
#define STATE_FOLDER "/run/millrace-realserver"
#define OWN_CGROUP STATE_FOLDER "/cgroup"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_ABSENT = 4 };

static const struct {
  const char* name;
  const char* meaning;
} counters[] = {
#define CLIENT_ADDRESS_COUNTER(name, meaning) {#name, meaning},
#include "../client_address_counters.def"
#undef CLIENT_ADDRESS_COUNTER
};
#define COUNTERS (sizeof(counters) / sizeof(counters[0]))

// The programs that a control group holds, by the names that the kernel shows: 15 letters of them.
static const struct {
  const char* name;
  enum bpf_attach_type where;
} programs[] = {
    {"millrace_connections", BPF_CGROUP_SOCK_OPS},       {"millrace_getpeername4", BPF_CGROUP_INET4_GETPEERNAME},
    {"millrace_getpeername6", BPF_CGROUP_INET6_GETPEERNAME}, {"millrace_recvmsg4", BPF_CGROUP_UDP4_RECVMSG},
    {"millrace_recvmsg6", BPF_CGROUP_UDP6_RECVMSG},      {"millrace_sendmsg4", BPF_CGROUP_UDP4_SENDMSG},
    {"millrace_sendmsg6", BPF_CGROUP_UDP6_SENDMSG},      {"millrace_connect4", BPF_CGROUP_INET4_CONNECT},
    {"millrace_connect6", BPF_CGROUP_INET6_CONNECT},
};
#define PROGRAMS (sizeof(programs) / sizeof(programs[0]))

struct prefix {
  __u32 length;
  __u8 address[16];
};

struct list {
  unsigned count;
  char* items[MAX_LIST];
};

struct request {
  struct list from;
  struct list interfaces;
  const char* cgroup;
  unsigned char kinds[4];
  unsigned flows;
};

static char last_libbpf_message[512];

__attribute__((noreturn, format(printf, 2, 3))) static void fail(int code, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("millrace-realserver: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(code);
}

// libbpf explains itself at length; the last warning is the one that says why.
static int keep_message(enum libbpf_print_level level, const char* format, va_list arguments) {
  if (level != LIBBPF_WARN) return 0;
  char line[sizeof(last_libbpf_message)];
  vsnprintf(line, sizeof(line), format, arguments);
  line[strcspn(line, "\n")] = 0;
  if (strstr(line, "BPF program load failed") || last_libbpf_message[0] == 0) snprintf(last_libbpf_message, sizeof(last_libbpf_message), "%s", line);
  return 0;
}

// ---- words

static void add_words(struct list* list, const char* text, const char* what) {
  char* copy = strdup(text);
  for (char* word = strtok(copy, ","); word; word = strtok(NULL, ",")) {
    if (list->count == MAX_LIST) fail(EXIT_USAGE, "more than %d of %s; give fewer, or larger prefixes", MAX_LIST, what);
    list->items[list->count++] = word;
  }
}

// "192.0.2.0/24", "2001:db8::1"; the form that the maps have: 16 bytes, IPv4 as ::ffff:a.b.c.d.
static struct prefix read_prefix(const char* text) {
  char address[INET6_ADDRSTRLEN];
  struct prefix prefix = {.length = 128};
  const char* slash = strchr(text, '/');
  const size_t length = slash ? (size_t)(slash - text) : strlen(text);
  if (length >= sizeof(address)) fail(EXIT_USAGE, "\"%s\" is no address or prefix; write one such as 192.0.2.0/24", text);
  memcpy(address, text, length);
  address[length] = 0;
  unsigned unused = 0;
  if (inet_pton(AF_INET, address, prefix.address + 12) == 1) {
    prefix.address[10] = prefix.address[11] = 0xff;
    unused = 96;
  } else if (inet_pton(AF_INET6, address, prefix.address) != 1) {
    fail(EXIT_USAGE, "\"%s\" is no address or prefix; write one such as 192.0.2.0/24", text);
  }
  if (slash) {
    char* end;
    const unsigned long bits = strtoul(slash + 1, &end, 10);
    if (*end || end == slash + 1 || bits > 128 - unused) fail(EXIT_USAGE, "\"%s\" has no usable prefix length; %u at most", text, 128 - unused);
    prefix.length = (__u32)bits + unused;
  }
  return prefix;
}

static void read_kinds(const char* text, unsigned char kinds[4]) {
  struct list words = {0};
  add_words(&words, text, "kinds");
  if (words.count == 0 || words.count > 4) fail(EXIT_USAGE, "--kinds wants one to four numbers, such as 254,253,252");
  for (unsigned i = 0; i < 4; i++) {
    char* end;
    const unsigned long kind = strtoul(words.items[i < words.count ? i : 0], &end, 10);
    if (*end || kind < 9 || kind > 254) fail(EXIT_USAGE, "\"%s\" is no kind of TCP option that could carry an address; 252, 253 and 254 are in use", words.items[i < words.count ? i : 0]);
    kinds[i] = (unsigned char)kind;
  }
}

// ---- places

static unsigned long network_namespace(void) {
  struct stat status;
  if (stat("/proc/self/ns/net", &status) != 0) fail(EXIT_FAILED, "/proc/self/ns/net cannot be read (%s); mount /proc", strerror(errno));
  return (unsigned long)status.st_ino;
}

static const char* state_file(void) {
  static char path[128];
  snprintf(path, sizeof(path), STATE_FOLDER "/client-address-%lu", network_namespace());
  return path;
}

// The root of the unified hierarchy, wherever it is; hosts with cgroup v1 mostly have it beside.
static const char* cgroup_root(void) {
  static char path[256];
  FILE* mounts = fopen("/proc/self/mounts", "r");
  if (mounts) {
    char line[1024], where[256], type[64];
    while (fgets(line, sizeof(line), mounts)) {
      if (sscanf(line, "%*s %255s %63s", where, type) == 2 && strcmp(type, "cgroup2") == 0) {
        snprintf(path, sizeof(path), "%s", where);
        fclose(mounts);
        return path;
      }
    }
    fclose(mounts);
  }
  mkdir(STATE_FOLDER, 0755);
  mkdir(OWN_CGROUP, 0755);
  if (mount("cgroup2", OWN_CGROUP, "cgroup2", 0, NULL) == 0) return OWN_CGROUP;
  fail(EXIT_FAILED, "no cgroup2 hierarchy is mounted and none can be (%s); run: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified", strerror(errno));
}

static void check_kernel(void) {
  struct utsname name;
  unsigned major = 0, minor = 0;
  if (uname(&name) != 0 || sscanf(name.release, "%u.%u", &major, &minor) != 2) return;
  if (major < 5 || (major == 5 && minor < 10)) {
    fail(EXIT_FAILED, "this kernel is Linux %s; the programs read TCP options in sockops, which Linux 5.10 brought. Use PROXY protocol towards this server instead", name.release);
  }
}

// ---- undoing

// The filter at an interface's clsact hook; the hook itself goes too when nobody else uses it.
static bool detach_filter(const char* interface) {
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)if_nametoindex(interface), .attach_point = BPF_TC_INGRESS);
  if (hook.ifindex == 0) return false;
  LIBBPF_OPTS(bpf_tc_opts, options, .handle = TC_HANDLE, .priority = TC_PRIORITY);
  return bpf_tc_detach(&hook, &options) == 0;
}

// A line "key value" of the state; the value stays valid until the next call.
static const char* recorded(const char* key) {
  static char line[4096];
  FILE* state = fopen(state_file(), "r");
  if (!state) return NULL;
  const char* value = NULL;
  while (!value && fgets(line, sizeof(line), state)) {
    line[strcspn(line, "\n")] = 0;
    const size_t length = strlen(key);
    if (strncmp(line, key, length) == 0 && line[length] == ' ') value = line + length + 1;
  }
  fclose(state);
  return value;
}

// Descriptor of the program with that number if it is one of ours; -1 if not.
static int open_program(unsigned long id, size_t which) {
  const int program = bpf_prog_get_fd_by_id((__u32)id);
  if (program < 0) return -1;
  struct bpf_prog_info info = {0};
  __u32 length = sizeof(info);
  if (bpf_obj_get_info_by_fd(program, &info, &length) == 0 && strncmp(info.name, programs[which].name, BPF_OBJ_NAME_LEN - 1) == 0) return program;
  close(program);
  return -1;
}

// Numbers of the programs as they were recorded, in the order of `programs`.
static unsigned read_ids(unsigned long ids[PROGRAMS]) {
  const char* text = recorded("programs");
  unsigned count = 0;
  for (char* end; text && count < PROGRAMS && (ids[count] = strtoul(text, &end, 10)) != 0; count++) text = *end == ',' ? end + 1 : end;
  return count;
}

// The group that was recorded. The hierarchy that an earlier run mounted for itself may not be visible here ("ip netns exec").
static int open_cgroup(void) {
  const char* path = recorded("cgroup");
  if (path && strcmp(path, OWN_CGROUP) == 0) path = cgroup_root();
  return path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
}

// False when something could not be taken back; what and why has been said.
static bool undo(bool* something) {
  bool whole = true;
  const char* interfaces = recorded("interfaces");
  *something = interfaces != NULL;
  if (!interfaces) return true;
  struct list list = {0};
  add_words(&list, interfaces, "interfaces");
  for (unsigned i = 0; i < list.count; i++) detach_filter(list.items[i]);
  unsigned long ids[PROGRAMS];
  const unsigned count = read_ids(ids);
  const int cgroup = count ? open_cgroup() : -1;
  for (unsigned i = 0; i < count; i++) {
    const int program = open_program(ids[i], i);
    if (program < 0) continue;
    if (cgroup < 0 || bpf_prog_detach2(program, cgroup, programs[i].where) != 0) {
      if (whole) fprintf(stderr, "millrace-realserver: programs stay at the control group (%s); is it mounted where it was? Removing the group removes them, too\n", strerror(errno));
      whole = false;
    }
    close(program);
  }
  if (cgroup >= 0) close(cgroup);
  if (whole) unlink(state_file());
  return whole;
}

// ---- preparing

__attribute__((noreturn)) static void give_up(const char* what, int error) {
  bool something;
  undo(&something);
  if (last_libbpf_message[0]) fprintf(stderr, "%s\n", last_libbpf_message);
  const char* remedy = error == EPERM || error == EACCES ? "run as root, with CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN" :
                       error == EINVAL || error == ENOTSUP || error == ENOSYS ? "the kernel needs CONFIG_CGROUP_BPF, CONFIG_BPF_SYSCALL, CONFIG_NET_CLS_ACT and CONFIG_NET_SCH_INGRESS" :
                       error == ENOMEM ? "raise the limit of locked memory (ulimit -l), or give --flows a smaller number" : "see the message above";
  fail(EXIT_FAILED, "%s: %s; %s", what, strerror(error), remedy);
}

static void pin(int error, const char* what) {
  if (error) give_up(what, -error);
}

// Beside the programs of others. `ids` are for the record, which is written before the first of them works.
static void attach_to_cgroup(struct millrace_client_address* skeleton, int cgroup) {
  for (size_t i = 0; i < PROGRAMS; i++) {
    const struct bpf_program* program = bpf_object__find_program_by_name(skeleton->obj, programs[i].name);
    if (bpf_prog_attach(bpf_program__fd(program), cgroup, programs[i].where, BPF_F_ALLOW_MULTI) != 0) {
      give_up("a program cannot be fastened to the control group", errno);
    }
  }
}

static unsigned long id_of(struct millrace_client_address* skeleton, size_t which) {
  struct bpf_prog_info info = {0};
  __u32 length = sizeof(info);
  const int program = bpf_program__fd(bpf_object__find_program_by_name(skeleton->obj, programs[which].name));
  return bpf_obj_get_info_by_fd(program, &info, &length) == 0 ? info.id : 0;
}

static void attach_to_interface(struct millrace_client_address* skeleton, const char* interface) {
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)if_nametoindex(interface), .attach_point = BPF_TC_INGRESS);
  if (hook.ifindex == 0) give_up(interface, ENODEV);
  int error = bpf_tc_hook_create(&hook);
  if (error && error != -EEXIST) give_up("the ingress hook of an interface cannot be made", -error);
  LIBBPF_OPTS(bpf_tc_opts, options, .handle = TC_HANDLE, .priority = TC_PRIORITY,
              .prog_fd = bpf_program__fd(skeleton->progs.millrace_datagrams), .flags = BPF_TC_F_REPLACE);
  error = bpf_tc_attach(&hook, &options);
  if (error) give_up("the program cannot be put at the ingress hook of an interface", -error);
}

static void write_state(const struct request* request, const char* cgroup, struct millrace_client_address* skeleton) {
  mkdir(STATE_FOLDER, 0755);
  FILE* state = fopen(state_file(), "w");
  if (!state) give_up("what was done cannot be recorded in " STATE_FOLDER, errno);
  const struct {
    const char* key;
    const struct list* list;
  } lists[] = {{"interfaces", &request->interfaces}, {"from", &request->from}};
  for (size_t i = 0; i < 2; i++) {
    fprintf(state, "%s ", lists[i].key);
    for (unsigned n = 0; n < lists[i].list->count; n++) fprintf(state, "%s%s", n ? "," : "", lists[i].list->items[n]);
    fputc('\n', state);
  }
  fprintf(state, "cgroup %s\nkinds %u,%u,%u,%u\nflows %u\n", cgroup, request->kinds[0], request->kinds[1], request->kinds[2], request->kinds[3], request->flows);
  fputs("programs ", state);
  for (size_t i = 0; i < PROGRAMS; i++) fprintf(state, "%s%lu", i ? "," : "", id_of(skeleton, i));
  fputc('\n', state);
  if (fclose(state) != 0) give_up("what was done cannot be recorded in " STATE_FOLDER, errno);
}

static int prepare(const struct request* request) {
  check_kernel();
  const char* cgroup = request->cgroup ? request->cgroup : cgroup_root();
  const int group = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (group < 0) fail(EXIT_FAILED, "control group %s: %s; give --cgroup the path of a folder in a cgroup2 hierarchy", cgroup, strerror(errno));
  for (unsigned i = 0; i < request->interfaces.count; i++) {
    if (if_nametoindex(request->interfaces.items[i]) == 0) fail(EXIT_USAGE, "there is no interface %s here; see: ip link", request->interfaces.items[i]);
  }
  struct prefix prefixes[MAX_LIST];
  for (unsigned i = 0; i < request->from.count; i++) prefixes[i] = read_prefix(request->from.items[i]);

  bool replaced;
  if (!undo(&replaced)) return EXIT_FAILED;
  const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
  setrlimit(RLIMIT_MEMLOCK, &unlimited);  // before Linux 5.11 maps count towards it
  struct millrace_client_address* skeleton = millrace_client_address__open();
  if (!skeleton) give_up("the programs cannot be read", errno);
  bpf_map__set_max_entries(skeleton->maps.datagrams, request->flows);
  bpf_map__set_max_entries(skeleton->maps.balancers, request->flows);
  const int error = millrace_client_address__load(skeleton);
  if (error) give_up("the kernel does not take the programs", -error);
  const __u32 zero = 0;
  const __u8 one = 1;
  pin(bpf_map_update_elem(bpf_map__fd(skeleton->maps.settings), &zero, request->kinds, BPF_ANY), "settings");
  for (unsigned i = 0; i < request->from.count; i++) {
    pin(bpf_map_update_elem(bpf_map__fd(skeleton->maps.trusted), &prefixes[i], &one, BPF_ANY), "trusted prefixes");
  }
  write_state(request, cgroup, skeleton);
  attach_to_cgroup(skeleton, group);
  for (unsigned i = 0; i < request->interfaces.count; i++) attach_to_interface(skeleton, request->interfaces.items[i]);
  printf("servers in %s see their clients", cgroup);
  if (request->interfaces.count) printf("; UDP that comes in by");
  for (unsigned i = 0; i < request->interfaces.count; i++) printf(" %s", request->interfaces.items[i]);
  printf("\nstatus: millrace-realserver status; undo: millrace-realserver undo\n");
  return 0;
}

// ---- status

static unsigned long long counter_of(int map, __u32 index) {
  const int cpus = libbpf_num_possible_cpus();
  if (cpus < 1) return 0;
  __u64* values = calloc((size_t)cpus, sizeof(*values));
  unsigned long long sum = 0;
  if (values && bpf_map_lookup_elem(map, &index, values) == 0) {
    for (int cpu = 0; cpu < cpus; cpu++) sum += values[cpu];
  }
  free(values);
  return sum;
}

static bool filter_in_place(const char* interface) {
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)if_nametoindex(interface), .attach_point = BPF_TC_INGRESS);
  LIBBPF_OPTS(bpf_tc_opts, options, .handle = TC_HANDLE, .priority = TC_PRIORITY);
  return hook.ifindex != 0 && bpf_tc_query(&hook, &options) == 0;
}

// Whether the control group still holds the program.
static bool is_attached(int cgroup, unsigned long id, enum bpf_attach_type where) {
  __u32 ids[64], count = 64;
  if (bpf_prog_query(cgroup, where, 0, NULL, ids, &count) != 0) return false;
  for (__u32 i = 0; i < count; i++) {
    if (ids[i] == id) return true;
  }
  return false;
}

static bool programs_in_place(void) {
  unsigned long ids[PROGRAMS];
  const int cgroup = open_cgroup();
  bool whole = cgroup >= 0 && read_ids(ids) == PROGRAMS;
  for (size_t i = 0; whole && i < PROGRAMS; i++) whole = is_attached(cgroup, ids[i], programs[i].where);
  if (cgroup >= 0) close(cgroup);
  return whole;
}

// The map of counters, found by the program that uses it; -1 if it is gone.
static int open_counters(void) {
  unsigned long ids[PROGRAMS];
  if (read_ids(ids) == 0) return -1;
  const int program = open_program(ids[0], 0);
  if (program < 0) return -1;
  __u32 maps[16] = {0}, length = sizeof(struct bpf_prog_info);
  struct bpf_prog_info info = {.nr_map_ids = 16, .map_ids = (__u64)(unsigned long)maps};
  int found = -1;
  if (bpf_obj_get_info_by_fd(program, &info, &length) == 0) {
    for (__u32 i = 0; i < info.nr_map_ids && i < 16 && found < 0; i++) {
      const int map = bpf_map_get_fd_by_id(maps[i]);
      struct bpf_map_info about = {0};
      length = sizeof(about);
      if (map >= 0 && bpf_obj_get_info_by_fd(map, &about, &length) == 0 && strcmp(about.name, "counters") == 0) found = map;
      else if (map >= 0) close(map);
    }
  }
  close(program);
  return found;
}

static void print_list(const char* key, const char* value, bool json) {
  if (!json) {
    printf("%-12s %s\n", key, *value ? value : "none");
    return;
  }
  printf("\"%s\":[", key);
  struct list list = {0};
  add_words(&list, value, key);
  for (unsigned i = 0; i < list.count; i++) printf("%s\"%s\"", i ? "," : "", list.items[i]);
  printf("],");
}

static int status(bool json) {
  const char* interfaces = recorded("interfaces");
  if (!interfaces) {
    puts(json ? "{\"prepared\":false}" : "nothing is prepared in this network namespace");
    return EXIT_ABSENT;
  }
  bool in_place = programs_in_place();
  struct list list = {0};
  add_words(&list, recorded("interfaces"), "interfaces");
  for (unsigned i = 0; i < list.count; i++) in_place = filter_in_place(list.items[i]) && in_place;
  if (json) printf("{\"prepared\":true,\"inPlace\":%s,", in_place ? "true" : "false");
  else puts(in_place ? "in place" : "NOT in place: something of it is gone; run client-address again");
  static const char* const keys[] = {"interfaces", "from", "kinds"};
  for (size_t i = 0; i < 3; i++) {
    const char* value = recorded(keys[i]);
    print_list(keys[i], value ? value : "", json);
  }
  const char* cgroup = recorded("cgroup");
  printf(json ? "\"cgroup\":\"%s\",\"counters\":{" : "cgroup       %s\n", cgroup ? cgroup : "");
  const int map = open_counters();
  for (__u32 i = 0; i < COUNTERS; i++) {
    const unsigned long long value = map < 0 ? 0 : counter_of(map, i);
    if (json) printf("%s\"%s\":%llu", i ? "," : "", counters[i].name, value);
    else printf("%12llu %-22s %s\n", value, counters[i].name, counters[i].meaning);
  }
  if (json) puts("}}");
  return in_place ? 0 : EXIT_ABSENT;
}

// ---- command line

static void help(FILE* out) {
  fputs(
      "millrace-realserver: lets the unmodified servers of this host see their clients behind full NAT\n"
      "\n"
      "  millrace-realserver client-address --from PREFIX[,PREFIX...] [options]\n"
      "      --from PREFIX       local addresses of the balancers, whose word on clients is believed; may be repeated\n"
      "      --cgroup PATH       control group whose processes see clients; the whole host unless told\n"
      "      --interface NAME    interfaces by which UDP comes in, to take UOA off; may be repeated\n"
      "      --kinds NUMBERS     kinds of the TCP option; 254,253,252 unless told\n"
      "      --flows NUMBER      UDP flows that are remembered; 65536 unless told\n"
      "  millrace-realserver status [--json]   what is in place, with counters; exit code 4 if nothing is, or not all\n"
      "  millrace-realserver undo              takes everything back\n"
      "  millrace-realserver --version\n",
      out);
}

static struct request read_request(int argc, char** argv) {
  static const struct option options[] = {{"from", required_argument, NULL, 'f'},      {"cgroup", required_argument, NULL, 'c'},
                                          {"interface", required_argument, NULL, 'i'}, {"kinds", required_argument, NULL, 'k'},
                                          {"flows", required_argument, NULL, 'n'},     {NULL, 0, NULL, 0}};
  struct request request = {.kinds = {254, 253, 252, 254}, .flows = 65536};
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    char* end;
    switch (option) {
      case 'f':
        add_words(&request.from, optarg, "--from");
        break;
      case 'c':
        request.cgroup = optarg;
        break;
      case 'i':
        add_words(&request.interfaces, optarg, "--interface");
        break;
      case 'k':
        read_kinds(optarg, request.kinds);
        break;
      case 'n':
        request.flows = (unsigned)strtoul(optarg, &end, 10);
        if (*end || request.flows == 0 || request.flows > 16777216) fail(EXIT_USAGE, "--flows wants a number from 1 to 16777216, not \"%s\"", optarg);
        break;
      default:
        exit(EXIT_USAGE);
    }
  }
  if (optind < argc) fail(EXIT_USAGE, "\"%s\" is not understood; see: millrace-realserver --help", argv[optind]);
  if (request.from.count == 0) fail(EXIT_USAGE, "--from is missing: whose word on clients is believed? Give the local addresses of the balancers");
  for (unsigned i = 0; i < request.from.count; i++) read_prefix(request.from.items[i]);
  return request;
}

int main(int argc, char** argv) {
  libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
  libbpf_set_print(keep_message);
  const char* command = argc > 1 ? argv[1] : "";
  if (strcmp(command, "client-address") == 0) {
    const struct request request = read_request(argc - 1, argv + 1);
    return prepare(&request);
  }
  if (strcmp(command, "status") == 0) return status(argc > 2 && strcmp(argv[2], "--json") == 0);
  if (strcmp(command, "undo") == 0) {
    bool something;
    if (!undo(&something)) return EXIT_ABSENT;
    puts(something ? "undone" : "nothing was prepared in this network namespace");
    return something ? 0 : EXIT_ABSENT;
  }
  if (strcmp(command, "--version") == 0) {
    puts("millrace-realserver " MILLRACE_VERSION);
    return 0;
  }
  const bool asked = strcmp(command, "--help") == 0 || strcmp(command, "help") == 0;
  help(asked ? stdout : stderr);
  return asked ? 0 : EXIT_USAGE;
}
