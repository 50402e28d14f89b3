// What one core does with packets in memory: the production worker loop beside a bare loop, in one program and in turns, because
// on a machine that others use only ratios of things measured at the same time mean anything (bench/README.md says how to read
// them).
//   pipeline_bench [--short | --full] [--rounds N] [--cpu N] [--case NAME] [--sessions N] [--profile]
// --profile runs the worker alone, for perf and callgrind, and prints nothing about it.
// Prints one JSON object per line. Thread: one, pinned.
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "balancer.h"
#include "bare_loop.h"
#include "flow_port.h"
#include "measure.h"

namespace millrace::bench {
namespace {

struct Options {
  int cpu = 1;
  std::uint32_t rounds = 9;
  std::uint64_t packets_per_slice = 1u << 19;
  std::vector<std::uint32_t> sizes = {1, 1'000, 100'000, 1'000'000};
  std::vector<std::uint32_t> new_session_sizes = {100'000, 1'000'000};
  std::string only_case;
  bool short_run = false;
  bool profile = false;
};

/// One thing measured: runs that many packets. Filled round by round.
struct Contender {
  std::string name;
  std::function<void(std::uint64_t)> run;
  std::uint64_t packets = 0;
  std::vector<double> ns = {};
};

struct Rounds {
  double ghz = 0;
  /// CPUs' worth of time that others took, of the rounds that were kept.
  Spread neighbours;
};

/// All contenders in turns; of twice as many rounds as wanted, at most, those are kept in which others disturbed least.
Rounds take_turns(std::vector<Contender>& contenders, std::uint32_t wanted) {
  constexpr double kQuiet = 0.05;
  struct Round {
    double share;
    std::vector<double> ns;
  };
  std::vector<Round> rounds;
  std::uint32_t quiet = 0;
  std::vector<double> clocks;
  for (Contender& c : contenders) c.run(c.packets / 4);
  for (std::uint32_t r = 0; r < 2 * wanted && quiet < wanted; r++) {
    const Neighbours neighbours;
    Round round{0, std::vector<double>(contenders.size())};
    for (std::size_t i = 0; i < contenders.size(); i++) {
      const std::size_t k = r % 2 == 0 ? i : contenders.size() - 1 - i;  // nobody always comes after the same one
      round.ns[k] = measure(contenders[k].packets, [&] { contenders[k].run(contenders[k].packets); });
    }
    clocks.push_back(core_ghz());
    round.share = neighbours.share();
    quiet += round.share < kQuiet ? 1u : 0u;
    rounds.push_back(round);
  }
  std::sort(rounds.begin(), rounds.end(), [](const Round& a, const Round& b) { return a.share < b.share; });
  rounds.resize(std::min<std::size_t>(rounds.size(), wanted));
  std::vector<double> shares;
  for (const Round& round : rounds) {
    shares.push_back(round.share);
    for (std::size_t i = 0; i < contenders.size(); i++) contenders[i].ns.push_back(round.ns[i]);
  }
  return {Spread::of(clocks).max, Spread::of(shares)};
}

Spread ratio(const Contender& a, const Contender& b, const Contender* subtract) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < a.ns.size(); i++) {
    const double less = subtract == nullptr ? 0 : subtract->ns[i];
    ratios.push_back((a.ns[i] - less) / (b.ns[i] - less));
  }
  return Spread::of(ratios);
}

void print_spread(const char* name, const Spread& s) {
  std::printf(",\"%s\":{\"median\":%.3f,\"low\":%.3f,\"high\":%.3f,\"min\":%.3f,\"max\":%.3f}", name, s.median, s.low, s.high,
              s.min, s.max);
}

void print_result(const char* kind, const std::string& test, std::uint32_t sessions, const Contender& c,
                  const Contender& generator, const Contender* bare, const Rounds& rounds) {
  std::vector<double> net;
  for (std::size_t i = 0; i < c.ns.size(); i++) net.push_back(&c == &generator ? c.ns[i] : c.ns[i] - generator.ns[i]);
  const Spread spread = Spread::of(net);
  std::printf("{\"kind\":\"%s\",\"case\":\"%s\",\"sessions\":%u,\"contender\":\"%s\",\"rounds\":%zu", kind, test.c_str(),
              sessions, c.name.c_str(), c.ns.size());
  print_spread("gross_ns", Spread::of(c.ns));
  print_spread("net_ns", spread);
  std::printf(",\"million_per_second\":%.3f,\"cycles\":%.1f,\"core_ghz\":%.3f,\"neighbours\":%.3f", 1e3 / spread.median,
              spread.median * rounds.ghz, rounds.ghz, rounds.neighbours.median);
  if (bare != nullptr && bare != &c) {
    print_spread("ratio_to_bare", ratio(c, *bare, &generator));
    print_spread("gross_ratio_to_bare", ratio(c, *bare, nullptr));
  }
  std::printf("}\n");
  std::fflush(stdout);
}

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "pipeline_bench: %s\n", what);
  std::exit(1);
}

/// The packet sent last must be a translated one whose checksums are right: a fast wrong answer is no result.
void check_frame(const Packet& packet, const Traffic& traffic) {
  if (packet.data == nullptr) fail("nothing was sent");
  const std::uint8_t* l3 = packet.data + sizeof(net::Ethernet);
  const std::uint32_t header = traffic.ipv6 ? sizeof(net::Ipv6) : sizeof(net::Ipv4);
  const std::uint32_t l4_length = packet.length - static_cast<std::uint32_t>(sizeof(net::Ethernet)) - header;
  net::Sum l4 = net::add_bytes(0, l3 + header, l4_length);
  l4 = net::add_bytes(l4, l3 + (traffic.ipv6 ? 8 : 12), traffic.ipv6 ? 32 : 8) + be32(l4_length).raw + be16(traffic.protocol).raw;
  if (net::fold(l4) != 0xffff) fail("a forwarded packet has a wrong transport checksum");
  if (!traffic.ipv6 && net::fold(net::add_bytes(0, l3, header)) != 0xffff) fail("a forwarded packet has a wrong IPv4 checksum");
  const be16 server_port(8053);
  if (std::memcmp(l3 + header + 2, &server_port, 2) != 0) fail("a forwarded packet does not go to a server");
}

/// Making the packets, and nothing else: what is subtracted from the others.
auto generate_into(FlowPort& port, Batch& batch) {
  return [&port, &batch](std::uint64_t packets) {
    for (std::uint64_t done = 0; done < packets; done += batch.count) {
      batch.clear();
      port.receive(batch);
      asm volatile("" : : "r"(&batch) : "memory");
    }
  };
}

std::uint32_t whole_batches(std::uint32_t sessions) { return (sessions + kBatchSize - 1) / kBatchSize * kBatchSize; }

void run_forwarding(const std::string& name, const Traffic& traffic, std::uint32_t sessions, bool with_bare,
                    const Options& options) {
  constexpr std::uint32_t kNeverMs = 1u << 30;
  constexpr std::uint64_t kPacketsPerMs = 10'000;
  const std::uint32_t capacity = whole_batches(sessions);

  Balancer balancer(traffic, capacity, kNeverMs);
  balancer.port().begin(FlowPort::Order::kSequential, 0, 0);
  if (traffic.protocol == net::kProtocolTcp) balancer.port().set_tcp_flags(net::tcp_flag::kSyn);
  balancer.run(capacity, kPacketsPerMs);
  if (traffic.protocol == net::kProtocolTcp) balancer.port().set_tcp_flags(net::tcp_flag::kAck);
  balancer.port().begin(FlowPort::Order::kRandom, 0, sessions);
  if (options.profile) return balancer.run(options.packets_per_slice * options.rounds, kPacketsPerMs);

  auto memory = need(PacketMemory::create({.workers = 1, .frames_per_worker = 1024, .numa_nodes = {}, .huge_pages = true}));
  FlowPort bare_port(*memory, {});
  BareLoop bare(with_bare ? capacity : kBatchSize);
  bare_port.begin(FlowPort::Order::kSequential, 0, 0);
  if (with_bare) bare.run(bare_port, capacity);
  bare_port.begin(FlowPort::Order::kRandom, 0, sessions);

  auto generator_memory =
      need(PacketMemory::create({.workers = 1, .frames_per_worker = 1024, .numa_nodes = {}, .huge_pages = true}));
  FlowPort generator_port(*generator_memory, traffic);
  generator_port.begin(FlowPort::Order::kRandom, 0, sessions);
  Batch batch;

  const std::uint64_t n = options.packets_per_slice;
  std::vector<Contender> contenders;
  contenders.push_back({"generator",
                        generate_into(generator_port, batch),
                        n});
  const auto worker = [&](std::uint32_t burst) {
    return [&, burst](std::uint64_t packets) {
      balancer.port().set_burst(burst);
      balancer.run(packets, kPacketsPerMs);
    };
  };
  const auto bare_loop = [&](std::uint32_t burst) {
    return [&, burst](std::uint64_t packets) {
      bare_port.set_burst(burst);
      bare.run(bare_port, packets);
    };
  };
  contenders.push_back({"worker", worker(kBatchSize), n});
  if (with_bare) contenders.push_back({"bare", bare_loop(kBatchSize), n});
  contenders.push_back({"worker_one_at_a_time", worker(1), n / 4});
  if (with_bare) contenders.push_back({"bare_one_at_a_time", bare_loop(1), n / 4});

  const Rounds rounds = take_turns(contenders, options.rounds);
  balancer.require_lossless();
  if (balancer.state().sessions->size() != capacity) fail("flows were created or lost while they were measured");
  check_frame(balancer.port().last_sent(), traffic);
  if (with_bare) {
    check_frame(bare_port.last_sent(), {});
    if (bare.created() > capacity + capacity / 10000) fail("the bare loop lost flows");
  }
  for (const Contender& c : contenders) {
    print_result("forward", name, sessions, c, contenders[0], with_bare ? &contenders[2] : nullptr, rounds);
  }
}

/// Full NAT whose servers are told of their clients, beside full NAT whose servers are not: packets of existing sessions.
void run_told(std::uint32_t sessions, const Options& options) {
  constexpr std::uint32_t kNeverMs = 1u << 30;
  constexpr std::uint64_t kPacketsPerMs = 10'000;
  struct Variant {
    const char* name;
    std::uint8_t protocol;
    ClientAddressMethod method;
    /// The server is still being told: every packet carries the address.
    bool telling;
  };
  static constexpr Variant variants[] = {{"tcp, none", net::kProtocolTcp, ClientAddressMethod::kNone, false},
                                         {"tcp, toa", net::kProtocolTcp, ClientAddressMethod::kToa, false},
                                         {"tcp, toa on every packet", net::kProtocolTcp, ClientAddressMethod::kToa, true},
                                         {"tcp, proxy-v2", net::kProtocolTcp, ClientAddressMethod::kProxyV2, false},
                                         {"udp, none", net::kProtocolUdp, ClientAddressMethod::kNone, false},
                                         {"udp, proxy-v2 on every datagram", net::kProtocolUdp, ClientAddressMethod::kProxyV2, true}};
  const std::uint32_t capacity = whole_batches(sessions);
  std::vector<std::unique_ptr<Balancer>> balancers;
  std::vector<Contender> contenders;
  auto generator_memory = need(PacketMemory::create({.workers = 1, .frames_per_worker = 1024, .numa_nodes = {}, .huge_pages = true}));
  FlowPort generator_port(*generator_memory, {false, net::kProtocolTcp, 60});
  generator_port.begin(FlowPort::Order::kRandom, 0, sessions);
  Batch batch;
  contenders.push_back({"generator",
                        generate_into(generator_port, batch),
                        options.packets_per_slice});
  for (const Variant& variant : variants) {
    ClientAddressConfig told;
    told.method = variant.method;
    balancers.push_back(std::make_unique<Balancer>(Traffic{false, variant.protocol, 60}, capacity, kNeverMs, told));
    Balancer& balancer = *balancers.back();
    balancer.port().begin(FlowPort::Order::kSequential, 0, 0);
    if (variant.protocol == net::kProtocolTcp) balancer.port().set_tcp_flags(net::tcp_flag::kSyn);
    balancer.run(capacity, kPacketsPerMs);
    if (variant.protocol == net::kProtocolTcp) balancer.port().set_tcp_flags(net::tcp_flag::kAck);
    balancer.port().begin(FlowPort::Order::kRandom, 0, sessions);
    if (variant.protocol == net::kProtocolTcp && variant.method != ClientAddressMethod::kNone) {
      // The servers have answered, as the generator's servers do not; the packets acknowledge 0.
      balancer.state().sessions->for_each([&](SessionId id, Session&) {
        SessionDetail& detail = balancer.state().sessions->detail(id);
        detail.server_first = 0;
        detail.told = static_cast<std::uint8_t>(told_flag::kAnswered | told_flag::kConnected | told_flag::kHeaderSent | told_flag::kHeaderTaken |
                                                (variant.telling ? told_flag::kTelling : 0));
      });
    }
    contenders.push_back({variant.name, [&balancer](std::uint64_t packets) { balancer.run(packets, kPacketsPerMs); }, options.packets_per_slice});
  }
  const Rounds rounds = take_turns(contenders, options.rounds);
  for (std::size_t i = 0; i < balancers.size(); i++) {
    balancers[i]->require_lossless();
    check_frame(balancers[i]->port().last_sent(), {false, variants[i].protocol, 60});
    const bool telling = balancers[i]->counter(Counter::client_addresses_sent) >= options.packets_per_slice;
    if (telling != variants[i].telling) fail("addresses were told where they should not be, or not told");
  }
  for (std::size_t i = 0; i < balancers.size(); i++) {
    const Contender& none = contenders[variants[i].protocol == net::kProtocolTcp ? 1 : 5];
    print_result("told", variants[i].name, sessions, contenders[i + 1], contenders[0], &none, rounds);
  }
}

/// Every packet begins a flow while as many old ones end: `sessions` exist at any time.
void run_new_sessions(std::uint32_t sessions, const Options& options) {
  constexpr std::uint32_t kLifetimeMs = 4000;
  const std::uint64_t per_ms = std::max<std::uint64_t>(1, sessions / kLifetimeMs);
  const Traffic traffic;
  Balancer balancer(traffic, 2 * sessions, kLifetimeMs);
  balancer.port().begin(FlowPort::Order::kSequential, 0, 0);
  balancer.run(std::uint64_t{3} * sessions, per_ms);
  if (options.profile) return balancer.run(options.packets_per_slice * options.rounds, per_ms);

  auto memory = need(PacketMemory::create({.workers = 1, .frames_per_worker = 1024, .numa_nodes = {}, .huge_pages = true}));
  FlowPort bare_port(*memory, traffic);
  BareLoop bare(sessions);
  bare_port.begin(FlowPort::Order::kSequential, 0, 0);
  bare.run(bare_port, std::uint64_t{3} * sessions);

  auto generator_memory =
      need(PacketMemory::create({.workers = 1, .frames_per_worker = 1024, .numa_nodes = {}, .huge_pages = true}));
  FlowPort generator_port(*generator_memory, traffic);
  generator_port.begin(FlowPort::Order::kSequential, 0, 0);
  Batch batch;

  std::vector<Contender> contenders;
  contenders.push_back({"generator",
                        generate_into(generator_port, batch),
                        options.packets_per_slice});
  contenders.push_back({"worker", [&](std::uint64_t packets) { balancer.run(packets, per_ms); }, options.packets_per_slice});
  contenders.push_back({"bare", [&](std::uint64_t packets) { bare.run(bare_port, packets); }, options.packets_per_slice});
  const std::uint64_t expired_before = balancer.counter(Counter::sessions_expired);
  const std::uint64_t created_before = balancer.counter(Counter::sessions_created);
  const Rounds rounds = take_turns(contenders, options.rounds);
  balancer.require_lossless();
  check_frame(balancer.port().last_sent(), traffic);
  const auto created = static_cast<double>(balancer.counter(Counter::sessions_created) - created_before);
  const auto expired = static_cast<double>(balancer.counter(Counter::sessions_expired) - expired_before);
  // A population that grows would mean that sessions are made faster than they are ended, and only half the work is measured.
  if (expired < 0.9 * created) fail("sessions do not end as fast as they begin");
  for (const Contender& c : contenders)
    print_result("new_session", "ipv4-udp-64", sessions, c, contenders[0], &contenders[2], rounds);
}

void print_machine(const Options& options) {
  std::vector<double> clocks;
  for (int i = 0; i < 5; i++) clocks.push_back(core_ghz());
  char thp[128] = "";
  if (std::FILE* file = std::fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r"); file != nullptr) {
    if (std::fgets(thp, sizeof(thp), file) == nullptr) thp[0] = 0;
    std::fclose(file);
    thp[std::strcspn(thp, "\n")] = 0;
  }
  std::printf("{\"kind\":\"machine\",\"cpu\":%d,\"core_ghz\":%.3f,\"huge_pages\":\"%s\",\"compiler\":\"%s\",\"batch\":%u}\n",
              options.cpu, Spread::of(clocks).max, thp, __VERSION__, kBatchSize);
  std::fflush(stdout);
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i++) {
    const std::string argument = argv[i];
    const auto number = [&] { return static_cast<std::uint32_t>(i + 1 < argc ? std::strtoul(argv[++i], nullptr, 10) : 0); };
    if (argument == "--short") {
      options.short_run = true;
      options.rounds = 7;
      options.packets_per_slice = 1u << 17;
      options.sizes = {1'000, 100'000};
      options.new_session_sizes = {100'000};
    } else if (argument == "--full") {
      options.sizes.push_back(10'000'000);
      options.new_session_sizes.push_back(10'000'000);
    } else if (argument == "--rounds") {
      options.rounds = number();
    } else if (argument == "--cpu") {
      options.cpu = static_cast<int>(number());
    } else if (argument == "--case") {
      options.only_case = i + 1 < argc ? argv[++i] : "";
    } else if (argument == "--profile") {
      options.profile = true;
    } else if (argument == "--sessions") {
      options.sizes = {number()};
      options.new_session_sizes = options.sizes;
    } else {
      fail("usage: pipeline_bench [--short | --full] [--rounds N] [--cpu N] [--case NAME] [--sessions N] [--profile]");
    }
  }
  if (options.rounds == 0 || options.sizes[0] == 0) fail("--rounds and --sessions need a number above 0");
  return options;
}

int run(const Options& options) {
  pin_to(options.cpu);
  print_machine(options);
  const auto wanted = [&](const std::string& name) { return options.only_case.empty() || options.only_case == name; };
  if (wanted("ipv4-udp-64")) {
    for (const std::uint32_t sessions : options.sizes) run_forwarding("ipv4-udp-64", {}, sessions, true, options);
  }
  struct Variant {
    const char* name;
    Traffic traffic;
  };
  const Variant variants[] = {{"ipv4-tcp-64", {false, net::kProtocolTcp, 60}},
                              {"ipv6-udp-64", {true, net::kProtocolUdp, 64}},
                              {"ipv6-tcp-78", {true, net::kProtocolTcp, 78}},
                              {"ipv4-udp-1500", {false, net::kProtocolUdp, 1514}}};
  for (const Variant& variant : variants) {
    if (!wanted(variant.name) || (options.short_run && options.only_case.empty())) continue;
    for (const std::uint32_t sessions : options.sizes) {
      if (sessions == 1 || sessions == 10'000'000) continue;  // what these would tell, IPv4 UDP tells already
      run_forwarding(variant.name, variant.traffic, sessions, false, options);
    }
  }
  if (wanted("told")) {
    for (const std::uint32_t sessions : options.sizes) {
      if (sessions == 1 || sessions == 10'000'000) continue;
      run_told(sessions, options);
    }
  }
  if (wanted("new")) {
    for (const std::uint32_t sessions : options.new_session_sizes) run_new_sessions(std::max(sessions, 4000u), options);
  }
  return 0;
}

}  // namespace
}  // namespace millrace::bench

int main(int argc, char** argv) { return millrace::bench::run(millrace::bench::parse(argc, argv)); }
