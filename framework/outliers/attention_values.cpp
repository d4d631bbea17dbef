#include "framework/outliers/attention_values.h"

#include <ATen/ops/empty.h>
#include <algorithm>

#include "framework/base/error.h"
#include "framework/quant/parallel.h"

namespace quell {
namespace {

const std::vector<int64_t>& offsets_of(const Batch& batch, bool target) {
  return target ? batch.target_offsets() : batch.offsets;
}

const std::vector<int64_t>& valid_lengths_of(const Batch& batch, bool target) {
  return target ? batch.target_valid_lengths() : batch.valid_lengths;
}

}  // namespace

AttentionSides attention_sides(const Site& site) {
  return {site.rows == RowsOf::kTargets, site.columns == RowsOf::kTargets};
}

AttentionValues attention_values(const Batch& batch, AttentionSides sides, int64_t heads,
                                 const at::Tensor& matrices) {
  const auto& queries = offsets_of(batch, sides.target_queries);
  const auto& keys = offsets_of(batch, sides.target_keys);
  AttentionValues result;
  result.heads = heads;
  result.begin = {0};
  for (int64_t i = 0; i < batch.sequences(); ++i) {
    result.queries.push_back(queries[i + 1] - queries[i]);
    result.keys.push_back(keys[i + 1] - keys[i]);
    result.begin.push_back(result.begin.back() + heads * result.head_size(i));
  }
  const int64_t columns = matrices.size(1);
  result.memory = matrices;
  if (matrices.numel() != result.size()) {
    QUELL_ASSERT(matrices.size(0) == heads * queries.back(), "a row per head and query");
    result.memory = at::empty({result.size()}, at::kFloat);
    const float* from = matrices.const_data_ptr<float>();
    float* all = result.memory.mutable_data_ptr<float>();
    for_each_dynamically(batch.sequences(), [&](int64_t i) {
      const float* row = from + heads * queries[i] * columns;
      float* to = all + result.begin[i];
      for (int64_t r = 0; r < heads * result.queries[i]; ++r) {
        to = std::copy_n(row + r * columns, result.keys[i], to);
      }
    });
  }
  result.values = result.memory.const_data_ptr<float>();
  return result;
}

void AttentionSums::add(const AttentionValues& probs, const Batch& batch, AttentionSides sides,
                        const TokenColumns& keys, int64_t first_token) {
  for (auto* sums : {&sums_.first, &sums_.last, &sums_.separators}) sums->resize(probs.heads);
  const auto& valid_queries = valid_lengths_of(batch, sides.target_queries);
  const auto& valid_keys = valid_lengths_of(batch, sides.target_keys);
  const auto& key_offsets = offsets_of(batch, sides.target_keys);
  for (int64_t i = 0; i < probs.sequences(); ++i) {
    std::vector<int64_t> separators;
    for (int64_t key = 0; key < valid_keys[i]; ++key) {
      const int64_t token = first_token + key_offsets[i] + key;
      if (keys.kinds[token] == TokenKind::kSeparator) separators.push_back(key);
    }
    queries_ += valid_queries[i];
    for (int64_t head = 0; head < probs.heads; ++head) {
      const float* matrix = probs.values + probs.begin[i] + head * probs.head_size(i);
      for (int64_t query = 0; query < valid_queries[i]; ++query) {
        const float* row = matrix + query * probs.keys[i];
        sums_.first[head] += row[0];
        sums_.last[head] += row[valid_keys[i] - 1];
        for (const int64_t key : separators) sums_.separators[head] += row[key];
      }
    }
  }
}

AttentionMass AttentionSums::mean() const {
  AttentionMass mean = sums_;
  for (auto* sums : {&mean.first, &mean.last, &mean.separators}) {
    for (double& sum : *sums) sum /= static_cast<double>(queries_);
  }
  return mean;
}

}  // namespace quell
