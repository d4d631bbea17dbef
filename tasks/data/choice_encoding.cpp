#include "tasks/data/choice_encoding.h"

#include <fmt/format.h>
#include <string_view>
#include <utility>

#include "framework/base/error.h"
#include "framework/text/unicode.h"
#include "tasks/data/python_text.h"

namespace quell {
namespace {

// Where the blanks at the end begin.
size_t end_of_text(const std::string& text) {
  const std::u32string code_points = unicode::decode_utf8(text);
  return unicode::encode_utf8(stripped_at_end(code_points)).size();
}

// Tokens of the context and of the continuation.
using Parts = std::pair<std::vector<int64_t>, std::vector<int64_t>>;

Parts behind_prefix(const TextEncoder& encoder, const std::string& text) {
  std::vector<int64_t> ids = encoder.encode_plain(text);
  // A text that brings the prefix token along needs no second one.
  if (!ids.empty() && ids.front() == encoder.prefix()) ids.erase(ids.begin());
  return {{encoder.prefix()}, std::move(ids)};
}

Parts encode_parts(const TextEncoder& encoder, const std::string& context,
                   const std::string& continuation) {
  if (context.empty()) return behind_prefix(encoder, continuation);
  const std::string text = context + continuation;
  std::vector<int64_t> before = encoder.encode(context.substr(0, end_of_text(context)));
  if (before.empty()) return behind_prefix(encoder, text);
  const std::vector<int64_t> whole = encoder.encode(text);
  const auto border = std::min(before.size(), whole.size());
  return {std::move(before), {whole.begin() + static_cast<std::ptrdiff_t>(border), whole.end()}};
}

}  // namespace

EncodedPair encode_pair(const TextEncoder& encoder, const std::string& context,
                        const std::string& continuation, int64_t max_length,
                        const std::string& place) {
  auto [ids, targets] = encode_parts(encoder, context, continuation);
  const int64_t wanted = std::ssize(targets);
  if (wanted == 0) {
    throw DataError(
        fmt::format("{}: the continuation \"{}\" has no tokens of its own", place, continuation));
  }
  if (wanted > max_length) {
    throw DataError(fmt::format("{}: a continuation of {} tokens; the model reads at most {}",
                                place, wanted, max_length));
  }
  ids.insert(ids.end(), targets.begin(), targets.end());
  const int64_t surplus = std::ssize(ids) - max_length - 1;
  if (surplus > 0) ids.erase(ids.begin(), ids.begin() + surplus);
  const int64_t first = std::ssize(ids) - wanted;
  return {{std::move(ids), first}, surplus > 0};
}

}  // namespace quell
