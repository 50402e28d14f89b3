// TinyTcp: one end of a TCP connection, small enough to be believed: handshake, cumulative acknowledgement, SACK, timestamps with PAWS,
// retransmission by a fixed timer, FIN, RST. It checks what it is sent: checksums, acknowledgements and SACK blocks of bytes it has really
// sent, echoes of timestamps it has really sent, nothing beyond its window.
// Guarantees: shares no code with native/. Thread: any. Tests only.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "support/flow.h"

namespace millrace::test {

inline std::uint32_t read32(const Bytes& bytes, std::size_t at) {
  return static_cast<std::uint32_t>(read16(bytes, at)) << 16 | read16(bytes, at + 2);
}

/// A TCP segment as it came, with a right checksum or the test fails.
struct Segment {
  bool six = false;
  Bytes source, destination;
  std::uint16_t source_port = 0, destination_port = 0;
  std::uint32_t seq = 0, ack = 0;
  std::uint8_t flags = 0;
  std::uint16_t window = 0;
  Bytes options;
  Bytes payload;

  bool has(std::uint8_t flag) const { return (flags & flag) != 0; }
  std::optional<Bytes> option(std::uint8_t kind) const {
    for (std::size_t i = 0; i < options.size() && options[i] != 0;) {
      if (options[i] == 1) {
        i++;
        continue;
      }
      if (options[i] == kind) return Bytes(options.begin() + static_cast<long>(i), options.begin() + static_cast<long>(i + options[i + 1]));
      i += options[i + 1];
    }
    return std::nullopt;
  }
};

inline Segment segment_of(const Bytes& frame) {
  Segment s;
  s.six = read16(frame, 12) == 0x86dd;
  const std::size_t l3 = 14, address = s.six ? 16 : 4;
  const std::size_t l4 = s.six ? 54 : l3 + (frame[l3] & 15u) * 4u;
  const std::size_t end = s.six ? 54 + read16(frame, l3 + 4) : l3 + read16(frame, l3 + 2);
  EXPECT_EQ(end, frame.size());
  const std::size_t from = l3 + (s.six ? 8 : 12);
  const auto part = [&](std::size_t a, std::size_t b) { return Bytes(frame.begin() + static_cast<long>(a), frame.begin() + static_cast<long>(b)); };
  s.source = part(from, from + address);
  s.destination = part(from + address, from + 2 * address);
  Bytes pseudo = part(from, from + 2 * address);
  packet_detail::put32(pseudo, static_cast<std::uint32_t>(end - l4));
  packet_detail::put32(pseudo, 6);
  EXPECT_EQ(packet_detail::sum(part(l4, end), packet_detail::sum(pseudo)), 0xffffu) << "TCP checksum";
  if (!s.six) {
    EXPECT_EQ(packet_detail::sum(part(l3, l4)), 0xffffu) << "IPv4 checksum";
  }
  s.source_port = read16(frame, l4);
  s.destination_port = read16(frame, l4 + 2);
  s.seq = read32(frame, l4 + 4);
  s.ack = read32(frame, l4 + 8);
  const std::size_t header = (frame[l4 + 12] >> 4) * 4u;
  s.flags = frame[l4 + 13];
  s.window = read16(frame, l4 + 14);
  s.options = part(l4 + 20, l4 + header);
  s.payload = part(l4 + header, end);
  return s;
}

class TinyTcp {
 public:
  struct Options {
    bool timestamps = true;
    bool sack = true;
    std::uint32_t isn = 1;
    std::uint32_t clock = 1;
    std::size_t mss = 1000;
    /// Bytes per segment: between these two.
    std::size_t least = 1000, most = 1000;
    std::uint32_t window = 60'000;
    std::uint32_t seed = 1;
    /// What it has already taken may come again as something else: bytes that were taken off between, which every TCP ignores.
    bool old_bytes_differ = false;
  };

  /// `addressed`: a Flow with addresses and ports of what this end sends; a server learns them from the SYN.
  TinyTcp(Options options, Flow addressed, bool server) : o_(options), flow_(std::move(addressed)), server_(server), random_(options.seed) {}

  // What the application does.
  void send(const Bytes& bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  void close() { closing_ = true; }
  void abort() { aborting_ = true; }
  void connect() { state_ = State::kSynSent; }

  const Bytes& received() const { return in_; }
  bool connected() const { return state_ == State::kConnected; }
  bool was_reset() const { return reset_; }
  bool got_fin() const { return fin_seen_; }
  /// Everything sent has been acknowledged, FIN included.
  bool done() const { return closing_ && una_ == out_.size() + 1 && fin_seen_; }
  /// The segment that made a server's connection, and the first SYN.
  const std::optional<Segment>& accepted() const { return accepted_; }
  const std::vector<Segment>& heard() const { return heard_; }

  /// For messages of tests that fail.
  std::string status() const {
    return "[una " + std::to_string(una_) + " next " + std::to_string(next_) + " high " + std::to_string(high_) + " of " + std::to_string(out_.size()) +
           ", in " + std::to_string(in_.size()) + ", waiting " + std::to_string(waiting_.size()) + ", window " + std::to_string(window_) + ", fin " +
           std::to_string(fin_seen_) + ", state " + std::to_string(static_cast<int>(state_)) + "]";
  }

  /// Takes a frame; what it answers comes with the next tick().
  void receive(const Bytes& frame, std::uint32_t now) {
    const Segment s = segment_of(frame);
    heard_.push_back(s);
    if (s.has(kSyn)) return on_syn(s);
    if (state_ == State::kClosed) return;
    if (s.has(kRst)) {
      reset_ = true;
      state_ = State::kClosed;
      return;
    }
    if (paws_rejects(s)) return answer();
    if (s.has(kAck)) on_ack(s, now);
    if (state_ == State::kSynReceived) return;
    on_bytes(s);
  }

  /// Frames to send now.
  std::vector<Bytes> tick(std::uint32_t now) {
    std::vector<Bytes> frames;
    const bool again = static_cast<std::int32_t>(now - retry_at_) >= 0;
    if (state_ == State::kSynSent && (again || !syn_sent_)) {
      frames.push_back(build(kSyn, o_.isn, 0, {}, now));
      syn_sent_ = true;
      retry_at_ = now + kRetry;
    } else if (state_ == State::kSynReceived && (again || answer_)) {
      frames.push_back(build(kSyn | kAck, o_.isn, next_in(), {}, now));
      retry_at_ = now + kRetry;
      answer_ = false;
    } else if (state_ == State::kConnected) {
      if (aborting_) {
        frames.push_back(build(kRst | kAck, o_.isn + 1 + static_cast<std::uint32_t>(next_), next_in(), {}, now));
        state_ = State::kClosed;
        return frames;
      }
      if (again && una_ < next_) {
        next_ = una_;  // go back and send all of it again, perhaps in other pieces
        answer_ = false;
      }
      const std::size_t end = out_.size() + (closing_ ? 1 : 0);
      while (next_ < end && next_ - una_ < std::min<std::size_t>(window_, 20'000)) {
        const std::size_t size = std::min(pick_size(), out_.size() - std::min(next_, out_.size()));
        const bool fin = closing_ && next_ + size == out_.size() && (size == 0 || random_() % 2 == 0 || fin_with_data);
        const Bytes bytes(out_.begin() + static_cast<long>(std::min(next_, out_.size())),
                          out_.begin() + static_cast<long>(std::min(next_, out_.size()) + size));
        frames.push_back(build(static_cast<std::uint8_t>(kAck | (fin ? kFin : 0)), o_.isn + 1 + static_cast<std::uint32_t>(next_), next_in(), bytes, now));
        next_ += size + (fin ? 1 : 0);
        high_ = std::max(high_, next_);
        retry_at_ = now + kRetry;
        answer_ = false;
        if (size == 0 && !fin) break;
      }
      if (answer_) frames.push_back(build(kAck, o_.isn + 1 + static_cast<std::uint32_t>(next_), next_in(), {}, now));
      answer_ = false;
    }
    return frames;
  }

  /// A FIN always rides on the last bytes.
  bool fin_with_data = false;

 private:
  enum class State { kClosed, kSynSent, kSynReceived, kConnected };
  static constexpr std::uint32_t kRetry = 300;

  std::size_t pick_size() { return o_.least + random_() % (o_.most - o_.least + 1); }
  std::uint32_t next_in() const { return peer_isn_ + 1 + static_cast<std::uint32_t>(in_.size()) + (fin_seen_ ? 1 : 0); }
  void answer() { answer_ = true; }

  bool paws_rejects(const Segment& s) {
    const auto ts = s.option(8);
    if (!use_ts_) return false;
    if (!ts) {
      ADD_FAILURE() << "a segment without timestamps, which were agreed on (RFC 7323 3.2)";
      return true;
    }
    const std::uint32_t value = read32(*ts, 2);
    if (static_cast<std::int32_t>(value - ts_recent_) < 0) return true;
    ts_recent_ = value;
    if (s.has(kAck)) {
      const std::uint32_t echo = read32(*ts, 6);
      EXPECT_LE(echo - first_clock_, last_clock_ - first_clock_) << "echo of a timestamp that was never sent";
    }
    return false;
  }

  void on_syn(const Segment& s) {
    if (server_ && !s.has(kAck)) {
      if (state_ == State::kClosed || (state_ == State::kSynReceived && s.seq == peer_isn_)) {
        EXPECT_TRUE(s.payload.empty()) << "bytes on a SYN";
        peer_isn_ = s.seq;
        learn(s);
        if (const auto ts = s.option(8)) ts_recent_ = read32(*ts, 2);
        state_ = State::kSynReceived;
      }
      return answer();
    }
    if (!server_ && s.has(kAck) && (state_ == State::kSynSent || state_ == State::kConnected)) {
      // One that comes late may acknowledge bytes that were taken off by whoever is between.
      const bool allowed = state_ == State::kSynSent ? s.ack == o_.isn + 1 : s.ack - (o_.isn + 1) <= high_;
      if (!allowed) {
        ADD_FAILURE() << "SYN-ACK acknowledges " << s.ack << " and not " << o_.isn + 1;
        return;
      }
      peer_isn_ = s.seq;
      if (state_ == State::kSynSent) {
        learn(s);
        window_ = s.window;
        if (const auto ts = s.option(8)) ts_recent_ = read32(*ts, 2);
      }
      state_ = State::kConnected;
      answer();
    }
  }

  void learn(const Segment& s) {
    flow_.six = s.six;
    use_ts_ = o_.timestamps && s.option(8).has_value();
    use_sack_ = o_.sack && s.option(4).has_value();
    if (!server_) return;
    const auto text = [&](const Bytes& a) { return address_at(a, 0, s.six); };
    flow_.source = text(s.destination);
    flow_.destination = text(s.source);
    flow_.source_port = s.destination_port;
    flow_.destination_port = s.source_port;
  }

  void on_ack(const Segment& s, std::uint32_t now) {
    const std::uint32_t acked = s.ack - (o_.isn + 1);
    if (acked > high_) {
      ADD_FAILURE() << (server_ ? "server" : "client") << " is told of byte " << acked << " and has sent " << high_;
      return;
    }
    if (state_ == State::kSynReceived) {
      state_ = State::kConnected;
      accepted_ = s;
    }
    if (const auto sack = s.option(5)) {
      for (std::size_t at = 2; at + 8 <= sack->size(); at += 8) {
        const std::uint32_t left = read32(*sack, at) - (o_.isn + 1), right = read32(*sack, at + 4) - (o_.isn + 1);
        EXPECT_LT(left, right);
        EXPECT_LE(right, high_) << "SACK of bytes that were never sent";
      }
    }
    if (acked > una_) {
      una_ = acked;
      next_ = std::max(next_, una_);
      retry_at_ = now + kRetry;
    }
    window_ = s.window;
  }

  void on_bytes(const Segment& s) {
    if (s.payload.empty() && !s.has(kFin)) {
      // A probe of whether somebody is there.
      if (s.seq != next_in()) answer();
      return;
    }
    answer();
    const std::uint32_t offset = s.seq - (peer_isn_ + 1);
    const auto relative = static_cast<std::int32_t>(offset - static_cast<std::uint32_t>(in_.size()));
    EXPECT_LE(static_cast<std::int64_t>(relative) + static_cast<std::int64_t>(s.payload.size()), static_cast<std::int64_t>(o_.window)) << "beyond the window";
    const std::int64_t begin = static_cast<std::int64_t>(in_.size()) + relative;
    for (std::size_t i = 0; i < s.payload.size(); i++) {
      const std::int64_t place = begin + static_cast<std::int64_t>(i);
      if (place < 0) continue;
      if (place < static_cast<std::int64_t>(in_.size())) {
        if (!o_.old_bytes_differ) {
          EXPECT_EQ(in_[static_cast<std::size_t>(place)], s.payload[i]) << "another byte in the same place, " << place;
        }
      } else {
        const auto [known, fresh] = waiting_.try_emplace(static_cast<std::size_t>(place), s.payload[i]);
        if (!fresh) {
          EXPECT_EQ(known->second, s.payload[i]) << "another byte in the same place, " << place;
        }
      }
    }
    if (s.has(kFin)) fin_at_ = static_cast<std::size_t>(begin + static_cast<std::int64_t>(s.payload.size()));
    for (auto it = waiting_.begin(); it != waiting_.end() && it->first == in_.size(); it = waiting_.erase(it)) in_.push_back(it->second);
    if (fin_at_ && *fin_at_ == in_.size()) fin_seen_ = true;
  }

  Bytes build(std::uint8_t flags, std::uint32_t seq, std::uint32_t ack, const Bytes& payload, std::uint32_t now) {
    Flow f = flow_;
    f.flags = flags;
    f.seq = seq;
    f.ack = ack;
    f.window = static_cast<std::uint16_t>(o_.window);
    f.dont_fragment = true;
    f.payload = payload;
    const bool syn = (flags & kSyn) != 0;
    if (syn) {
      f.tcp_options.push_back({2, 4, static_cast<std::uint8_t>(o_.mss >> 8), static_cast<std::uint8_t>(o_.mss)});
      if (o_.sack) f.tcp_options.push_back({4, 2});
    }
    if (syn ? o_.timestamps && (!server_ || use_ts_) : use_ts_) {
      last_clock_ = o_.clock + now;
      if (!clock_started_) first_clock_ = last_clock_;
      clock_started_ = true;
      Bytes ts = syn ? Bytes{8, 10} : Bytes{1, 1, 8, 10};
      packet_detail::put32(ts, last_clock_);
      packet_detail::put32(ts, (flags & kAck) != 0 ? ts_recent_ : 0);
      f.tcp_options.push_back(ts);
    }
    if (use_sack_ && !syn && !waiting_.empty()) {
      Bytes blocks;
      for (auto it = waiting_.begin(); it != waiting_.end() && blocks.size() < 16;) {
        std::size_t end = it->first;
        const std::size_t begin = end;
        for (; it != waiting_.end() && it->first == end; ++it) end++;
        packet_detail::put32(blocks, peer_isn_ + 1 + static_cast<std::uint32_t>(begin));
        packet_detail::put32(blocks, peer_isn_ + 1 + static_cast<std::uint32_t>(end));
      }
      Bytes sack{1, 1, 5, static_cast<std::uint8_t>(2 + blocks.size())};
      packet_detail::append(sack, blocks);
      f.tcp_options.push_back(sack);
    }
    return f.build();
  }

  const Options o_;
  Flow flow_;
  const bool server_;
  std::mt19937 random_;
  State state_ = State::kClosed;
  bool syn_sent_ = false, answer_ = false, closing_ = false, aborting_ = false, reset_ = false, fin_seen_ = false;
  bool use_ts_ = false, use_sack_ = false, clock_started_ = false;
  std::uint32_t peer_isn_ = 0, ts_recent_ = 0, retry_at_ = 0, first_clock_ = 0, last_clock_ = 0, window_ = 1000;
  Bytes out_, in_;
  std::size_t una_ = 0, next_ = 0, high_ = 0;
  std::map<std::size_t, std::uint8_t> waiting_;
  std::optional<std::size_t> fin_at_;
  std::optional<Segment> accepted_;
  std::vector<Segment> heard_;
};

}  // namespace millrace::test
