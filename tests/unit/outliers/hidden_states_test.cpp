// What segments hand on, against brute force.
#include "framework/outliers/hidden_states.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <algorithm>
#include <cmath>
#include <map>

#include "tests/support/engine.h"

namespace quell {
namespace {

TEST(MagnitudeCounts, MedianIsThatOfTheSortedMagnitudes) {
  for (const double size : {1e-30, 1e-3, 1.0, 3e4}) {
    MagnitudeCounts counts;
    std::vector<float> magnitudes;
    for (int part = 0; part < 3; ++part) {
      const at::Tensor values = at::randn({40, 25}).mul(size);
      counts.add(values);
      const at::Tensor sizes = values.abs();
      const float* all = sizes.const_data_ptr<float>();
      magnitudes.insert(magnitudes.end(), all, all + sizes.numel());
    }
    std::sort(magnitudes.begin(), magnitudes.end());
    const double median = magnitudes[magnitudes.size() / 2 - 1];
    // The middle of a bin of 2^-7 of its octave.
    EXPECT_NEAR(counts.median() / median, 1, 1.0 / 256);
  }
  MagnitudeCounts none, zeros;
  EXPECT_EQ(none.median(), 0);
  zeros.add(at::zeros({4, 4}));
  EXPECT_LT(zeros.median(), 1e-38);
}

class HiddenStatesTest : public testing::Test {
 protected:
  const at::NoGradGuard no_gradients_;
  const std::filesystem::path folder_ = test_data() / "parity/outlier_suppression";
  QuantizedNetwork network_{folder_, "{rules: []}"};
  std::vector<Batch> batches_ =
      read_batches(folder_ / "inputs.safetensors", {"b0.input_ids", "b1.input_ids"});
};

// Norms stand behind sums: the rows that a layer hands on are those of its last norm.
TEST_F(HiddenStatesTest, RowsAreThoseOfTheLastNorm) {
  std::map<std::string, at::Tensor> norms;
  const std::vector<Site>& sites = network_.model().sites();
  const Pass pass = network_.pass(false, false, [&](SiteId id, const auto&, const auto& after) {
    norms[sites[static_cast<size_t>(id)].name] = after.clone();
  });
  int64_t layers = 0;
  for_each_hidden_state(network_.model(), batches_[0], pass,
                        [&](size_t segment, const at::Tensor& rows) {
                          const std::string& name = network_.model().segments()[segment].name;
                          if (!name.starts_with("encoder.")) return;
                          ++layers;
                          EXPECT_TRUE(rows.equal(norms.at(name + ".ffn.norm"))) << name;
                        });
  EXPECT_EQ(layers, 3);
}

TEST_F(HiddenStatesTest, ListsTheLargestValues) {
  std::map<size_t, std::vector<at::Tensor>> seen;
  const Pass pass = network_.pass(false, false, [](SiteId, const auto&, const auto&) {});
  for (const Batch& batch : batches_) {
    for_each_hidden_state(network_.model(), batch, pass, [&](size_t segment, const auto& rows) {
      seen[segment].push_back(rows.clone());
    });
  }
  Log log(Verbosity::kQuiet);
  const std::vector<HiddenStateSummary> found = hidden_states(network_.model(), batches_, log);
  ASSERT_EQ(found.size(), seen.size());
  for (const auto& [segment, parts] : seen) {
    const HiddenStateSummary& state = found[segment];
    EXPECT_EQ(state.segment, network_.model().segments()[segment].name);
    EXPECT_EQ(state.layer, static_cast<int64_t>(segment) - 1);
    const at::Tensor all = at::cat(parts);
    EXPECT_EQ(state.row_count, all.size(0));
    // The middle of a bin of 2^-7 of its octave, beside that of two values in the middle.
    EXPECT_NEAR(state.median / all.abs().median().item<double>(), 1, 1.0 / 256 + 1e-3);
    const auto order = std::get<1>(all.abs().view({-1}).sort(/*stable=*/true, 0, true));
    ASSERT_EQ(std::ssize(state.largest), kTopValues);
    for (int64_t i = 0; i < kTopValues; ++i) {
      const int64_t place = order[i].item<int64_t>();
      const LargeValue& value = state.largest[static_cast<size_t>(i)];
      EXPECT_EQ(value.row, place / all.size(1));
      EXPECT_EQ(value.channel, place % all.size(1));
      EXPECT_EQ(value.value, all[value.row][value.channel].item<float>());
    }
  }
}

}  // namespace
}  // namespace quell
