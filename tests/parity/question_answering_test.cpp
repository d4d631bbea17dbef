// BERT for question answering as the published code of Outlier Suppression quantizes it.
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "framework/io/safetensors.h"
#include "framework/json/json.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

using nlohmann::json;

std::filesystem::path golden(const std::string& name) {
  return test_data() / "parity/outlier_suppression_qa" / name;
}

std::string quant(int bits, const std::string& backend = "academic") {
  return fmt::format(
      "{{include: placements/outlier_suppression_qa{1}.yaml, rules: ["
      "{{sites: 'weight:*', bits: {0}, symmetric: true, granularity: channel}},"
      "{{sites: 'activation:*', bits: {0}, symmetric: false, observer: avg_minmax}}]}}",
      bits, backend == "tensorrt" ? "_tensorrt" : "");
}

std::vector<Batch> golden_batches(int count) {
  std::vector<std::string> keys;
  for (int i = 0; i < count; ++i) keys.push_back(fmt::format("b{}.input_ids", i));
  return read_batches(golden("inputs.safetensors"), keys);
}

// The largest difference of each sequence's scores to those of the published code, which has them
// padded: [batches, start and end, sequences, length].
std::vector<double> differences(QuantizedNetwork& network, const at::Tensor& expected,
                                bool quantized) {
  const at::NoGradGuard no_gradients;
  const Pass pass = network.pass(quantized, quantized);
  std::vector<double> result;
  const std::vector<Batch> batches = golden_batches(5);
  for (size_t i = 0; i < batches.size(); ++i) {
    const Outputs outputs = network.model().forward(batches[i], pass);
    for (int64_t sequence = 0; sequence < batches[i].sequences(); ++sequence) {
      double largest = 0;
      for (const auto& [name, part] : {std::pair("start_logits", 0), std::pair("end_logits", 1)}) {
        const int64_t length = batches[i].length(sequence);
        const at::Tensor found = outputs.at(name).narrow(0, batches[i].offsets[sequence], length);
        const at::Tensor golden =
            expected[static_cast<int64_t>(i)][part][sequence].narrow(0, 0, length);
        largest = std::max(largest, max_difference(found, golden));
      }
      result.push_back(largest);
    }
  }
  return result;
}

at::Tensor golden_logits(const std::string& name) {
  return SafetensorsFile(golden("logits.safetensors")).read(name);
}

TEST(QuestionAnswering, FloatLogits) {
  QuantizedNetwork network(golden(""), quant(8));
  const at::Tensor expected = golden_logits("fp.logits");
  const auto found = differences(network, expected, false);
  EXPECT_EQ(found.size(), 40u);
  EXPECT_LE(*std::max_element(found.begin(), found.end()), float_tolerance(expected));
}

TEST(QuestionAnswering, PlacementNamesExactlyTheNodesOfTheCode) {
  for (const std::string backend : {"academic", "tensorrt"}) {
    QuantizedNetwork network(golden(""), quant(8, backend));
    auto expected = read_json_file(golden("nodes.json"))[backend].get<std::vector<std::string>>();
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(network.quantized_names("outlier_suppression"), expected) << backend;
  }
}

TEST(QuestionAnswering, GammaMigrationMovesScoresAsPublished) {
  const std::pair<const char*, const char*> cases[] = {{"{}", "gm.logits_model_eps"},
                                                       {"{epsilon: 1.0e-5}", "gm.logits_eps1e-5"}};
  for (const auto& [params, name] : cases) {
    QuantizedNetwork network(golden(""), quant(8));
    network.transform("gamma_migration", params);
    const at::Tensor expected = golden_logits(name);
    const auto found = differences(network, expected, false);
    EXPECT_LE(*std::max_element(found.begin(), found.end()), float_tolerance(expected)) << name;
  }
}

TEST(QuestionAnswering, RangesAndLogitsOfMinMax) {
  const json ptq = read_json_file(golden("ptq.json"));
  const std::pair<int, std::string> cases[] = {
      {8, "academic"}, {6, "academic"}, {4, "academic"}, {6, "tensorrt"}};
  for (const auto& [bits, backend] : cases) {
    QuantizedNetwork network(golden(""), quant(bits, backend));
    network.calibrate(golden_batches(4));
    const std::string method =
        fmt::format("minmax{}/b{}", backend == "tensorrt" ? "_tensorrt" : "", bits);
    for (const auto& [name, row] : ptq[method]["final"].items()) {
      // Ranges come out of the float network, so they inherit the order of its sums.
      const double scale = row[0];
      EXPECT_NEAR(network.point(name).quantizer->parameters().scale.item<double>(), scale,
                  1e-5 * scale)
          << name;
    }
    const auto found = differences(network, golden_logits(method + "/logits"), true);
    // One flipped rounding moves a sequence by about 1e-2; all others agree in float32.
    EXPECT_GE(share_within(found, 1e-4), 0.9) << method;
  }
}

}  // namespace
}  // namespace quell
