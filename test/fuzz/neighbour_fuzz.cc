// Fuzz target: ARP and neighbour discovery frames from the link. The parser reads only inside the frame; whatever it takes for a
// question is answered by a frame that it understands in turn and that claims the address asked for.
#include "control/neighbour_messages.h"

#include "support/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace;
  if (size > 4096) return 0;
  const auto bytes = fuzz::exact_copy(data, size);
  const std::optional<NeighbourQuery> query = parse_neighbour_query({bytes.get(), size});
  if (!query.has_value() || !query->is_question()) return 0;
  const MacAddress own{{0x02, 0, 0, 0, 0, 0x01}};
  const NeighbourFrame answer = build_answer(*query, own);
  const std::optional<NeighbourQuery> read = parse_neighbour_query(answer.span());
  FUZZ_CHECK(read.has_value());
  FUZZ_CHECK(!read->is_question());
  FUZZ_CHECK(read->claims(query->target));
  FUZZ_CHECK(read->sender_mac == own);
  return 0;
}
