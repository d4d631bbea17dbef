// Which sites and batches `calibrate` looks at.
#include "framework/solve/calibration.h"

#include <gmock/gmock.h>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "framework/base/error.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::HasSubstr;

std::filesystem::path tiny_model() { return test_data() / "parity/outlier_suppression"; }

std::vector<Batch> batches() {
  return read_batches(tiny_model() / "inputs.safetensors",
                      {"b0.input_ids", "b1.input_ids", "b2.input_ids"});
}

QuantizedNetwork network(const std::string& observer, const std::string& during = "observe") {
  return QuantizedNetwork(
      tiny_model(), fmt::format("{{include: placements/qualcomm.yaml, rules: [{{sites: "
                                "['weight:*', 'activation:*'], bits: 8, during_calibration: {}}}, "
                                "{{sites: 'activation:*', observer: {}}}]}}",
                                during, observer));
}

// Looked at one by one, all of the batches.
Range range_by_hand(const std::string& site) {
  QuantizedNetwork by_hand = network("current_minmax");
  Range last;
  for (const Batch& batch : batches()) {
    by_hand.logits(batch, false, false,
                   [&](SiteId id, const at::Tensor& before, const at::Tensor&) {
                     if (id == by_hand.site(site)) last = min_max(before, QuantSpec{});
                   });
  }
  return last;
}

TEST(Calibration, TheLastBatchDecidesWhereObserversSaySo) {
  const std::string site = "activation:encoder.1.ffn.residual";
  QuantizedNetwork observed = network("current_minmax");
  observed.calibrate(batches());
  const Range expected = range_by_hand(site), found = observed.point(site).range;
  EXPECT_TRUE(equal_bits(found.min, expected.min));
  EXPECT_TRUE(equal_bits(found.max, expected.max));
  // Where sites quantize meanwhile, too; and one that remembers makes all batches count.
  const std::vector<Batch> last = {batches().back()};
  for (const auto& [observer, same] : {std::pair("current_minmax", true), {"minmax", false}}) {
    QuantizedNetwork all = network(observer, "observe_and_quantize"),
                     alone = network(observer, "observe_and_quantize");
    all.calibrate(batches());
    alone.calibrate(last);
    EXPECT_EQ(equal_bits(all.logits(last[0], true, true), alone.logits(last[0], true, true)), same)
        << observer;
  }
}

TEST(Calibration, SomeSites) {
  QuantizedNetwork once = network("minmax", "observe_and_quantize"),
                   apart = network("minmax", "observe_and_quantize");
  once.calibrate(batches());
  apart.calibrate(batches(), "{sites: 'weight:*'}");
  EXPECT_TRUE(apart.point("weight:encoder.0.ffn.output").calibrated);
  EXPECT_FALSE(apart.point("activation:encoder.0.ffn.output").calibrated);
  apart.calibrate(batches(), "{sites: 'activation:*'}");
  EXPECT_TRUE(
      equal_bits(apart.logits(batches()[0], true, true), once.logits(batches()[0], true, true)));
  EXPECT_THAT(message_of<ConfigError>([&] { apart.calibrate(batches(), "{sites: 'weigth:*'}"); }),
              HasSubstr("none of the quantized sites is among `sites: [weigth:*]`"));
}

// Learned rounding stays where its site is not chosen.
TEST(Calibration, LeavesRoundingAlone) {
  QuantizedNetwork rounded(tiny_model(),
                           "{include: placements/qualcomm.yaml, rules: [{sites: ['weight:*', "
                           "'activation:*'], bits: 4}, {sites: 'weight:*', quantizer: adaround}]}");
  rounded.calibrate(batches(), "{sites: 'weight:*'}");
  const std::string key = "weight:encoder.0.ffn.output";
  Quantizer& quantizer = *rounded.point(key).quantizer;
  const at::Tensor upper = at::ones(rounded.model().weight_shape(rounded.site(key)), at::kByte);
  quantizer.set_rounding(upper);
  rounded.calibrate(batches(), "{sites: 'activation:*'}");
  EXPECT_TRUE(at::equal(quantizer.state().at("rounding"), upper));
}

}  // namespace
}  // namespace quell
