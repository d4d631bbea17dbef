#include "tasks/data/scored_sequences.h"

#include <ATen/ops/full.h>
#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "framework/base/error.h"

namespace quell {
namespace {

using Sequences = std::span<const ScoredSequence>;

// Tokens that all of a group begin with, as far as none of them predicts a target.
int64_t shared_tokens(Sequences group) {
  const std::vector<int64_t>& first = group.front().ids;
  int64_t shared = group.front().first_target - 1;
  for (const ScoredSequence& other : group.subspan(1)) {
    shared = std::min(shared, other.first_target - 1);
    const auto end = std::mismatch(first.begin(), first.begin() + shared, other.ids.begin());
    shared = end.first - first.begin();
  }
  return shared;
}

// A batch while it is put together.
struct Packing {
  std::vector<TokenSequence> sequences;
  std::vector<int64_t> contexts, example_ids, scored_ids;
  bool shares = false;

  void add_context(const ScoredSequence& of, int64_t tokens) {
    shares = true;
    contexts.push_back(-1);
    example_ids.push_back(-1);
    sequences.push_back({{of.ids.begin(), of.ids.begin() + tokens}});
    scored_ids.resize(scored_ids.size() + static_cast<size_t>(tokens), -1);
  }

  // Those tokens of the sequence that stand behind its context.
  void add(const ScoredSequence& one, int64_t example, int64_t context, int64_t in_context) {
    contexts.push_back(context);
    example_ids.push_back(example);
    sequences.push_back({{one.ids.begin() + in_context, one.ids.end() - 1}});
    for (int64_t next = in_context + 1; next < std::ssize(one.ids); ++next) {
      scored_ids.push_back(next >= one.first_target ? one.ids[next] : -1);
    }
  }

  Batch batch(bool needs_greedy) const {
    Batch batch = shares ? pack_behind(sequences, contexts) : pack(sequences);
    batch.example_ids = example_ids;
    batch.scored_ids = at::full({batch.tokens()}, -1, at::kLong);
    std::copy(scored_ids.begin(), scored_ids.end(), batch.scored_ids.mutable_data_ptr<int64_t>());
    batch.scores_best = needs_greedy;
    return batch;
  }
};

struct Group {
  int64_t first = 0, count = 0, tokens = 0;
};

std::vector<Group> longest_groups_first(Sequences sequences, std::span<const int64_t> groups) {
  std::vector<Group> result;
  int64_t first = 0;
  for (const int64_t count : groups) {
    Group group{first, count};
    for (const ScoredSequence& one : sequences.subspan(first, count)) {
      QUELL_ASSERT(one.first_target > 0 && one.targets() > 0, "a target behind a token");
      group.tokens += std::ssize(one.ids);
    }
    result.push_back(group);
    first += count;
  }
  QUELL_ASSERT(first == std::ssize(sequences), "every sequence is of a group");
  std::stable_sort(result.begin(), result.end(),
                   [](const Group& a, const Group& b) { return a.tokens > b.tokens; });
  return result;
}

// The values of an output per token.
const float* rows_of(const Outputs& outputs, const char* name, const Batch& batch,
                     at::Tensor& kept) {
  const auto found = outputs.find(name);
  if (found == outputs.end() || found->second.numel() != batch.tokens()) {
    throw Error(fmt::format("the model gives no \"{}\" for every token", name));
  }
  kept = found->second.to(at::kCPU, at::kFloat).contiguous();
  return kept.const_data_ptr<float>();
}

}  // namespace

std::vector<Batch> scoring_batches(Sequences sequences, std::span<const int64_t> groups,
                                   const ScoringOptions& options) {
  const std::vector<Group> order = longest_groups_first(sequences, groups);
  std::vector<Batch> batches;
  for (size_t begin = 0; begin < order.size();) {
    const size_t end = std::min(
        order.size(), begin + static_cast<size_t>(std::max<int64_t>(options.batch_size, 1)));
    Packing packing;
    for (; begin < end; ++begin) {
      const Group& group = order[begin];
      const Sequences members = sequences.subspan(group.first, group.count);
      int64_t shared = options.share_contexts && group.count > 1 ? shared_tokens(members) : 0;
      int64_t context = -1;
      if (shared > 0) {
        context = std::ssize(packing.sequences);
        packing.add_context(members.front(), shared);
      }
      for (int64_t i = 0; i < group.count; ++i) {
        packing.add(members[i], group.first + i, context, shared);
      }
    }
    batches.push_back(packing.batch(options.needs_greedy));
  }
  return batches;
}

std::vector<SequenceScore> score_sequences(std::span<const Batch> batches, int64_t sequences,
                                           const Predictor& predictor,
                                           const std::function<void(int64_t)>& done) {
  std::vector<SequenceScore> scores(sequences);
  predict_all(predictor, batches, [&](size_t index, const Outputs& outputs) {
    const Batch& batch = batches[index];
    at::Tensor kept, kept_best;
    const float* values = rows_of(outputs, "log_likelihood", batch, kept);
    const float* best =
        batch.scores_best ? rows_of(outputs, "best_log_likelihood", batch, kept_best) : values;
    const int64_t* ids = batch.scored_ids.const_data_ptr<int64_t>();
    int64_t scored = 0;
    for (int64_t i = 0; i < batch.sequences(); ++i) {
      const int64_t example = batch.example_ids[i];
      if (example < 0) continue;
      ++scored;
      for (int64_t row = batch.offsets[i]; row < batch.offsets[i + 1]; ++row) {
        if (ids[row] < 0) continue;
        if (!std::isfinite(values[row])) {
          throw Error(
              fmt::format("the log-likelihood of a token of batch {}, sequence {}, is {}; "
                          "look for NaN in the weights or for a scale of zero",
                          index, example, values[row]));
        }
        scores[example].log_likelihood += values[row];
        scores[example].greedy &= values[row] >= best[row];
      }
    }
    done(scored);
  });
  return scores;
}

void score_next_tokens(Batch& batch) {
  batch.scored_ids = at::full({batch.tokens()}, -1, at::kLong);
  auto* scored = batch.scored_ids.mutable_data_ptr<int64_t>();
  const int64_t* ids = batch.token_ids.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < batch.sequences(); ++i) {
    const int64_t end = batch.offsets[i] + batch.valid_lengths[i];
    for (int64_t row = batch.offsets[i]; row + 1 < end; ++row) scored[row] = ids[row + 1];
  }
}

}  // namespace quell
