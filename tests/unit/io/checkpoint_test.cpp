#include "framework/io/checkpoint.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <cmath>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/io/safetensors.h"
#include "tests/support/paths.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

const std::vector<ExpectedTensor> kExpected = {{"bert.word.weight", {4, 2}},
                                               {"bert.LayerNorm.weight", {2}},
                                               {"bert.LayerNorm.bias", {2}},
                                               {"classifier.weight", {3, 2}}};

Tensors good_tensors() {
  return {{"bert.word.weight", at::arange(8).reshape({4, 2}).to(at::kHalf)},
          {"bert.LayerNorm.weight", at::ones({2}, at::kBFloat16)},
          {"bert.LayerNorm.bias", at::zeros({2})},
          {"classifier.weight", at::arange(6).reshape({3, 2}).to(at::kDouble)}};
}

// A model folder in the making.
struct Folder {
  TemporaryFolder folder;

  explicit Folder(const Tensors& tensors) {
    folder.write("config.json", R"({"model_type": "bert"})");
    write_safetensors(folder / "model.safetensors", tensors);
  }
  std::map<std::string, at::Tensor> load(const std::vector<ExpectedTensor>& expected) const {
    return Checkpoint(folder.path()).load(expected, {"position_ids"}, "bert");
  }
  std::string refusal(const std::vector<ExpectedTensor>& expected) const {
    return message_of<DataError>([&] { load(expected); });
  }
};

Tensors renamed(const std::map<std::string, std::string>& names) {
  Tensors tensors = good_tensors();
  for (auto& [name, tensor] : tensors) {
    if (names.count(name) > 0) name = names.at(name);
  }
  return tensors;
}

TEST(Checkpoint, LoadsAsFloat32) {
  const Folder model(good_tensors());
  const auto tensors = model.load(kExpected);
  ASSERT_EQ(tensors.size(), 4u);
  for (const auto& [name, tensor] : tensors) EXPECT_EQ(tensor.scalar_type(), at::kFloat) << name;
  EXPECT_TRUE(
      at::equal(tensors.at("classifier.weight"), at::arange(6).reshape({3, 2}).to(at::kFloat)));
  const Checkpoint checkpoint(model.folder.path());
  EXPECT_EQ(checkpoint.config()["model_type"], "bert");
  EXPECT_EQ(checkpoint.names().size(), 4u);
  EXPECT_EQ(checkpoint.type("bert.word.weight"), at::kHalf);
}

TEST(Checkpoint, KeepsIntegerTensors) {
  Tensors tensors = good_tensors();
  tensors.emplace_back("ids", at::arange(5));
  auto expected = kExpected;
  expected.push_back({.name = "ids", .shape = {5}, .integer = true});
  EXPECT_TRUE(at::equal(Folder(tensors).load(expected).at("ids"), at::arange(5)));
}

TEST(Checkpoint, UnderstandsOldNames) {
  const Folder model(renamed({{"bert.LayerNorm.weight", "bert.LayerNorm.gamma"},
                              {"bert.LayerNorm.bias", "bert.LayerNorm.beta"}}));
  EXPECT_TRUE(at::equal(model.load(kExpected).at("bert.LayerNorm.weight"), at::ones({2})));
}

TEST(Checkpoint, UnderstandsAMissingOrAdditionalPrefix) {
  const Folder without(renamed({{"bert.LayerNorm.weight", "LayerNorm.gamma"},
                                {"bert.LayerNorm.bias", "LayerNorm.bias"},
                                {"bert.word.weight", "word.weight"}}));
  EXPECT_EQ(without.load(kExpected).size(), 4u);
  const Folder with(good_tensors());
  EXPECT_EQ(with.load({{"word.weight", {4, 2}},
                       {"LayerNorm.weight", {2}},
                       {"LayerNorm.bias", {2}},
                       {"classifier.weight", {3, 2}}})
                .size(),
            4u);
}

TEST(Checkpoint, TiesWhatIsAbsent) {
  auto expected = kExpected;
  expected.insert(expected.begin(),
                  {.name = "decoder.weight", .shape = {4, 2}, .tied_to = "bert.word.weight"});
  const auto tensors = Folder(good_tensors()).load(expected);
  EXPECT_TRUE(tensors.at("decoder.weight").is_alias_of(tensors.at("bert.word.weight")));
  // A stored one wins.
  Tensors stored = good_tensors();
  stored.emplace_back("decoder.weight", at::ones({4, 2}));
  EXPECT_TRUE(at::equal(Folder(stored).load(expected).at("decoder.weight"), at::ones({4, 2})));
  // The other shape is an error, not a surprise.
  expected.front().shape = {4, 3};
  EXPECT_THAT(Folder(good_tensors()).refusal(expected),
              HasSubstr("wrong shape: bert.word.weight is [4, 2], expected [4, 3]"));
}

// As checkpoints for news summaries have it: one table, under any of its names.
TEST(Checkpoint, TiesToWhateverIsStored) {
  auto expected = kExpected;
  expected[0].optional = true;
  for (const char* name : {"encoder.weight", "decoder.weight", "lm_head.weight"}) {
    expected.push_back({.name = name, .shape = {4, 2}, .tied_to = "bert.word.weight"});
  }
  for (const char* stored : {"encoder.weight", "decoder.weight", "lm_head.weight"}) {
    const auto tensors = Folder(renamed({{"bert.word.weight", stored}})).load(expected);
    EXPECT_EQ(tensors.count("bert.word.weight"), 0u);
    for (const char* name : {"encoder.weight", "decoder.weight", "lm_head.weight"}) {
      EXPECT_TRUE(tensors.at(name).is_alias_of(tensors.at(stored))) << name;
      EXPECT_TRUE(at::equal(tensors.at(name), at::arange(8).reshape({4, 2}).to(at::kFloat)));
    }
  }
  EXPECT_THAT(Folder(renamed({{"bert.word.weight", "word.wait"}})).refusal(expected),
              AllOf(HasSubstr("missing: encoder.weight"), HasSubstr("missing: lm_head.weight")));
}

TEST(Checkpoint, LeavesOutWhatIsLeftOverWithANote) {
  Tensors tensors = good_tensors();
  const std::vector<std::string> names = {"bert.pooler.dense.weight",
                                          "cls.predictions.bias",
                                          "cls.seq_relationship.weight",
                                          "decoder.version",
                                          "discriminator_predictions.dense.bias",
                                          "generator_lm_head.weight",
                                          "lm_head.layer_norm.bias",
                                          "model.encoder.version",
                                          "vocab_projector.weight"};
  for (const std::string& name : names) tensors.emplace_back(name, at::ones({3}));
  const Folder model(tensors);
  const Checkpoint checkpoint(model.folder.path());
  for (int i = 0; i < 2; ++i) checkpoint.load(kExpected, {}, "bert");
  ASSERT_EQ(checkpoint.notes().size(), 1u);
  for (const std::string& name : names) EXPECT_THAT(checkpoint.notes()[0], HasSubstr(name));
}

// As in transformers, which computes the same without them.
TEST(Checkpoint, NotesHeadsOfOtherTasks) {
  Tensors tensors = good_tensors();
  for (const char* name : {"qa_outputs.weight", "classifier.dense.bias", "loss_fct.weight"}) {
    tensors.emplace_back(name, at::ones({2}));
  }
  const Folder model(tensors);
  const Checkpoint checkpoint(model.folder.path());
  checkpoint.load(kExpected, {}, "bert");
  ASSERT_EQ(checkpoint.notes().size(), 1u);
  EXPECT_THAT(checkpoint.notes()[0],
              HasSubstr("classifier.dense.bias, loss_fct.weight, qa_outputs.weight"));
  // Where something is missing, they may be what was meant; and a layer more is no head.
  auto more = kExpected;
  more.push_back({"classifier.bias", {3}});
  EXPECT_THAT(model.refusal(more), HasSubstr("not expected: qa_outputs.weight"));
  tensors.emplace_back("bert.layer.9.classifier.weight", at::ones({2}));
  EXPECT_THAT(Folder(tensors).refusal(kExpected), HasSubstr("not expected: bert.layer.9"));
}

// transformers 5 leaves out the labels of a classifier with two, also where three are the default.
TEST(Checkpoint, CountsLabelsWhereNothingSaysHowMany) {
  const Folder model(good_tensors());
  EXPECT_EQ(Checkpoint(model.folder.path()).config()["num_labels"], 3);
  for (const char* said : {R"({"num_labels": 5})", R"({"id2label": {"0": "a"}})"}) {
    model.folder.write("config.json", said);
    EXPECT_EQ(Checkpoint(model.folder.path()).config(), nlohmann::json::parse(said));
  }
}

TEST(Checkpoint, LeavesOutOptionalAndIgnoredTensors) {
  Tensors tensors = good_tensors();
  tensors.emplace_back("bert.embeddings.position_ids", at::arange(5));
  auto expected = kExpected;
  expected.push_back({.name = "pooler.weight", .shape = {2}, .optional = true});
  const auto loaded = Folder(tensors).load(expected);
  EXPECT_EQ(loaded.size(), 4u);
  EXPECT_EQ(loaded.count("pooler.weight"), 0u);
}

TEST(Checkpoint, ListsEverythingWrongInOneMessage) {
  Tensors tensors = renamed({{"classifier.weight", "clasifier.weight"}});
  tensors[0].second = at::ones({5, 2});
  tensors[1].second = at::full({2}, NAN);
  tensors[2].second = at::ones({2}, at::kInt);
  EXPECT_THAT(
      Folder(tensors).refusal(kExpected),
      AllOf(HasSubstr("wrong shape: bert.word.weight is [5, 2], expected [4, 2]"),
            HasSubstr("not finite: bert.LayerNorm.weight holds 2 NaN and 0 infinite values, the "
                      "first at [0]"),
            HasSubstr("wrong type: bert.LayerNorm.bias holds Int, expected floating point"),
            HasSubstr("missing: classifier.weight [3, 2]; did you mean \"clasifier.weight\"?"),
            HasSubstr("not expected: clasifier.weight [3, 2]")));
}

TEST(Checkpoint, FindsSingleInfiniteValues) {
  Tensors tensors = good_tensors();
  tensors[3].second = at::zeros({3, 2});
  tensors[3].second[2][1] = -INFINITY;
  EXPECT_THAT(Folder(tensors).refusal(kExpected),
              HasSubstr("holds 0 NaN and 1 infinite values, the first at [2, 1]"));
  tensors[3].second = at::full({3, 2}, 1e300, at::kDouble);  // beyond float32
  EXPECT_THAT(Folder(tensors).refusal(kExpected), HasSubstr("6 infinite values"));
}

TEST(Checkpoint, BothNamesOfOneTensorAreTooMany) {
  Tensors tensors = good_tensors();
  tensors.emplace_back("bert.LayerNorm.gamma", at::ones({2}));
  EXPECT_THAT(Folder(tensors).refusal(kExpected), HasSubstr("not expected: bert.LayerNorm.gamma"));
}

TEST(Checkpoint, ShortensLongLists) {
  std::vector<ExpectedTensor> expected = kExpected;
  for (int i = 0; i < 100; ++i) expected.push_back({"layer." + std::to_string(i), {1}});
  EXPECT_THAT(Folder(good_tensors()).refusal(expected),
              AllOf(HasSubstr("missing: layer.19 "), HasSubstr("missing: ... and 80 more"),
                    Not(HasSubstr("layer.20 "))));
}

TEST(Checkpoint, RefusesFoldersThatAreNoModels) {
  const auto refusal = [](const std::filesystem::path& path) {
    return message_of<DataError>([&] { Checkpoint checkpoint(path); });
  };
  const TemporaryFolder folder;
  EXPECT_THAT(refusal(folder / "nothing"), HasSubstr("no such folder"));
  EXPECT_THAT(refusal(folder.write("file", "")), HasSubstr("is not a folder"));
  EXPECT_THAT(refusal(folder.path()), HasSubstr("config.json: no such file"));
  folder.write("config.json", "{\n \"a\": }");
  EXPECT_THAT(refusal(folder.path()), HasSubstr("config.json:2:7: not valid JSON"));
  folder.write("config.json", "[]");
  EXPECT_THAT(refusal(folder.path()), HasSubstr("expected a JSON object"));
  folder.write("config.json", "{}");
  EXPECT_THAT(refusal(folder.path()), HasSubstr("no weights"));
  folder.write("tf_model.h5", "");
  EXPECT_THAT(refusal(folder.path()), HasSubstr("convert it to safetensors"));
}

// Two shards and their index; each test damages one thing.
struct Sharded {
  TemporaryFolder folder;
  nlohmann::json index;

  Sharded() {
    const Tensors tensors = good_tensors();
    folder.write("config.json", "{}");
    write_safetensors(folder / "m-1.safetensors", {tensors[0], tensors[1]});
    write_safetensors(folder / "m-2.safetensors", {tensors[2], tensors[3]});
    for (int i = 0; i < 4; ++i) {
      index["weight_map"][tensors[i].first] = i < 2 ? "m-1.safetensors" : "m-2.safetensors";
    }
  }
  Checkpoint open() const {
    folder.write("model.safetensors.index.json", index.dump());
    return Checkpoint(folder.path());
  }
  std::string refusal() const {
    return message_of<DataError>([&] { open(); });
  }
};

TEST(Checkpoint, LoadsShards) {
  const Sharded model;
  const Checkpoint checkpoint = model.open();
  EXPECT_EQ(checkpoint.load(kExpected, {}, "bert").size(), 4u);
  EXPECT_EQ(checkpoint.files().size(), 4u);  // config, index, two shards
}

TEST(Checkpoint, RefusesWrongShards) {
  Sharded model;
  model.index["weight_map"]["bert.word.weight"] = "m-2.safetensors";
  EXPECT_THAT(model.refusal(), HasSubstr("\"bert.word.weight\" is not in its shard m-2"));
  model.index["weight_map"]["bert.word.weight"] = "m-3.safetensors";
  EXPECT_THAT(model.refusal(), HasSubstr("the shard m-3.safetensors is missing"));
  for (const char* outside : {"../m-1.safetensors", "/etc/passwd", ""}) {
    model.index["weight_map"]["bert.word.weight"] = outside;
    EXPECT_THAT(model.refusal(), HasSubstr("not a plain file name")) << outside;
  }
  model.index["weight_map"]["bert.word.weight"] = "..";
  EXPECT_THAT(model.refusal(), HasSubstr("not a file but a folder"));
  model.index["weight_map"]["bert.word.weight"] = 3;
  EXPECT_THAT(model.refusal(), HasSubstr("not a plain file name"));
  model.index = {{"weight_map", 3}};
  EXPECT_THAT(model.refusal(), HasSubstr("\"weight_map\""));
}

TEST(Checkpoint, ReportsTensorsThatTheIndexDoesNotName) {
  Sharded model;
  model.index["weight_map"].erase("classifier.weight");
  auto expected = kExpected;
  expected.pop_back();
  const Checkpoint checkpoint = model.open();
  EXPECT_THAT(message_of<DataError>([&] { checkpoint.load(expected, {}, ""); }),
              HasSubstr("not expected: classifier.weight"));
}

TEST(Checkpoint, ReadsPytorchFiles) {
  const TemporaryFolder folder;
  folder.write("config.json", "{}");
  const auto data = source_folder() / "tests/data/io/module.bin";
  folder.write("pytorch_model.bin", read_file(data));
  const std::vector<ExpectedTensor> expected = {{"weight", {3}}, {"bias", {3}}};
  EXPECT_TRUE(
      at::equal(Checkpoint(folder.path()).load(expected, {}, "").at("bias"), at::zeros({3})));
  // As the shard of an index as well.
  std::filesystem::rename(folder / "pytorch_model.bin", folder / "shard.bin");
  folder.write("pytorch_model.bin.index.json",
               R"({"weight_map": {"weight": "shard.bin", "bias": "shard.bin"}})");
  EXPECT_EQ(Checkpoint(folder.path()).load(expected, {}, "").size(), 2u);
}

TEST(Checkpoint, PrefersSafetensors) {
  const Folder model(good_tensors());
  model.folder.write("pytorch_model.bin", "not read");
  EXPECT_EQ(model.load(kExpected).size(), 4u);
}

TEST(Checkpoint, FingerprintFollowsTheContent) {
  const Folder a(good_tensors());
  const Folder b(good_tensors());
  EXPECT_EQ(Checkpoint(a.folder.path()).fingerprint(), Checkpoint(b.folder.path()).fingerprint());
  EXPECT_EQ(Checkpoint(a.folder.path()).fingerprint().size(), 64u);
  b.folder.write("config.json", R"({"model_type": "other"})");
  EXPECT_NE(Checkpoint(a.folder.path()).fingerprint(), Checkpoint(b.folder.path()).fingerprint());
}

TEST(Checkpoint, StartsANewHead) {
  const Folder model(good_tensors());
  model.folder.write("config.json", R"({"architectures": ["BertForSequenceClassification"],
      "initializer_range": 0.5, "id2label": {"0": "a", "1": "b", "2": "c"}})");
  std::vector<ExpectedTensor> expected(kExpected.begin(), kExpected.end() - 1);
  expected.push_back({"qa_outputs.weight", {50, 100}});
  expected.push_back({"qa_outputs.bias", {50}});
  const auto load = [&](uint64_t seed) {
    Checkpoint checkpoint(model.folder.path());
    checkpoint.start_head({"ForQuestionAnswering", "qa_outputs.", seed});
    EXPECT_EQ(checkpoint.config()["architectures"][0], "BertForQuestionAnswering");
    EXPECT_FALSE(checkpoint.config().contains("id2label"));
    return checkpoint.load(expected, {}, "bert");
  };
  const auto tensors = load(7);
  EXPECT_EQ(tensors.size(), 5u);  // the classifier is left out
  EXPECT_TRUE(at::equal(tensors.at("qa_outputs.bias"), at::zeros({50})));
  const at::Tensor weight = tensors.at("qa_outputs.weight");
  // Of 5000 normal numbers: mean and deviation are within five of their standard errors,
  // 0.5 / sqrt(5000) = 0.007 and 0.5 / sqrt(10000) = 0.005.
  EXPECT_NEAR(weight.mean().item<double>(), 0, 0.035);
  EXPECT_NEAR(weight.std().item<double>(), 0.5, 0.025);
  EXPECT_TRUE(at::equal(load(7).at("qa_outputs.weight"), weight));
  EXPECT_FALSE(at::equal(load(8).at("qa_outputs.weight"), weight));

  // Other tensors still have to be there, and no others; a head that is there is kept.
  expected.push_back({"bert.more.weight", {2}});
  EXPECT_THAT(message_of<DataError>([&] { load(7); }), HasSubstr("bert.more.weight"));
  EXPECT_THAT(message_of<ConfigError>([&] {
                Checkpoint(model.folder.path()).start_head({"ForX", "classifier.", 0});
              }),
              HasSubstr("leave out model.head"));
}

TEST(Checkpoint, OpensEverySharedModel) {
  const auto models = source_folder() / "../shared/models";
  if (!std::filesystem::exists(models)) GTEST_SKIP() << models << " is not here";
  for (const auto& entry : std::filesystem::directory_iterator(models)) {
    if (!std::filesystem::exists(entry.path() / "config.json")) continue;
    const Checkpoint checkpoint(entry.path());
    std::vector<ExpectedTensor> expected;
    for (const std::string& name : checkpoint.names()) {
      expected.push_back({.name = name,
                          .shape = checkpoint.shape(name),
                          .integer = !at::isFloatingType(checkpoint.type(name))});
    }
    EXPECT_EQ(checkpoint.load(expected, {}, "").size(), expected.size()) << entry.path();
  }
}

}  // namespace
}  // namespace quell
