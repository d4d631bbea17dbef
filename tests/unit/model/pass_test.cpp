#include "framework/model/pass.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <thread>

#include "framework/base/error.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::HasSubstr;

// Counts what it sees; its range is [0, number of batches].
class CountingObserver final : public Observer {
 public:
  explicit CountingObserver(int& batches) : batches_(batches) {}
  void observe(const at::Tensor&) override { ++batches_; }
  Range range() const override {
    return {at::full({1}, 0.0f), at::full({1}, static_cast<float>(batches_))};
  }
  void reset() override { batches_ = 0; }

 private:
  int& batches_;
};

// Adds the upper end of the range that it was given.
class AddingQuantizer final : public Quantizer {
 public:
  explicit AddingQuantizer(int& applied) : Quantizer(QuantSpec{}), applied_(applied) {}
  void init(const Range& range) override { parameters_.scale = range.max; }
  void set_parameters(const QuantParameters& parameters) override { parameters_ = parameters; }
  QuantParameters parameters() const override { return parameters_; }
  at::Tensor apply(const at::Tensor& rows, bool in_place) const override {
    ++applied_;
    at::Tensor result = in_place ? rows : rows.clone();
    return result.add_(parameters_.scale);
  }

 private:
  QuantParameters parameters_{at::full({1}, 100.0f), {}, {}};
  int& applied_;
};

class PassTest : public testing::Test {
 protected:
  PassTest() {
    for (const auto& [name, kind] :
         {std::pair{"rows", SiteKind::kActivation}, std::pair{"weight", SiteKind::kWeight},
          std::pair{"free", SiteKind::kActivation}}) {
      Site site;
      site.name = name;
      site.kind = kind;
      sites_.push_back(site);
    }
    points_.emplace(sites_);
    for (const SiteId id : {0, 1}) {
      auto point = std::make_unique<SitePoint>();
      point->observer = std::make_unique<CountingObserver>(observed_);
      point->quantizer = std::make_unique<AddingQuantizer>(applied_);
      point->calibrated = true;
      point_[id] = point.get();
      points_->set_point(id, std::move(point));
    }
  }

  float activation(SiteId id, const PassOptions& options = {}) {
    const Pass pass(*points_, options);
    return pass.activation(id, {at::ones({2, 2})}).values[0][0].item<float>();
  }
  // What a linear with this weight gives for the rows of the unit matrix: its weight.
  at::Tensor weight(const at::Tensor& weight, const PassOptions& options = {}) {
    const Linear linear{weight, {}, /*weight_site=*/1};
    return Pass(*points_, options).linear(linear, {at::eye(2)}).values.t();
  }
  PassOptions quantize(SiteKind kind) { return {.quantize = points_->calibrated(kind)}; }
  static SiteSet set_of(SiteId id) {
    SiteSet set;
    set.insert(id);
    return set;
  }

  std::vector<Site> sites_;
  std::optional<SitePoints> points_;
  SitePoint* point_[2];
  int observed_ = 0, applied_ = 0;
};

TEST_F(PassTest, NothingHappensByDefault) {
  EXPECT_EQ(activation(0), 1);
  EXPECT_EQ(activation(2), 1);
  EXPECT_EQ(activation(kNoSite), 1);
  EXPECT_EQ(weight(at::ones({2, 2}))[0][0].item<float>(), 1);
  EXPECT_EQ(observed_ + applied_, 0);
}

TEST_F(PassTest, ObservingAndQuantizingAreIndependent) {
  EXPECT_EQ(activation(0, {.observe = set_of(0)}), 1);
  EXPECT_EQ(observed_, 1);
  EXPECT_EQ(applied_, 0);
  EXPECT_EQ(activation(0, {.quantize = set_of(0)}), 101);
  EXPECT_EQ(observed_, 1);
}

// Each site estimates, then quantizes with what it knows by now.
TEST_F(PassTest, BothAtOnceQuantizeWithTheRangeSoFar) {
  const PassOptions both{.quantize = set_of(0), .observe = set_of(0)};
  EXPECT_EQ(activation(0, both), 2);
  EXPECT_EQ(activation(0, both), 3);
}

TEST_F(PassTest, SetsOfSitesAreOfOneKind) {
  EXPECT_TRUE(points_->calibrated(SiteKind::kActivation).contains(0));
  EXPECT_FALSE(points_->calibrated(SiteKind::kActivation).contains(1));
  EXPECT_FALSE(points_->calibrated(SiteKind::kWeight).contains(0));
  EXPECT_TRUE(points_->calibrated(SiteKind::kWeight).contains(1));
  EXPECT_FALSE(points_->calibrated(true, true).contains(2));  // not to be quantized
}

TEST_F(PassTest, APointWithoutParametersCannotQuantize) {
  point_[0]->calibrated = false;
  const auto message = message_of<Error>([&] { points_->calibrated(SiteKind::kActivation); });
  EXPECT_THAT(message, HasSubstr("activation:rows"));
  EXPECT_THAT(message, HasSubstr("calibrate"));
}

struct Joining final : Engine {
  bool joins() const override { return true; }
};

TEST_F(PassTest, JoinsOperationsWhereNothingHappensBetween) {
  const Joining engine;
  const auto joins = [&](PassOptions options) {
    const at::NoGradGuard no_gradients;
    options.engine = &engine;
    return Pass(*points_, std::move(options)).joins({0, 2, kNoSite});
  };
  EXPECT_TRUE(joins({}));
  EXPECT_TRUE(joins({.quantize = set_of(1)}));
  EXPECT_FALSE(joins({.quantize = set_of(0)}));
  EXPECT_FALSE(joins({.observe = set_of(0)}));
  EXPECT_FALSE(joins({.tap = [](SiteId, const at::Tensor&, const at::Tensor&) {}}));
  EXPECT_FALSE(joins({.inputs = [](const Operand&, const Rows&) {}}));
  const at::NoGradGuard no_gradients;
  EXPECT_FALSE(Pass(*points_).joins({}));
  const Engine libtorch;
  EXPECT_FALSE(Pass(*points_, {.engine = &libtorch}).joins({}));
  const at::AutoGradMode gradients(true);
  EXPECT_FALSE(Pass(*points_, {.engine = &engine}).joins({}));
}

TEST_F(PassTest, RowsKnowTheGridThatTheyLieOn) {
  const Pass plain(*points_), quantized(*points_, {.quantize = set_of(0)});
  EXPECT_EQ(plain.activation(0, {at::ones({2, 2})}).grid, nullptr);
  const Rows rows = quantized.activation(0, {at::ones({2, 2})});
  EXPECT_EQ(rows.grid, point_[0]);
  EXPECT_EQ(quantized.activation(2, rows).grid, point_[0]);  // nothing happens there
  const Linear linear{at::ones({2, 2}), {}, /*weight_site=*/1};
  EXPECT_EQ(quantized.linear(linear, rows).grid, nullptr);
}

TEST_F(PassTest, QuantizedWeightsAreKept) {
  const at::Tensor ones = at::ones({2, 2});
  const PassOptions options = quantize(SiteKind::kWeight);
  EXPECT_EQ(weight(ones, options)[0][0].item<float>(), 101);
  weight(ones, options);
  EXPECT_EQ(applied_, 1);
  EXPECT_EQ(ones[0][0].item<float>(), 1);
  points_->weight_changed(1);
  weight(ones, options);
  EXPECT_EQ(applied_, 2);
}

TEST_F(PassTest, QuantizedWeightsAreComputedOnceForAllThreads) {
  const at::Tensor ones = at::ones({2, 2});
  const Pass pass(*points_, quantize(SiteKind::kWeight));
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const at::NoGradGuard no_gradients;
      pass.linear({ones, {}, /*weight_site=*/1}, {at::eye(2)});
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(applied_, 1);
}

TEST_F(PassTest, LearnedWeightsAreNotKept) {
  const at::Tensor learned = at::ones({2, 2}).set_requires_grad(true);
  const PassOptions options = quantize(SiteKind::kWeight);
  EXPECT_TRUE(weight(learned, options).requires_grad());
  EXPECT_TRUE(weight(learned, options).requires_grad());
  EXPECT_EQ(applied_, 2);
  const at::NoGradGuard no_gradients;
  EXPECT_FALSE(weight(learned, options).requires_grad());
  weight(learned, options);
  EXPECT_EQ(applied_, 3);
}

TEST_F(PassTest, TapsSeeBothSides) {
  float before = 0, after = 0;
  int calls = 0;
  const PassOptions options{
      .quantize = set_of(0),
      .tap = [&](SiteId, const at::Tensor& rows, const at::Tensor& quantized) {
        ++calls;
        before = rows[0][0].item<float>();
        after = quantized[0][0].item<float>();
      }};
  activation(0, options);
  EXPECT_EQ(before, 1);
  EXPECT_EQ(after, 101);
  activation(2, options);
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(after, 1);
  activation(0, {.quantize = set_of(0)});
  EXPECT_EQ(calls, 2);
}

TEST_F(PassTest, InputsOfLinearsAreSeenWithTheirGrid) {
  const SitePoint* grid = nullptr;
  SiteId seen = kNoSite;
  const Pass pass(*points_,
                  {.quantize = set_of(0), .inputs = [&](const Operand& operand, const Rows& rows) {
                     seen = weight_site(operand);
                     grid = rows.grid;
                   }});
  pass.linear({at::ones({2, 2}), {}, /*weight_site=*/1}, pass.activation(0, {at::ones({2, 2})}));
  EXPECT_EQ(seen, 1);
  EXPECT_EQ(grid, point_[0]);
}

TEST_F(PassTest, RowsAreNeededByObserversAndByTheirOwnScales) {
  const auto needs_rows = [&](SiteId id, const PassOptions& options) {
    return Pass(*points_, options).needs_rows(id);
  };
  EXPECT_FALSE(needs_rows(0, {}));
  EXPECT_FALSE(needs_rows(2, {}));
  EXPECT_FALSE(needs_rows(kNoSite, {.observe = set_of(0)}));
  EXPECT_FALSE(needs_rows(0, {.quantize = set_of(0)}));  // one scale: elementwise
  point_[0]->spec.granularity = Granularity::kToken;
  EXPECT_TRUE(needs_rows(0, {.quantize = set_of(0)}));
  EXPECT_FALSE(needs_rows(0, {}));
  EXPECT_TRUE(needs_rows(0, {.observe = set_of(0)}));
}

}  // namespace
}  // namespace quell
