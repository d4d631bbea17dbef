// What runs side by side: every piece once, on its caller's terms.
#include "framework/quant/parallel.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "framework/base/error.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

class Parallel : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    before_ = at::get_num_threads();
    at::set_num_threads(GetParam());
  }
  void TearDown() override { at::set_num_threads(before_); }

 private:
  int before_ = 1;
};

TEST_P(Parallel, EveryPieceOnce) {
  for (const int64_t count : {0, 1, 2, 7, 1000}) {
    std::vector<std::atomic<int>> seen(static_cast<size_t>(count));
    for_each_dynamically(count, [&](int64_t i) { ++seen[static_cast<size_t>(i)]; });
    for (const auto& times : seen) EXPECT_EQ(times.load(), 1);
  }
}

TEST_P(Parallel, PiecesRunSideBySide) {
  if (GetParam() == 1) GTEST_SKIP() << "one thread";
  // Each of two pieces waits until the other one has begun.
  std::atomic<int> begun = 0;
  for_each_dynamically(2, [&](int64_t) {
    ++begun;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (begun < 2 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    EXPECT_EQ(begun.load(), 2);
  });
}

TEST_P(Parallel, AnErrorReachesTheCaller) {
  std::atomic<int> finished = 0;
  EXPECT_EQ(message_of<Error>([&] {
              for_each_dynamically(100, [&](int64_t i) {
                if (i == 40) throw Error("piece 40");
                ++finished;
              });
            }),
            "piece 40");
  EXPECT_LT(finished.load(), 100);
  // And the next call works as before.
  std::atomic<int> after = 0;
  for_each_dynamically(10, [&](int64_t) { ++after; });
  EXPECT_EQ(after.load(), 10);
}

TEST_P(Parallel, GradientsAreRecordedIfTheCallerDoes) {
  for (const bool recording : {false, true}) {
    const at::AutoGradMode mode(recording);
    for_each_dynamically(20, [&](int64_t) { EXPECT_EQ(at::GradMode::is_enabled(), recording); });
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, Parallel, testing::Values(1, 2, 4));

}  // namespace
}  // namespace quell
