// The transitions behind sctp_state.h, written as what changes: a state that a rule does not name stays.
#include "sessions/sctp_state.h"

#include <initializer_list>

namespace millrace {

namespace {

constexpr SessionState NO = SessionState::kNone;
constexpr SessionState I1 = SessionState::kSctpInit1;
constexpr SessionState IN = SessionState::kSctpInit;
constexpr SessionState CS = SessionState::kSctpCookieSent;
constexpr SessionState CR = SessionState::kSctpCookieReplied;
constexpr SessionState CW = SessionState::kSctpCookieWait;
constexpr SessionState CO = SessionState::kSctpCookie;
constexpr SessionState CE = SessionState::kSctpCookieEchoed;
constexpr SessionState ES = SessionState::kSctpEstablished;
constexpr SessionState SS = SessionState::kSctpShutdownSent;
constexpr SessionState SR = SessionState::kSctpShutdownReceived;
constexpr SessionState SA = SessionState::kSctpShutdownAckSent;
constexpr SessionState RJ = SessionState::kSctpRejected;
constexpr SessionState CL = SessionState::kSctpClosed;
constexpr std::array kAll = {NO, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL};
static_assert(kAll.size() == detail::kSctpStates);

enum Side : std::size_t { kInput, kOutput, kInputOnly };

struct Rules {
  detail::SctpTransitions table{};

  constexpr Rules() {
    for (auto& side : table) {
      for (auto& event : side) event = kAll;
    }
  }
  constexpr void move(Side side, SctpEvent event, std::initializer_list<SessionState> from, SessionState to) {
    for (const SessionState state : from) table[side][static_cast<std::size_t>(event)][detail::sctp_row(state)] = to;
  }
  constexpr void move_all(Side side, SctpEvent event, SessionState to) { table[side][static_cast<std::size_t>(event)].fill(to); }
};

constexpr detail::SctpTransitions make_transitions() {
  using enum SctpEvent;
  Rules r;
  r.move(kInput, kData, {NO}, ES);
  r.move(kInput, kInit, {NO}, I1);
  r.move(kInput, kInit, {I1, RJ, CL}, IN);
  r.move(kInput, kInitAck, {NO, I1, IN}, CW);
  r.move(kInput, kInitAck, {CW}, CO);
  r.move(kInput, kCookieEcho, {NO, CS}, CR);
  r.move(kInput, kCookieEcho, {I1}, IN);
  r.move(kInput, kCookieAck, {NO, CE}, ES);
  r.move(kInput, kShutdown, {NO, ES}, SR);
  r.move(kInput, kShutdownAck, {NO, SS, SA}, CL);
  r.move(kInput, kShutdownAck, {I1}, IN);
  r.move(kInput, kShutdownComplete, {NO, I1, IN, SA}, CL);
  r.move(kInput, kError, {NO, CE}, CL);
  r.move_all(kInput, kAbort, CL);
  r.move(kInput, kAbort, {CW}, RJ);

  r.move(kOutput, kData, {NO}, ES);
  r.move_all(kOutput, kInit, CW);
  r.move(kOutput, kInit, {ES}, ES);
  r.move(kOutput, kInitAck, {NO, I1, IN}, CS);
  r.move(kOutput, kCookieEcho, {NO, I1, IN, CS, CR, CW, CO}, CE);
  r.move(kOutput, kCookieAck, {NO, I1, IN, CS, CR, CW, CO, CE}, ES);
  r.move(kOutput, kShutdown, {NO, I1, IN, CS, CR, CW, CO, CE, ES}, SS);
  r.move(kOutput, kShutdownAck, {NO, I1, IN, CS, CR, SS, SR}, SA);
  r.move(kOutput, kShutdownComplete, {NO}, CL);
  r.move(kOutput, kError, {NO, I1, IN, CS, CR}, CL);
  r.move_all(kOutput, kAbort, CL);
  r.move(kOutput, kAbort, {I1}, RJ);

  r.move(kInputOnly, kData, {NO, CW}, ES);
  r.move(kInputOnly, kInit, {NO}, I1);
  r.move(kInputOnly, kInit, {I1, CS, CR, CW, RJ, CL}, IN);
  r.move(kInputOnly, kInitAck, {NO, I1, IN, CS, CR, CW}, CE);
  r.move(kInputOnly, kCookieEcho, {NO, I1, IN, CS, CR, CW}, ES);
  r.move(kInputOnly, kCookieAck, {NO, CS, CR, CO, CE}, ES);
  r.move(kInputOnly, kShutdown, {NO, ES}, SR);
  r.move(kInputOnly, kShutdownAck, {NO, ES, SS, SA}, CL);
  r.move(kInputOnly, kShutdownAck, {I1}, IN);
  r.move(kInputOnly, kShutdownComplete, {NO, I1, IN, CS, CR, SR, SA}, CL);
  r.move(kInputOnly, kError, {NO}, CL);
  r.move_all(kInputOnly, kAbort, CL);
  r.move(kInputOnly, kAbort, {CW}, RJ);
  return r.table;
}

}  // namespace

namespace detail {
constexpr SctpTransitions kMade = make_transitions();
const SctpTransitions kSctpTransitions = kMade;
}  // namespace detail

}  // namespace millrace
