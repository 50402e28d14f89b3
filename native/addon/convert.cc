// Field by field. The shapes are those of src/native-binding.ts.
#include "addon/convert.h"

#include <cstdlib>

#include "forwarders/registry.h"
#include "net/headers.h"

namespace millrace::addon {

namespace {

bool has(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  return !value.IsUndefined() && !value.IsNull();
}

IpAddress address(const Napi::Object& object, const char* key) {
  bool ok = false;
  return IpAddress::parse(text(object, key), ok);
}

be16 port(const Napi::Object& object, const char* key) { return be16(static_cast<std::uint16_t>(number(object, key))); }

/// Calls visit(Napi::Value) for each item of an array property; an absent one is empty.
template <typename Visit>
void each(const Napi::Object& object, const char* key, Visit visit) {
  const Napi::Value value = object.Get(key);
  if (!value.IsArray()) return;
  const auto array = value.As<Napi::Array>();
  for (std::uint32_t i = 0; i < array.Length(); i++) visit(array.Get(i));
}

Napi::Value big(Napi::Env env, std::uint64_t value) { return Napi::BigInt::New(env, value); }

std::uint32_t milliseconds(const Napi::Object& object, const char* key) {
  return static_cast<std::uint32_t>(object.Get(key).ToNumber().DoubleValue() * 1000.0);
}

TimeoutTable decode_timeouts(const Napi::Object& object) {
  const auto tcp = object.Get("tcp").As<Napi::Object>();
  const auto udp = object.Get("udp").As<Napi::Object>();
  TimeoutTable table{};
  const auto set = [&](SessionState state, const Napi::Object& from, const char* key) {
    table[static_cast<std::size_t>(state)] = milliseconds(from, key);
  };
  set(SessionState::kNone, tcp, "none");
  set(SessionState::kEstablished, tcp, "established");
  set(SessionState::kSynSent, tcp, "synSent");
  set(SessionState::kSynRecv, tcp, "synRecv");
  set(SessionState::kFinWait, tcp, "finWait");
  set(SessionState::kTimeWait, tcp, "timeWait");
  set(SessionState::kClose, tcp, "close");
  set(SessionState::kCloseWait, tcp, "closeWait");
  set(SessionState::kLastAck, tcp, "lastAck");
  set(SessionState::kListen, tcp, "listen");
  set(SessionState::kSynAck, tcp, "synAck");
  set(SessionState::kUdpOneWay, udp, "oneWay");
  set(SessionState::kUdpNormal, udp, "normal");
  const auto sctp = object.Get("sctp").As<Napi::Object>();
  set(SessionState::kSctpInit1, sctp, "init1");
  set(SessionState::kSctpInit, sctp, "init");
  set(SessionState::kSctpCookieSent, sctp, "cookieSent");
  set(SessionState::kSctpCookieReplied, sctp, "cookieReplied");
  set(SessionState::kSctpCookieWait, sctp, "cookieWait");
  set(SessionState::kSctpCookie, sctp, "cookie");
  set(SessionState::kSctpCookieEchoed, sctp, "cookieEchoed");
  set(SessionState::kSctpEstablished, sctp, "established");
  set(SessionState::kSctpShutdownSent, sctp, "shutdownSent");
  set(SessionState::kSctpShutdownReceived, sctp, "shutdownReceived");
  set(SessionState::kSctpShutdownAckSent, sctp, "shutdownAckSent");
  set(SessionState::kSctpRejected, sctp, "rejected");
  set(SessionState::kSctpClosed, sctp, "closed");
  return table;
}

SchedulerOptions decode_scheduler_options(const Napi::Object& object) {
  SchedulerOptions options;
  options.fallback = object.Get("fallback").ToBoolean();
  options.port = object.Get("port").ToBoolean();
  const std::string key = text(object, "key");
  options.key = key == "3-tuple" ? HashInput::kThreeTuple : key == "5-tuple" ? HashInput::kFiveTuple : HashInput::kSource;
  options.table_size = number(object, "tableSize");
  options.server_ports = object.Get("serverPorts").ToBoolean();
  options.connection_id = text(object, "connectionId") == "katran" ? ConnectionIdFormat::kKatran : ConnectionIdFormat::kDpvs;
  return options;
}

std::uint8_t decode_protocol(const std::string& name) {
  if (name == "tcp+udp" || name == "any") return 0;
  if (name == "icmp") return net::kProtocolIcmp;
  if (name == "icmpv6") return net::kProtocolIcmpv6;
  if (name == "udp") return net::kProtocolUdp;
  if (name == "sctp") return net::kProtocolSctp;
  if (name == "esp") return net::kProtocolEsp;
  if (name == "ah") return net::kProtocolAh;
  return net::kProtocolTcp;
}

PersistenceConfig decode_persistence(const Napi::Object& object) {
  PersistenceConfig persistence;
  persistence.timeout_ms = milliseconds(object, "timeout");
  persistence.prefix = static_cast<std::uint8_t>(number(object, "prefix"));
  persistence.expire_quiescent = object.Get("expireQuiescent").ToBoolean();
  persistence.group = text(object, "group");
  return persistence;
}

ConnectionRules decode_rules(const Napi::Object& object) {
  ConnectionRules rules;
  rules.reuse = static_cast<ConnectionReuse>(number(object, "connReuseMode"));
  rules.sloppy_tcp = object.Get("sloppyTcp").ToBoolean();
  rules.one_packet = object.Get("onePacket").ToBoolean();
  return rules;
}

RateLimits decode_rates(const Napi::Object& object) {
  const auto per_second = [&](const char* name) { return static_cast<std::uint64_t>(object.Get(name).ToNumber().Int64Value()); };
  return {per_second("packetsPerSecond"), per_second("bitsPerSecond")};
}

ServerConfig decode_server(const Napi::Object& object) {
  ServerConfig server;
  server.address = address(object, "address");
  server.port = port(object, "port");
  server.weight = number(object, "weight");
  server.id = number(object, "id");
  const std::string mode = text(object, "mode");
  server.mode = mode == "snat" ? ForwardMode::kSnat : forward_mode(mode).value_or(ForwardMode::kFullNat);
  server.tunnel_port = port(object, "tunnelPort");
  server.limits = {number(object, "upperThreshold"), number(object, "lowerThreshold")};
  server.rates = decode_rates(object.Get("rateLimit").As<Napi::Object>());
  return server;
}

PortRange decode_ports(const Napi::Value& value) {
  const auto ports = value.As<Napi::Array>();
  return {static_cast<std::uint16_t>(ports.Get(0u).ToNumber().Uint32Value()),
          static_cast<std::uint16_t>(ports.Get(1u).ToNumber().Uint32Value())};
}

ServiceMatch decode_match(const Napi::Object& object) {
  bool ok = false;
  ServiceMatch match;
  match.source = Prefix::parse(text(object, "source"), ok);
  match.destination = Prefix::parse(text(object, "destination"), ok);
  match.ports = decode_ports(object.Get("ports"));
  match.protocol = decode_protocol(text(object, "protocol"));
  if (has(object, "interface")) match.interface = static_cast<std::uint16_t>(number(object, "interface"));
  return match;
}

void decode_access(const Napi::Object& object, ServiceConfig& service) {
  service.allow_others = object.Get("allowOthers").ToBoolean();
  bool ok = false;
  for (const bool allow : {true, false}) {
    each(object, allow ? "allow" : "deny", [&](const Napi::Value& item) {
      const Prefix prefix = Prefix::parse(item.ToString().Utf8Value(), ok);
      service.access.push_back({prefix.address, prefix.length, allow});
    });
  }
}

ClientAddressMethod decode_method(const std::string& name) {
  if (name == "toa") return ClientAddressMethod::kToa;
  if (name == "uoa") return ClientAddressMethod::kUoa;
  if (name == "proxy-v1") return ClientAddressMethod::kProxyV1;
  return name == "proxy-v2" ? ClientAddressMethod::kProxyV2 : ClientAddressMethod::kNone;
}

/// Two digits for each byte.
std::vector<std::uint8_t> decode_hex(const std::string& digits) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::strtoul(digits.substr(i, 2).c_str(), nullptr, 16)));
  }
  return bytes;
}

ClientAddressConfig decode_client_address(const Napi::Object& object) {
  const auto flag = [&](const char* key) { return object.Get(key).ToBoolean().Value(); };
  ClientAddressConfig config;
  config.method = decode_method(text(object, "method"));
  config.kind_ipv4 = static_cast<std::uint8_t>(number(object, "kindIpv4"));
  config.kind_ipv6 = static_cast<std::uint8_t>(number(object, "kindIpv6"));
  config.on_syn = flag("onSyn");
  config.carrier = text(object, "carrier") == "option" ? UoaCarrier::kOption : UoaCarrier::kProtocol;
  config.server_first = flag("serverFirst");
  config.datagrams = static_cast<std::uint8_t>(number(object, "datagrams"));
  config.when_too_big = text(object, "whenTooBig") == "drop" ? WhenTooBig::kDrop : WhenTooBig::kFragment;
  config.unique_id = flag("uniqueId");
  config.crc32c = flag("crc32c");
  each(object, "tlvs", [&](const Napi::Value& item) {
    const auto tlv = item.As<Napi::Object>();
    config.tlvs.push_back({static_cast<std::uint8_t>(number(tlv, "type")), decode_hex(text(tlv, "value"))});
  });
  bool ok = false;
  each(object, "acceptFrom", [&](const Napi::Value& item) { config.accept_from.push_back(Prefix::parse(item.ToString().Utf8Value(), ok)); });
  return config;
}

ServiceConfig decode_service(const Napi::Object& object) {
  ServiceConfig service;
  service.name = text(object, "name");
  if (has(object, "address")) {
    bool ok = false;
    const Prefix vips = Prefix::parse(text(object, "address"), ok);
    service.address = vips.address;
    service.vip_length = vips.length;
  }
  service.port = port(object, "port");
  if (has(object, "ports")) service.ports = decode_ports(object.Get("ports"));
  service.protocol = decode_protocol(text(object, "protocol"));
  service.outbound = object.Get("outbound").ToBoolean();
  bool pool_ok = false;
  each(object, "pool", [&](const Napi::Value& item) { service.pool.push_back(IpAddress::parse(item.ToString().Utf8Value(), pool_ok)); });
  each(object, "matches", [&](const Napi::Value& item) { service.matches.push_back(decode_match(item.As<Napi::Object>())); });
  service.dscp = static_cast<std::uint8_t>(number(object, "dscp"));
  service.announced = object.Get("announced").ToBoolean();
  service.rules = decode_rules(object);
  if (has(object, "persistence")) service.persistence = decode_persistence(object.Get("persistence").As<Napi::Object>());
  service.scheduler = scheduler_named(text(object, "scheduler"));
  service.max_connections = number(object, "maxConnections");
  service.rates = decode_rates(object.Get("rateLimit").As<Napi::Object>());
  const std::string on_removal = text(object, "onRemoval");
  service.on_removal = on_removal == "reset" ? OnRemoval::kReset : on_removal == "drop" ? OnRemoval::kDrop : OnRemoval::kKeep;
  if (has(object, "timeouts")) service.timeouts_ms = decode_timeouts(object.Get("timeouts").As<Napi::Object>());
  if (has(object, "access")) decode_access(object.Get("access").As<Napi::Object>(), service);
  if (has(object, "clientAddress")) service.client_address = decode_client_address(object.Get("clientAddress").As<Napi::Object>());
  service.scheduler_options = decode_scheduler_options(object.Get("schedulerOptions").As<Napi::Object>());
  each(object, "servers", [&](const Napi::Value& item) { service.servers.push_back(decode_server(item.As<Napi::Object>())); });
  return service;
}

Napi::Object encode_stats(Napi::Env env, const ServerStats& stats) {
  auto object = Napi::Object::New(env);
  object.Set("connections", big(env, stats.connections));
  object.Set("inPackets", big(env, stats.in_packets));
  object.Set("inBytes", big(env, stats.in_bytes));
  object.Set("outPackets", big(env, stats.out_packets));
  object.Set("outBytes", big(env, stats.out_bytes));
  object.Set("active", big(env, stats.active));
  object.Set("inactive", big(env, stats.inactive));
  return object;
}

}  // namespace

std::string text(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : std::string();
}

std::uint32_t number(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  return value.IsNumber() ? value.As<Napi::Number>().Uint32Value() : 0;
}

DataplaneOptions decode_options(const Napi::Object& object) {
  DataplaneOptions options;
  options.workers = number(object, "workers");
  each(object, "cpus", [&](const Napi::Value& item) { options.cpus.push_back(item.ToNumber().Int32Value()); });
  each(object, "interfaces", [&](const Napi::Value& item) {
    const auto from = item.As<Napi::Object>();
    InterfaceOptions interface;
    interface.name = text(from, "name");
    bool ok = false;
    if (has(from, "mac")) interface.mac = MacAddress::parse(text(from, "mac"), ok);
    if (has(from, "mtu")) interface.mtu = static_cast<std::uint16_t>(number(from, "mtu"));
    each(from, "addresses", [&](const Napi::Value& prefix) {
      interface.addresses.push_back(Prefix::parse(prefix.ToString().Utf8Value(), ok));
    });
    options.interfaces.push_back(std::move(interface));
  });
  const std::string attach = text(object, "attachMode");
  options.attach_mode = attach == "native" ? AttachMode::kNative : attach == "skb" ? AttachMode::kSkb : AttachMode::kAuto;
  const std::string zero_copy = text(object, "zeroCopy");
  options.zero_copy = zero_copy == "off" ? ZeroCopy::kOff : zero_copy == "required" ? ZeroCopy::kRequired : ZeroCopy::kAuto;
  const std::string polling = text(object, "polling");
  options.polling = polling == "busy" ? Polling::kBusy : polling == "interrupt" ? Polling::kInterrupt : Polling::kAdaptive;
  options.busy_poll_budget = number(object, "busyPollBudget");
  options.frames_per_worker = number(object, "framesPerWorker");
  options.frame_size = number(object, "frameSize");
  options.ring_size = number(object, "ringSize");
  options.huge_pages = object.Get("hugePages").ToBoolean();
  options.max_sessions_per_worker = number(object, "maxSessionsPerWorker");
  const Napi::Value range = object.Get("localPortRange");
  if (range.IsArray()) {
    options.local_port_low = static_cast<std::uint16_t>(range.As<Napi::Array>().Get(0u).ToNumber().Uint32Value());
    options.local_port_high = static_cast<std::uint16_t>(range.As<Napi::Array>().Get(1u).ToNumber().Uint32Value());
  }
  options.seed = std::strtoull(text(object, "seed").c_str(), nullptr, 10);
  return options;
}

TablesConfig decode_tables(const Napi::Object& object) {
  TablesConfig tables;
  each(object, "services", [&](const Napi::Value& item) { tables.services.push_back(decode_service(item.As<Napi::Object>())); });
  bool ok = false;
  each(object, "localAddresses", [&](const Napi::Value& item) {
    tables.local_addresses.push_back(IpAddress::parse(item.ToString().Utf8Value(), ok));
  });
  each(object, "tunnelSources", [&](const Napi::Value& item) {
    const Prefix prefix = Prefix::parse(item.ToString().Utf8Value(), ok);
    tables.tunnel_sources.push_back({prefix.address, prefix.length});
  });
  each(object, "routes", [&](const Napi::Value& item) {
    const auto from = item.As<Napi::Object>();
    const Prefix prefix = Prefix::parse(text(from, "prefix"), ok);
    StaticRouteConfig route{prefix.address, prefix.length, has(from, "via"), {}, text(from, "interface")};
    if (route.has_gateway) route.gateway = address(from, "via");
    tables.routes.push_back(std::move(route));
  });
  each(object, "neighbours", [&](const Napi::Value& item) {
    const auto from = item.As<Napi::Object>();
    tables.neighbours.push_back({address(from, "address"), MacAddress::parse(text(from, "mac"), ok), text(from, "interface")});
  });
  tables.echo_replies = object.Get("echoReplies").ToBoolean();
  tables.timeouts_ms = decode_timeouts(object.Get("timeouts").As<Napi::Object>());
  return tables;
}

ServicesUpdate decode_update(const Napi::Array& services) {
  ServicesUpdate update;
  for (std::uint32_t i = 0; i < services.Length(); i++) {
    update.services.push_back(decode_service(services.Get(i).As<Napi::Object>()));
  }
  return update;
}

SessionRequest decode_session_request(const Napi::Object& object) {
  SessionRequest request;
  if (const std::string client = text(object, "client"); !client.empty()) {
    bool ok = false;
    request.filter.client = Prefix::parse(client, ok);
  }
  request.filter.client_port = be16(static_cast<std::uint16_t>(number(object, "clientPort")));
  request.filter.protocol = static_cast<std::uint8_t>(number(object, "protocol"));
  each(object, "services", [&](const Napi::Value& slot) { request.filter.services.push_back(slot.ToNumber().Uint32Value()); });
  each(object, "servers", [&](const Napi::Value& slot) { request.filter.servers.push_back(slot.ToNumber().Uint32Value()); });
  request.from = {number(object, "fromWorker"), number(object, "fromId")};
  request.limit = number(object, "limit");
  request.end = object.Get("end").ToBoolean();
  return request;
}

Napi::Value encode_sessions(Napi::Env env, const SessionPage& page) {
  auto rows = Napi::Array::New(env, page.rows.size());
  for (std::uint32_t i = 0; i < page.rows.size(); i++) {
    const SessionRow& row = page.rows[i];
    auto item = Napi::Object::New(env);
    item.Set("client", row.client.to_string());
    item.Set("clientPort", row.client_port.host());
    item.Set("vip", row.vip.to_string());
    item.Set("vipPort", row.vip_port.host());
    item.Set("local", row.local.to_string());
    item.Set("localPort", row.local_port.host());
    item.Set("server", row.server.to_string());
    item.Set("serverPort", row.server_port.host());
    item.Set("service", row.service);
    item.Set("serverSlot", row.server_slot);
    item.Set("worker", row.worker);
    item.Set("expires", row.expires_ms);
    item.Set("packetsIn", row.packets_in);
    item.Set("packetsOut", row.packets_out);
    item.Set("protocol", row.protocol);
    item.Set("state", static_cast<std::uint32_t>(row.state));
    item.Set("mode", static_cast<std::uint32_t>(row.mode));
    rows.Set(i, item);
  }
  auto object = Napi::Object::New(env);
  object.Set("rows", rows);
  object.Set("matched", static_cast<double>(page.matched));
  if (page.next) {
    auto next = Napi::Object::New(env);
    next.Set("worker", page.next->worker);
    next.Set("id", page.next->id);
    object.Set("next", next);
  }
  return object;
}

ReplayOptions decode_replay(const Napi::Object& object) {
  return {text(object, "input"), text(object, "output"),
          text(object, "steering") == "wrong" ? ReplaySteering::kWrong : ReplaySteering::kFlow};
}

Napi::Value encode_error(Napi::Env env, const Error& error) {
  const Napi::Error object = Napi::Error::New(env, error.message);
  object.Value().Set("code", error.code);
  object.Value().Set("errno", error.system_errno);
  return object.Value();
}

Napi::Value encode_outcome(Napi::Env env, const ApplyOutcome& outcome) {
  auto object = Napi::Object::New(env);
  object.Set("generation", static_cast<double>(outcome.generation));
  auto services = Napi::Array::New(env);
  for (const SlotMap::Service& service : outcome.slots.services) {
    auto entry = Napi::Object::New(env);
    entry.Set("name", service.name);
    entry.Set("slot", service.slot);
    auto servers = Napi::Array::New(env);
    for (const SlotMap::Server& server : service.servers) {
      auto item = Napi::Object::New(env);
      item.Set("address", server.address.to_string());
      item.Set("port", server.port.host());
      item.Set("slot", server.slot);
      item.Set("removed", server.removed);
      servers.Set(servers.Length(), item);
    }
    entry.Set("servers", servers);
    services.Set(services.Length(), entry);
  }
  object.Set("services", services);
  return object;
}

Napi::Value encode_interfaces(Napi::Env env, const std::vector<InterfaceStatus>& interfaces) {
  auto list = Napi::Array::New(env);
  for (const InterfaceStatus& status : interfaces) {
    auto object = Napi::Object::New(env);
    object.Set("name", status.name);
    object.Set("index", status.index);
    object.Set("attachMode", std::string(to_string(status.mode)));
    object.Set("fallbackReason", status.fallback_reason);
    object.Set("zeroCopy", status.zero_copy);
    object.Set("queues", status.queues);
    object.Set("mtu", status.mtu);
    object.Set("mac", status.mac.to_string());
    auto xdp = Napi::Object::New(env);
    xdp.Set("received", big(env, status.xdp.received_packets));
    xdp.Set("toWorkers", big(env, status.xdp.to_workers_packets));
    xdp.Set("toKernel", big(env, status.xdp.to_kernel_packets));
    xdp.Set("rxDropped", big(env, status.sockets.rx_dropped));
    xdp.Set("rxRingFull", big(env, status.sockets.rx_ring_full));
    xdp.Set("fillRingEmpty", big(env, status.sockets.fill_ring_empty));
    xdp.Set("rxInvalid", big(env, status.sockets.rx_invalid));
    xdp.Set("txInvalid", big(env, status.sockets.tx_invalid));
    object.Set("xdp", xdp);
    list.Set(list.Length(), object);
  }
  return list;
}

Napi::Value encode_probes(Napi::Env env, const std::vector<InterfaceProbe>& probes) {
  auto list = Napi::Array::New(env);
  for (const InterfaceProbe& probe : probes) {
    auto object = Napi::Object::New(env);
    object.Set("name", probe.name);
    object.Set("index", probe.index);
    object.Set("kind", probe.kind);
    object.Set("driver", probe.driver);
    object.Set("mtu", probe.mtu);
    object.Set("mac", probe.mac.to_string());
    object.Set("up", probe.up);
    object.Set("carrier", probe.carrier);
    object.Set("master", probe.master);
    object.Set("rxQueues", probe.rx_queues);
    object.Set("txQueues", probe.tx_queues);
    object.Set("xdpProgram", env.Null());
    if (probe.xdp_program) {
      auto program = Napi::Object::New(env);
      program.Set("id", probe.xdp_program->id);
      program.Set("name", probe.xdp_program->name);
      program.Set("mode", std::string(to_string(probe.xdp_program->mode)));
      object.Set("xdpProgram", program);
    }
    object.Set("xdpFeatures", env.Null());
    if (probe.xdp_features) {
      auto features = Napi::Object::New(env);
      features.Set("basic", probe.xdp_features->basic);
      features.Set("redirect", probe.xdp_features->redirect);
      features.Set("zeroCopy", probe.xdp_features->zero_copy);
      object.Set("xdpFeatures", features);
    }
    object.Set("ntuple", probe.ntuple ? Napi::Value(Napi::Boolean::New(env, *probe.ntuple)) : env.Null());
    auto addresses = Napi::Array::New(env);
    for (const std::string& a : probe.addresses) addresses.Set(addresses.Length(), a);
    object.Set("addresses", addresses);
    list.Set(list.Length(), object);
  }
  return list;
}

Napi::Value encode_replay(Napi::Env env, const ReplayResult& result) {
  auto object = Napi::Object::New(env);
  object.Set("packets", static_cast<double>(result.packets));
  object.Set("passedToKernel", static_cast<double>(result.passed_to_kernel));
  object.Set("sent", static_cast<double>(result.sent));
  auto totals = Napi::Object::New(env);
  auto per_worker = Napi::Array::New(env);
  for (std::size_t slot = 0; slot < kCounterSlots; slot++) {
    std::uint64_t sum = 0;
    for (const auto& counters : result.counters) sum += counters[slot];
    totals.Set(std::string(kCounterInfo[slot].name), big(env, sum));
  }
  for (const auto& counters : result.counters) {
    auto one = Napi::Object::New(env);
    for (std::size_t slot = 0; slot < kCounterSlots; slot++) one.Set(std::string(kCounterInfo[slot].name), big(env, counters[slot]));
    per_worker.Set(per_worker.Length(), one);
  }
  object.Set("counters", totals);
  object.Set("perWorker", per_worker);
  auto servers = Napi::Array::New(env);
  for (const ReplayResult::Server& server : result.servers) {
    auto item = Napi::Object::New(env);
    item.Set("service", server.service);
    item.Set("server", server.server);
    item.Set("stats", encode_stats(env, server.stats));
    servers.Set(servers.Length(), item);
  }
  object.Set("servers", servers);
  return object;
}

Napi::Value encode_counter_info(Napi::Env env) {
  auto list = Napi::Array::New(env);
  for (const CounterInfo& info : kCounterInfo) {
    auto object = Napi::Object::New(env);
    object.Set("name", std::string(info.name));
    object.Set("kind", std::string(info.kind));
    object.Set("unit", std::string(info.unit));
    object.Set("help", std::string(info.help));
    list.Set(list.Length(), object);
  }
  return list;
}

}  // namespace millrace::addon
