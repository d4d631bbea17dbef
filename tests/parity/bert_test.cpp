// BERT is a function of the sequence alone: not of the batch it is in, of the order, of padding or
// of the number of threads.
#include <gtest/gtest.h>

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/ones.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "framework/base/file.h"
#include "framework/io/safetensors.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"
#include "tests/support/temporary_folder.h"

namespace quell {
namespace {

std::filesystem::path golden(const std::string& name) {
  return test_data() / "parity/outlier_suppression" / name;
}

// All 40 golden sequences in their order.
std::vector<TokenSequence> sequences() {
  std::vector<TokenSequence> result;
  for (int batch = 0; batch < 5; ++batch) {
    const Batch packed =
        read_batches(golden("inputs.safetensors"), {fmt::format("b{}.input_ids", batch)})[0];
    const int64_t* ids = packed.token_ids.const_data_ptr<int64_t>();
    const int64_t* types = packed.segment_ids.const_data_ptr<int64_t>();
    for (int64_t i = 0; i < packed.sequences(); ++i) {
      const int64_t begin = packed.offsets[i], end = packed.offsets[i + 1];
      result.push_back({{ids + begin, ids + end}, {types + begin, types + end}});
    }
  }
  return result;
}

at::Tensor golden_logits() {
  return SafetensorsFile(golden("logits.safetensors")).read("fp.logits").view({-1, 3});
}

class BertParity : public testing::Test {
 protected:
  // Logits of the sequences at `order`, in batches of `batch_size`, put back into their places.
  at::Tensor logits(const std::vector<size_t>& order, size_t batch_size, int64_t padding = 0) {
    at::Tensor result = at::empty({static_cast<int64_t>(order.size()), 3});
    for (size_t begin = 0; begin < order.size(); begin += batch_size) {
      std::vector<TokenSequence> part;
      const size_t end = std::min(begin + batch_size, order.size());
      for (size_t i = begin; i < end; ++i) part.push_back(sequences_[order[i]]);
      const at::Tensor found = network_.logits(pack(part, padding), false, false);
      for (size_t i = begin; i < end; ++i) {
        result[static_cast<int64_t>(order[i])].copy_(found[static_cast<int64_t>(i - begin)]);
      }
    }
    return result;
  }

  static std::vector<size_t> in_order() {
    std::vector<size_t> order(40);
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    return order;
  }

  QuantizedNetwork network_{golden(""), "{rules: []}"};
  std::vector<TokenSequence> sequences_ = sequences();
  at::Tensor expected_ = golden_logits();
  double tolerance_ = float_tolerance(expected_);
};

TEST_F(BertParity, AnyBatchSize) {
  for (const size_t size : {1, 2, 3, 7, 8, 16, 40}) {
    EXPECT_LE(max_difference(logits(in_order(), size), expected_), tolerance_) << size;
  }
}

TEST_F(BertParity, AnyOrder) {
  std::vector<size_t> order = in_order();
  std::reverse(order.begin(), order.end());
  EXPECT_LE(max_difference(logits(order, 8), expected_), tolerance_);
  for (size_t i = 0; i < order.size(); ++i) order[i] = i * 17 % 40;  // 17 and 40 share no factor
  EXPECT_LE(max_difference(logits(order, 5), expected_), tolerance_);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return sequences_[a].ids.size() > sequences_[b].ids.size();
  });
  EXPECT_LE(max_difference(logits(order, 8), expected_), tolerance_);
}

TEST_F(BertParity, PaddingIsMaskedWhereItIsKept) {
  for (const int64_t padding : {25, 32, 40}) {
    EXPECT_LE(max_difference(logits(in_order(), 8, padding), expected_), tolerance_) << padding;
  }
}

TEST_F(BertParity, OneThreadOrTwo) {
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = logits(in_order(), 8);
  at::set_num_threads(2);
  const at::Tensor two = logits(in_order(), 8);
  at::set_num_threads(before);
  EXPECT_LE(max_difference(one, expected_), tolerance_);
  EXPECT_LE(max_difference(two, one), tolerance_);
}

// A BERT with the depth of BERT-base and nothing else of it.
std::filesystem::path write_deep_model(const TemporaryFolder& folder) {
  const int64_t layers = 12, hidden = 4;
  nlohmann::json config = {{"model_type", "bert"},
                           {"vocab_size", 5},
                           {"hidden_size", hidden},
                           {"num_hidden_layers", layers},
                           {"num_attention_heads", 2},
                           {"intermediate_size", hidden},
                           {"max_position_embeddings", 8},
                           {"type_vocab_size", 2},
                           {"layer_norm_eps", 1e-12},
                           {"hidden_act", "gelu"},
                           {"pad_token_id", 0},
                           {"num_labels", 2},
                           {"id2label", {{"0", "a"}, {"1", "b"}}}};
  folder.write("config.json", config.dump());
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    tensors.emplace_back(name, at::ones(shape));
  };
  const auto add_pair = [&](const std::string& module, std::vector<int64_t> shape) {
    add(module + ".weight", shape);
    add(module + ".bias", {shape[0]});
  };
  const std::string embeddings = "bert.embeddings.";
  add(embeddings + "word_embeddings.weight", {5, hidden});
  add(embeddings + "position_embeddings.weight", {8, hidden});
  add(embeddings + "token_type_embeddings.weight", {2, hidden});
  add_pair(embeddings + "LayerNorm", {hidden});
  for (int64_t layer = 0; layer < layers; ++layer) {
    const std::string prefix = fmt::format("bert.encoder.layer.{}.", layer);
    for (const char* linear : {"attention.self.query", "attention.self.key", "attention.self.value",
                               "attention.output.dense", "intermediate.dense", "output.dense"}) {
      add_pair(prefix + linear, {hidden, hidden});
    }
    add_pair(prefix + "attention.output.LayerNorm", {hidden});
    add_pair(prefix + "output.LayerNorm", {hidden});
  }
  add_pair("bert.pooler.dense", {hidden, hidden});
  add_pair("classifier", {2, hidden});
  write_safetensors(folder / "model.safetensors", tensors);
  return folder.path();
}

TEST(BertPlacements, CountsOfTheDepthOfBertBase) {
  struct Expected {
    const char* placement;
    int activations, weights;
  };
  const TemporaryFolder folder;
  const auto model = write_deep_model(folder);
  for (const Expected& expected :
       {Expected{"outlier_suppression", 98, 77}, Expected{"outlier_suppression_tensorrt", 122, 77},
        Expected{"qualcomm", 161, 102}}) {
    QuantizedNetwork network(model, fmt::format("{{include: placements/{}.yaml, rules: [{{sites: "
                                                "['weight:*', 'activation:*'], bits: 8}}]}}",
                                                expected.placement));
    int counts[2] = {0, 0};
    for (size_t id = 0; id < network.plan().size(); ++id) {
      const bool weight = network.model().sites()[id].kind == SiteKind::kWeight;
      counts[weight] += network.plan()[id].quantize;
    }
    EXPECT_EQ(counts[0], expected.activations) << expected.placement;
    EXPECT_EQ(counts[1], expected.weights) << expected.placement;
  }
}

}  // namespace
}  // namespace quell
