// Replays the fuzz targets' corpus and every input that ever broke one, in the normal test run and under the sanitizers of its preset.
// A target that fails aborts; the line before says which input it was.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#define LLVMFuzzerTestOneInput fuzz_parse
#include "../../fuzz/parse_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_tcp_options
#include "../../fuzz/tcp_options_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_pcap
#include "../../fuzz/pcap_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_neighbour
#include "../../fuzz/neighbour_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_pipeline
#include "../../fuzz/pipeline_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_quic
#include "../../fuzz/quic_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_icmp
#include "../../fuzz/icmp_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_outbound
#include "../../fuzz/outbound_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_proxy
#include "../../fuzz/proxy_fuzz.cc"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_told
#include "../../fuzz/told_fuzz.cc"
#undef LLVMFuzzerTestOneInput

namespace {

using Target = int (*)(const std::uint8_t*, std::size_t);

std::vector<std::filesystem::path> inputs_of(const std::string& target) {
  const auto fuzz = std::filesystem::path(__FILE__).parent_path() / ".." / ".." / "fuzz";
  std::vector<std::filesystem::path> inputs;
  for (const char* kind : {"corpus", "regressions"}) {
    const auto directory = fuzz / kind / target;
    if (!std::filesystem::exists(directory)) continue;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) inputs.push_back(entry.path());
  }
  std::sort(inputs.begin(), inputs.end());
  return inputs;
}

void replay(const std::string& name, Target target) {
  const auto inputs = inputs_of(name);
  ASSERT_FALSE(inputs.empty()) << "no corpus for " << name;
  EXPECT_EQ(target(nullptr, 0), 0);
  for (const auto& path : inputs) {
    std::ifstream file(path, std::ios::binary);
    const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    std::cout << name << " " << path.filename().string() << std::endl;
    EXPECT_EQ(target(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()), 0);
  }
}

TEST(FuzzRegressions, ParseHoldsOnEveryKnownInput) { replay("parse", fuzz_parse); }
TEST(FuzzRegressions, TcpOptionsHoldOnEveryKnownInput) { replay("tcp_options", fuzz_tcp_options); }
TEST(FuzzRegressions, PcapHoldsOnEveryKnownInput) { replay("pcap", fuzz_pcap); }
TEST(FuzzRegressions, NeighbourHoldsOnEveryKnownInput) { replay("neighbour", fuzz_neighbour); }
TEST(FuzzRegressions, PipelineHoldsOnEveryKnownInput) { replay("pipeline", fuzz_pipeline); }
TEST(FuzzRegressions, IcmpHoldsOnEveryKnownInput) { replay("icmp", fuzz_icmp); }
TEST(FuzzRegressions, OutboundHoldsOnEveryKnownInput) { replay("outbound", fuzz_outbound); }
TEST(FuzzRegressions, ProxyHoldsOnEveryKnownInput) { replay("proxy", fuzz_proxy); }
TEST(FuzzRegressions, ToldHoldsOnEveryKnownInput) { replay("told", fuzz_told); }
TEST(FuzzRegressions, QuicHoldsOnEveryKnownInput) { replay("quic", fuzz_quic); }

}  // namespace
