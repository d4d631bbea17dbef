#include "framework/outliers/hidden_states.h"

#include <ATen/core/grad_mode.h>
#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "framework/quant/device.h"

namespace quell {
namespace {

constexpr int kShift = 16;  // of the bits that are not counted by
constexpr uint32_t kMagnitude = 0x7fffffff;
constexpr size_t kBins = (kMagnitude >> kShift) + 1;

// Larger values first, earlier ones where they are equal.
bool comes_before(const LargeValue& a, const LargeValue& b) {
  const float left = std::abs(a.value), right = std::abs(b.value);
  if (left != right) return left > right;
  return a.row != b.row ? a.row < b.row : a.channel < b.channel;
}

// "decoder.11" -> 11.
int64_t layer_of(const std::string& segment) {
  const std::string last = segment.substr(segment.rfind('.') + 1);
  const bool is_number = !last.empty() && std::all_of(last.begin(), last.end(),
                                                      [](char c) { return '0' <= c && c <= '9'; });
  return is_number ? std::stoll(last) : -1;
}

void keep_largest(const at::Tensor& rows, int64_t first_row, std::vector<LargeValue>& largest) {
  constexpr auto most = static_cast<size_t>(kTopValues);
  const int64_t features = rows.size(1);
  const float* x = rows.const_data_ptr<float>();
  for (int64_t row = 0; row < rows.size(0); ++row, x += features) {
    for (int64_t channel = 0; channel < features; ++channel) {
      if (largest.size() == most && std::abs(x[channel]) <= std::abs(largest.back().value))
        continue;
      const LargeValue value{first_row + row, channel, x[channel]};
      largest.insert(std::upper_bound(largest.begin(), largest.end(), value, comes_before), value);
      if (largest.size() > most) largest.pop_back();
    }
  }
}

}  // namespace

void for_each_hidden_state(
    const Model& model, const Batch& batch, const Pass& pass,
    const std::function<void(size_t segment, const at::Tensor& rows)>& look) {
  const ModelInput input = model.bind(batch);
  State state;
  for (size_t i = 0; i < model.segments().size(); ++i) {
    model.segments()[i].run(state, input, pass);
    if (i + 1 == model.segments().size()) return;
    // A classifier's last layer may leave out what nobody asks for.
    const int64_t rows = state.rows.values.size(0);
    if (rows == batch.tokens() || rows == batch.target_tokens()) {
      look(i, on_host(state.rows.values, "hidden states"));
    }
  }
}

void MagnitudeCounts::add(const at::Tensor& values) {
  counts_.resize(kBins);
  const at::Tensor dense = values.contiguous();
  const float* x = dense.const_data_ptr<float>();
  for (int64_t i = 0; i < dense.numel(); ++i) {
    ++counts_[(std::bit_cast<uint32_t>(x[i]) & kMagnitude) >> kShift];
  }
}

double MagnitudeCounts::median() const {
  const int64_t all = std::accumulate(counts_.begin(), counts_.end(), int64_t{0});
  int64_t smaller = 0;
  for (size_t bin = 0; bin < counts_.size(); ++bin) {
    smaller += counts_[bin];
    if (2 * smaller < all || smaller == 0) continue;
    const auto edge = [](size_t at) {
      return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(at) << kShift));
    };
    return (edge(bin) + edge(bin + 1)) / 2;
  }
  return 0;
}

HiddenStates::HiddenStates(const Model& model) {
  for (const Segment& segment : model.segments()) {
    Seen& seen = seen_.emplace_back();
    seen.summary.segment = segment.name;
    seen.summary.layer = layer_of(segment.name);
  }
}

void HiddenStates::add(size_t segment, const at::Tensor& rows) {
  Seen& seen = seen_[segment];
  const at::Tensor dense = rows.contiguous();
  seen.magnitudes.add(dense);
  keep_largest(dense, seen.summary.row_count, seen.summary.largest);
  seen.summary.row_count += rows.size(0);
}

std::vector<HiddenStateSummary> HiddenStates::summaries() const {
  std::vector<HiddenStateSummary> found;
  for (const Seen& seen : seen_) {
    if (seen.summary.row_count == 0) continue;
    found.push_back(seen.summary);
    found.back().median = seen.magnitudes.median();
  }
  return found;
}

std::vector<HiddenStateSummary> hidden_states(const Model& model, std::span<const Batch> batches,
                                              Log& log) {
  const at::NoGradGuard no_gradients;
  const bool has_encoder = std::any_of(model.segments().begin(), model.segments().end(),
                                       [](const Segment& segment) { return segment.is_encoder; });
  if (has_encoder) return {};
  HiddenStates states(model);
  const SitePoints points(model.sites());
  // Who looks at sites sees all rows, also those of a last layer that a classifier leaves out.
  const Pass pass(points, {.tap = [](SiteId, const at::Tensor&, const at::Tensor&) {}});
  int64_t done = 0;
  for (const Batch& batch : batches) {
    for_each_hidden_state(model, batch, pass, [&](size_t segment, const at::Tensor& rows) {
      states.add(segment, rows);
    });
    log.progress("hidden states", ++done, std::ssize(batches));
  }
  return states.summaries();
}

}  // namespace quell
