#include "tasks/data/squad_features.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include "framework/base/error.h"
#include "framework/quant/parallel.h"
#include "framework/text/unicode.h"
#include "tasks/metrics/squad.h"

namespace quell {
namespace {

constexpr int kContext = 1;  // the second text of the pair
constexpr int64_t kGrain = 32;

std::vector<Encoding> encode(const Tokenizer& tokenizer, const SquadExample& example,
                             const SquadWindows& windows) {
  TokenizerOptions options;
  options.max_length = windows.max_length;
  options.truncation = Truncation::kOnlySecond;
  options.stride = windows.doc_stride;
  options.overflow = true;
  try {
    return tokenizer.encode(without_left_blanks(example.question), example.context, options);
  } catch (const DataError& error) {
    throw DataError(fmt::format(
        "question {}: with max_length {} and doc_stride {} (the tokens that neighbouring windows "
        "share) there is no room for the context; raise max_length or lower doc_stride ({})",
        example.id, windows.max_length, windows.doc_stride, error.what()));
  }
}

// First and last token of the answer, when it lies completely between the first and last tokens of
// the context.
void label(const ReferenceAnswer& answer, SquadFeature& feature) {
  const auto& offsets = feature.offsets;
  int64_t first = 0, last = std::ssize(offsets) - 1;
  while (first <= last && offsets[first].first < 0) ++first;
  while (last >= first && offsets[last].first < 0) --last;
  const auto begin = answer.start;
  const auto end = begin + std::ssize(unicode::decode_utf8(answer.text));
  if (first > last || offsets[first].first > begin || offsets[last].second < end) return;
  int64_t start_position = first, end_position = last;
  while (start_position < last && offsets[start_position + 1].first <= begin) ++start_position;
  while (end_position > first && offsets[end_position - 1].second >= end) --end_position;
  feature.start_position = start_position;
  feature.end_position = end_position;
}

std::vector<SquadFeature> features_of(const Tokenizer& tokenizer, const SquadExample& example,
                                      int64_t position, const SquadWindows& windows) {
  std::vector<SquadFeature> features;
  for (Encoding& window : encode(tokenizer, example, windows)) {
    SquadFeature feature;
    feature.example = position;
    for (size_t i = 0; i < window.ids.size(); ++i) {
      const auto [begin, end] = window.offsets[i];
      const bool in_context = window.sequence[i] == kContext;
      feature.offsets.emplace_back(in_context ? begin : -1, in_context ? end : -1);
    }
    feature.sequence = {std::move(window.ids), std::move(window.type_ids)};
    if (!example.answers.empty()) label(example.answers.front(), feature);
    features.push_back(std::move(feature));
  }
  return features;
}

}  // namespace

std::vector<SquadFeature> squad_features(const Tokenizer& tokenizer,
                                         std::span<const SquadExample> examples,
                                         const SquadWindows& windows) {
  const auto count = static_cast<int64_t>(examples.size());
  std::vector<std::vector<SquadFeature>> found(examples.size());
  parallel_for(0, count, kGrain, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      found[i] = features_of(tokenizer, examples[i], i, windows);
    }
  });
  std::vector<SquadFeature> features;
  for (auto& of_example : found) {
    for (SquadFeature& feature : of_example) features.push_back(std::move(feature));
  }
  return features;
}

void set_answer_positions(Batch& batch, std::span<const SquadFeature> features) {
  std::vector<int64_t> starts, ends;
  for (const int64_t position : batch.example_ids) {
    starts.push_back(features[position].start_position);
    ends.push_back(features[position].end_position);
  }
  batch.start_positions = at::tensor(starts, at::kLong);
  batch.end_positions = at::tensor(ends, at::kLong);
}

std::vector<TokenSequence> sequences_of(std::span<const SquadFeature> features) {
  std::vector<TokenSequence> sequences;
  for (const SquadFeature& feature : features) sequences.push_back(feature.sequence);
  return sequences;
}

}  // namespace quell
