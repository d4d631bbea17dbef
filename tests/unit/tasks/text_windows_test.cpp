// Three ways to cut a text, against windows and sums that NumPy computed, and against their laws.
#include "tasks/data/text_windows.h"

#include <ATen/Parallel.h>
#include <ATen/ops/add.h>
#include <ATen/ops/log_softmax.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <cmath>
#include <numeric>

#include "framework/io/safetensors.h"
#include "framework/json/json.h"
#include "support.h"

namespace quell {
namespace {

using nlohmann::json;
using testing::ElementsAre;

// A model whose logits at position t of a window that begins at b are base[t] + add[t - b].
class WindowGolden : public testing::Test {
 protected:
  std::filesystem::path folder_ = source_folder() / "tests/data/language/perplexity";
  SafetensorsFile file_{folder_ / "perplexity.safetensors"};
  at::Tensor base_ = file_.read("base"), add_ = file_.read("add");
  at::Tensor tokens_ = file_.read("ids").to(at::kLong).contiguous();
  std::span<const int64_t> ids_{tokens_.const_data_ptr<int64_t>(),
                                static_cast<size_t>(tokens_.numel())};

  // Of a window that begins at `begin`.
  double nll(const ScoredSequence& window, int64_t begin) const {
    const int64_t first = window.first_target - 1, count = window.targets();
    const at::Tensor logits =
        at::add(base_.narrow(0, begin + first, count), add_.narrow(0, first, count));
    const at::Tensor all = at::log_softmax(logits.to(at::kDouble), 1);
    const double* values = all.const_data_ptr<double>();
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) {
      sum -= values[i * all.size(1) + window.ids[window.first_target + i]];
    }
    return sum;
  }
};

TEST_F(WindowGolden, EveryWindowAndSumIsThatOfNumpy) {
  at::set_num_threads(1);  // windows are small, and tests run beside each other
  const json golden = read_json_file(folder_ / "perplexity.json");
  // float32 logits are the same; sums in double may differ in their order.
  constexpr double kTolerance = 1e-9;
  int strided = 0, disjoint = 0;
  for (const json& expected : golden["expected"]) {
    SCOPED_TRACE(expected["policy"]);
    const int64_t length = expected["window"], stride = expected["stride"];
    const bool published = expected.contains("gptq_style");
    const auto windows =
        published ? disjoint_windows(ids_, length) : strided_windows(ids_, length, stride);
    (published ? disjoint : strided) += 1;
    double sum = 0;
    int64_t count = 0;
    for (size_t i = 0; i < windows.size(); ++i) {
      const auto begin = static_cast<int64_t>(i) * stride;
      const double found = nll(windows[i], begin);
      sum += found;
      count += windows[i].targets();
      if (!expected.contains("windows") || i >= expected["windows"].size()) continue;
      // begin, end, first target, sum, targets
      const json& one = expected["windows"][i];
      EXPECT_EQ(begin, one[0]);
      EXPECT_EQ(begin + std::ssize(windows[i].ids), one[1]);
      EXPECT_EQ(begin + windows[i].first_target, one[2]);
      EXPECT_NEAR(found, one[3].get<double>(), kTolerance * one[3].get<double>());
      EXPECT_EQ(windows[i].targets(), one[4]);
    }
    EXPECT_EQ(count, expected["count"]);
    EXPECT_NEAR(sum, expected["nll_sum"].get<double>(), kTolerance * sum);
    const double perplexity = std::exp(sum / static_cast<double>(count));
    EXPECT_NEAR(perplexity, expected["ppl"].get<double>(), kTolerance * perplexity * 10);
  }
  EXPECT_EQ(strided, 6);
  EXPECT_EQ(disjoint, 3);
}

std::vector<int64_t> counted(int64_t tokens) {
  std::vector<int64_t> ids(tokens);
  std::iota(ids.begin(), ids.end(), int64_t{0});
  return ids;
}

TEST(RollingWindows, PredictEveryTokenOnceWithAsMuchContextAsFits) {
  constexpr int64_t kPrefix = 1000;
  for (const int64_t tokens : {1, 2, 7, 8, 9, 15, 16, 17, 40}) {
    for (const int64_t length : {1, 2, 8}) {
      SCOPED_TRACE(testing::Message() << tokens << " tokens, inputs of " << length);
      const auto windows = rolling_windows(counted(tokens), length, kPrefix);
      int64_t next = 0;
      for (size_t i = 0; i < windows.size(); ++i) {
        const ScoredSequence& window = windows[i];
        EXPECT_EQ(window.ids.front() == kPrefix, i == 0);
        EXPECT_EQ(std::ssize(window.ids), std::min(length, tokens) + 1);
        EXPECT_EQ(window.first_target == 1, i == 0 || window.targets() == length);
        for (int64_t t = window.first_target; t < std::ssize(window.ids); ++t) {
          EXPECT_EQ(window.ids[t], next++);
        }
      }
      EXPECT_EQ(next, tokens);
    }
  }
  EXPECT_TRUE(rolling_windows({}, 8, kPrefix).empty());
}

TEST(DisjointWindows, DropWhatIsLeftAndMayBeginWithAToken) {
  const auto plain = disjoint_windows(counted(11), 4);
  ASSERT_EQ(plain.size(), 2u);
  EXPECT_THAT(plain[1].ids, ElementsAre(4, 5, 6, 7));
  EXPECT_EQ(plain[1].first_target, 1);
  const auto started = disjoint_windows(counted(11), 4, 99);
  ASSERT_EQ(started.size(), 3u);
  EXPECT_THAT(started[2].ids, ElementsAre(99, 6, 7, 8));
  EXPECT_EQ(started[2].targets(), 3);
  EXPECT_TRUE(disjoint_windows(counted(3), 4).empty());
}

}  // namespace
}  // namespace quell
