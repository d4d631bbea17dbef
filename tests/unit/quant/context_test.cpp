#include "framework/quant/context.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>

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
  explicit AddingQuantizer(int& applied) : applied_(applied) {}
  void init(const Range& range) override { parameters_.scale = range.max; }
  void set_parameters(const QuantParameters& parameters) override { parameters_ = parameters; }
  QuantParameters parameters() const override { return parameters_; }
  at::Tensor apply(const at::Tensor& rows, bool in_place) override {
    ++applied_;
    at::Tensor result = in_place ? rows : rows.clone();
    return result.add_(parameters_.scale);
  }

 private:
  QuantParameters parameters_{at::full({1}, 100.0f), {}, {}};
  int& applied_;
};

class ContextTest : public testing::Test {
 protected:
  ContextTest() {
    for (const auto& [name, kind] :
         {std::pair{"rows", SiteKind::kActivation}, std::pair{"weight", SiteKind::kWeight},
          std::pair{"free", SiteKind::kActivation}}) {
      Site site;
      site.name = name;
      site.kind = kind;
      sites_.push_back(site);
    }
    context_.emplace(sites_);
    for (const SiteId id : {0, 1}) {
      auto point = std::make_unique<QuantPoint>();
      point->observer = std::make_unique<CountingObserver>(observed_);
      point->quantizer = std::make_unique<AddingQuantizer>(applied_);
      point->calibrated = true;
      point_[id] = point.get();
      context_->set_point(id, std::move(point));
    }
  }

  float activation(SiteId id) {
    return context_->activation(id, at::ones({2, 2}))[0][0].item<float>();
  }

  std::vector<Site> sites_;
  std::optional<QuantContext> context_;
  QuantPoint* point_[2];
  int observed_ = 0, applied_ = 0;
};

TEST_F(ContextTest, NothingHappensByDefault) {
  EXPECT_EQ(activation(0), 1);
  EXPECT_EQ(activation(2), 1);
  const at::Tensor weight = at::ones({2, 2});
  EXPECT_TRUE(context_->weight(1, weight).is_same(weight));
  EXPECT_FALSE(context_->active(0));
  EXPECT_EQ(observed_ + applied_, 0);
}

TEST_F(ContextTest, ObservingAndQuantizingAreIndependent) {
  point_[0]->observe = true;
  EXPECT_EQ(activation(0), 1);
  EXPECT_EQ(observed_, 1);
  EXPECT_EQ(applied_, 0);
  point_[0]->observe = false;
  point_[0]->quantize = true;
  EXPECT_EQ(activation(0), 101);
  EXPECT_EQ(observed_, 1);
}

// Each site estimates, then quantizes with what it knows by now.
TEST_F(ContextTest, BothAtOnceQuantizeWithTheRangeSoFar) {
  point_[0]->observe = point_[0]->quantize = true;
  EXPECT_EQ(activation(0), 2);
  EXPECT_EQ(activation(0), 3);
}

TEST_F(ContextTest, SwitchesAreForOneKind) {
  context_->set_quantize(SiteKind::kActivation, true);
  EXPECT_TRUE(point_[0]->quantize);
  EXPECT_FALSE(point_[1]->quantize);
  context_->set_observe(SiteKind::kWeight, true);
  EXPECT_FALSE(point_[0]->observe);
  EXPECT_TRUE(point_[1]->observe);
}

TEST_F(ContextTest, APointWithoutParametersCannotBeSwitchedOn) {
  point_[0]->calibrated = false;
  const auto message =
      message_of<Error>([&] { context_->set_quantize(SiteKind::kActivation, true); });
  EXPECT_THAT(message, HasSubstr("activation:rows"));
  EXPECT_THAT(message, HasSubstr("calibrate"));
}

TEST_F(ContextTest, QuantizedWeightsAreKept) {
  const at::Tensor weight = at::ones({2, 2});
  context_->set_quantize(SiteKind::kWeight, true);
  EXPECT_EQ(context_->weight(1, weight)[0][0].item<float>(), 101);
  context_->weight(1, weight);
  EXPECT_EQ(applied_, 1);
  EXPECT_EQ(weight[0][0].item<float>(), 1);
  context_->weight_changed(1);
  context_->weight(1, weight);
  EXPECT_EQ(applied_, 2);
}

TEST_F(ContextTest, LearnedWeightsAreNotKept) {
  const at::Tensor weight = at::ones({2, 2}).set_requires_grad(true);
  context_->set_quantize(SiteKind::kWeight, true);
  EXPECT_TRUE(context_->weight(1, weight).requires_grad());
  EXPECT_TRUE(context_->weight(1, weight).requires_grad());
  EXPECT_EQ(applied_, 2);
  const at::NoGradGuard no_gradients;
  EXPECT_FALSE(context_->weight(1, weight).requires_grad());
  context_->weight(1, weight);
  EXPECT_EQ(applied_, 3);
}

TEST_F(ContextTest, TapsSeeBothSides) {
  float before = 0, after = 0;
  int calls = 0;
  context_->set_tap([&](SiteId, const at::Tensor& rows, const at::Tensor& quantized) {
    ++calls;
    before = rows[0][0].item<float>();
    after = quantized[0][0].item<float>();
  });
  point_[0]->quantize = true;
  activation(0);
  EXPECT_EQ(before, 1);
  EXPECT_EQ(after, 101);
  activation(2);
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(after, 1);
  context_->set_tap({});
  activation(0);
  EXPECT_EQ(calls, 2);
}

TEST_F(ContextTest, RowsAreNeededByObserversAndByTheirOwnScales) {
  EXPECT_FALSE(context_->needs_rows(0));
  EXPECT_FALSE(context_->needs_rows(2));
  point_[0]->quantize = true;
  EXPECT_FALSE(context_->needs_rows(0));  // one scale: elementwise
  point_[0]->spec.granularity = Granularity::kToken;
  EXPECT_TRUE(context_->needs_rows(0));
  point_[0]->quantize = false;
  EXPECT_FALSE(context_->needs_rows(0));
  point_[0]->observe = true;
  EXPECT_TRUE(context_->needs_rows(0));
}

TEST_F(ContextTest, DynamicSitesAreNeverObserved) {
  point_[0]->spec.granularity = Granularity::kToken;
  context_->set_observe(SiteKind::kActivation, true);
  EXPECT_FALSE(point_[0]->observe);
}

}  // namespace
}  // namespace quell
