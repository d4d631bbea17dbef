// quell probe: the goldens of the published observers can be replayed with it.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "framework/io/hdf5_writer.h"
#include "framework/io/safetensors.h"
#include "framework/json/json.h"
#include "tests/support/engine.h"
#include "tests/support/program.h"
#include "tests/support/temporary_folder.h"

namespace quell {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class ProbeTest : public testing::Test {
 protected:
  ProgramResult probe(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "probe");
    return run_quell(arguments, folder_.path());
  }
  json parsed(std::vector<std::string> arguments) {
    arguments.push_back("--json");
    const ProgramResult result = probe(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return json::parse(result.output, nullptr, /*allow_exceptions=*/false);
  }
  void expect_refused(int exit_code, const std::vector<std::string>& arguments,
                      const std::string& message) {
    const ProgramResult result = probe(arguments);
    EXPECT_EQ(result.exit_code, exit_code) << result.errors;
    EXPECT_THAT(result.errors, HasSubstr(message));
  }

  const std::string inputs_ = (test_data() / "parity/observers/inputs.safetensors").string();
  const json golden_ = read_json_file(test_data() / "parity/observers/observers.json")["results"];
  TemporaryFolder folder_;
};

void expect_same(const json& found, const json& golden) {
  for (const char* key : {"min", "max", "scale"}) EXPECT_EQ(found[key], golden[key]) << key;
  EXPECT_EQ(found["zero_point"], golden["zp"]);
}

TEST_F(ProbeTest, ReplaysGoldens) {
  const json one =
      parsed({inputs_, "--tensor", "query_bhtd.0", "--sequence_axis", "2", "--lengths", "{}.lens",
              "--observer", "{type: prune_minmax, ratio: 0.9}", "--bits", "6"});
  expect_same(one["probes"][0], golden_["query_bhtd"]["AvgPruneMinMax@0.9"]["b6s0"]);
  const json numbers =
      parsed({inputs_, "--tensor", "query_bhtd.0", "--sequence_axis", "2", "--lengths",
              "14,13,23,15", "--observer", "{type: prune_minmax, ratio: 0.9}", "--bits", "6"});
  EXPECT_EQ(numbers, one);
  const json batches = parsed({inputs_, "--tensor",
                               "outlier_btd_3batches.0,outlier_btd_3batches.1,"
                               "outlier_btd_3batches.2",
                               "--sequence_axis", "1", "--lengths", "{}.lens", "--observer",
                               "quantile", "--bits", "4", "--symmetric"});
  EXPECT_EQ(batches["probes"].size(), 1u);
  expect_same(batches["probes"][0], golden_["outlier_btd_3batches"]["AvgQuantile"]["b4s1"]);
}

TEST_F(ProbeTest, ScalesPerChannelOfAnyAxis) {
  const json rows = parsed({inputs_, "--tensor", "weight_conv_ch0.0", "--channel_axis", "0",
                            "--weight", "--bits", "4", "--symmetric"});
  expect_same(rows["probes"][0], golden_["weight_conv_ch0"]["MinMax"]["b4s1"]);
  const json columns =
      parsed({inputs_, "--tensor", "weight_ch1.0", "--channel_axis", "1", "--bits", "8"});
  expect_same(columns["probes"][0], golden_["weight_ch1"]["MinMax"]["b8s0"]);
  const json features =
      parsed({inputs_, "--tensor", "normal_btd.0", "--sequence_axis", "1", "--channel_axis", "2"});
  EXPECT_EQ(features["probes"][0]["scale"].size(), 48u);
}

TEST_F(ProbeTest, EveryTensorOfAFileByItself) {
  const at::Tensor x = at::linspace(-1, 1, 12).view({3, 4});
  write_safetensors(folder_ / "x.safetensors",
                    {{"a", x}, {"n", at::ones({3}, at::kInt)}, {"b", x.to(at::kHalf) * 2}});
  const json found = parsed({"x.safetensors", "--bits", "3", "--out", "y.safetensors"});
  ASSERT_EQ(found["probes"].size(), 2u);
  EXPECT_EQ(found["probes"][1]["tensors"][0], "b");
  EXPECT_TRUE(found["skipped"].contains("n"));
  const SafetensorsFile out(folder_ / "y.safetensors");
  const at::Tensor y = out.read("a");
  EXPECT_EQ(y.sizes(), x.sizes());
  EXPECT_NEAR(found["probes"][0]["mse"].get<double>(), (y - x).square().mean().item<double>(),
              1e-7);
  EXPECT_LE(std::get<0>(at::_unique(y)).numel(), 8);  // 2^3 codes
  EXPECT_THAT(probe({"x.safetensors"}).output, HasSubstr("SQNR"));
}

TEST_F(ProbeTest, OddTensorsLeaveTheOthersToBeProbed) {
  write_safetensors(folder_ / "x.safetensors", {{"empty", at::zeros({0, 4})},
                                                {"far", at::tensor({-3.4e38f, 3.4e38f})},
                                                {"nan", at::full({2, 2}, NAN)},
                                                {"y", at::ones({2, 2})},
                                                {"zeros", at::zeros({2, 2})}});
  const json found = parsed({"x.safetensors"});
  ASSERT_EQ(found["probes"].size(), 2u);
  EXPECT_EQ(found["probes"][0]["tensors"][0], "y");
  EXPECT_THAT(found["skipped"]["empty"].get<std::string>(), HasSubstr("no values"));
  EXPECT_THAT(found["skipped"]["far"].get<std::string>(), HasSubstr("further apart"));
  EXPECT_TRUE(found["skipped"].contains("nan"));
  const ProgramResult shown = probe({"x.safetensors"});
  EXPECT_THAT(shown.output, testing::AllOf(HasSubstr("left out: nan: "), HasSubstr("inf\n"),
                                           testing::Not(HasSubstr("-nan"))));
  write_safetensors(folder_ / "odd.safetensors", {{"nan", at::full({2, 2}, NAN)}});
  expect_refused(3, {"odd.safetensors"}, "nan: the range of nan is not finite");
}

TEST_F(ProbeTest, TheFileThatIsReadStays) {
  write_safetensors(folder_ / "x.safetensors", {{"x", at::ones({2, 2})}, {"y", at::ones({3})}});
  expect_refused(2, {"x.safetensors", "--tensor", "x", "--out", "./x.safetensors"}, "--out");
  EXPECT_EQ(SafetensorsFile(folder_ / "x.safetensors").names().size(), 2u);
}

TEST_F(ProbeTest, QuantizedTensorsKeepTheirShape) {
  const at::Tensor x = at::randn({2, 3, 5, 4});
  write_safetensors(folder_ / "x.safetensors", {{"x", x}});
  const std::vector<std::vector<std::string>> layouts = {
      {},
      {"--sequence_axis", "0"},
      {"--sequence_axis", "2"},
      {"--channel_axis", "1"},
      {"--sequence_axis", "3", "--granularity", "token"}};
  for (auto arguments : layouts) {
    arguments.insert(arguments.begin(),
                     {"x.safetensors", "--bits", "16", "--out", "y.safetensors"});
    parsed(arguments);
    const at::Tensor y = SafetensorsFile(folder_ / "y.safetensors").read("x");
    ASSERT_EQ(y.sizes(), x.sizes());
    EXPECT_LT((y - x).abs().max().item<double>(), 1e-3);  // steps of 16 bits
  }
}

// Codes, scales and zero points together say the same as the quantized values.
TEST_F(ProbeTest, IntegerCodes) {
  const at::Tensor x = at::randn({2, 5, 6});
  write_safetensors(folder_ / "x.safetensors", {{"x", x}});
  struct Case {
    std::vector<std::string> options;
    at::ScalarType type;
    std::vector<int64_t> scales;  // the shape in which they apply to x
  };
  const std::vector<Case> cases = {
      {{"--bits", "8"}, at::kByte, {1}},
      {{"--bits", "4", "--symmetric"}, at::kChar, {1}},
      {{"--bits", "12", "--symmetric"}, at::kShort, {1}},
      {{"--bits", "16"}, at::kInt, {1}},
      {{"--bits", "6", "--channel_axis", "1"}, at::kByte, {1, 5, 1}},
      {{"--bits", "6", "--sequence_axis", "1", "--channel_axis", "2"}, at::kByte, {1, 1, 6}},
      {{"--bits", "6", "--sequence_axis", "1", "--granularity", "token"}, at::kByte, {2, 5, 1}}};
  for (Case one : cases) {
    one.options.insert(one.options.begin(), {"x.safetensors", "--out", "y.safetensors"});
    parsed(one.options);
    const at::Tensor y = SafetensorsFile(folder_ / "y.safetensors").read("x");
    one.options.push_back("--codes");
    parsed(one.options);
    const SafetensorsFile found(folder_ / "y.safetensors");
    const at::Tensor codes = found.read("x");
    EXPECT_EQ(codes.scalar_type(), one.type);
    const at::Tensor scale = found.read("x.scale").view(one.scales);
    const at::Tensor zero_point = found.read("x.zero_point").view(one.scales);
    EXPECT_TRUE(at::equal((codes.to(at::kFloat) - zero_point) * scale, y));
  }
}

// By hand: with a scale of 0.5 and a zero point of 1, codes 0 to 3, the values become -0.5, 0.5 and
// 1; the outer two are cut off. A stored scale of -0.5 is taken as 0.5, as LSQFakeQuantize does.
TEST_F(ProbeTest, GradientsAndStoredParameters) {
  write_safetensors(folder_ / "x.safetensors", {{"x", at::tensor({-1.0f, 0.3f, 2.0f})},
                                                {"x.gy", at::tensor({1.0f, 10.0f, 100.0f})},
                                                {"x.scale", at::tensor({-0.5f})},
                                                {"x.zero", at::zeros({1})},
                                                {"x.zp", at::tensor({1.0f})}});
  std::vector<std::string> options = {"x.safetensors",
                                      "--tensor",
                                      "x",
                                      "--bits",
                                      "2",
                                      "--scale",
                                      "{}.scale",
                                      "--zero_point",
                                      "{}.zp",
                                      "--gradient",
                                      "{}.gy",
                                      "--out",
                                      "y.safetensors",
                                      "--quantizer",
                                      "{type: lsq_plus, gradient_scaling: false}"};
  const json found = parsed(options)["probes"][0];
  EXPECT_EQ(found["scale"], 0.5);
  EXPECT_EQ(found["zero_point"], 1.0);
  EXPECT_NEAR(found["gradient"]["scale"].get<double>(), -1 + 4 + 200, 1e-4);
  EXPECT_NEAR(found["gradient"]["zero_point"].get<double>(), -0.5 * (1 + 100), 1e-4);
  const SafetensorsFile out(folder_ / "y.safetensors");
  EXPECT_TRUE(at::equal(out.read("x"), at::tensor({-0.5f, 0.5f, 1.0f})));
  EXPECT_TRUE(at::equal(out.read("x.gradient"), at::tensor({0.0f, 10.0f, 0.0f})));
  options.back() = "{type: lsq, gradient_scaling: false}";
  EXPECT_FALSE(parsed(options)["probes"][0]["gradient"].contains("zero_point"));
  expect_refused(2, {"x.safetensors", "--tensor", "x", "--zero_point", "x.zp"}, "needs --scale");
  expect_refused(3, {"x.safetensors", "--tensor", "x", "--scale", "x.gy"}, "3 scales");
  expect_refused(3, {"x.safetensors", "--tensor", "x", "--scale", "{}.none"}, "x.none");
  expect_refused(3, {"x.safetensors", "--tensor", "x", "--scale", "x.zero"}, "a scale is 0");
}

TEST_F(ProbeTest, Hdf5) {
  Hdf5Writer writer(folder_ / "x.h5");
  writer.write("layer/values", at::tensor({-1.0f, 0.5f, 2.0f}));
  writer.write("note", std::string("text"));
  writer.commit();
  const json found = parsed({"x.h5"});
  ASSERT_EQ(found["probes"].size(), 1u);
  EXPECT_EQ(found["probes"][0]["tensors"][0], "layer/values");
  EXPECT_EQ(found["probes"][0]["max"], 2.0);
  EXPECT_TRUE(found["skipped"].contains("note"));
}

TEST_F(ProbeTest, RefusesWhatItCannotDo) {
  write_safetensors(folder_ / "x.safetensors",
                    {{"x", at::full({2, 2}, NAN)}, {"y", at::ones({2, 2})}});
  expect_refused(2, {}, "needs a file");
  expect_refused(3, {"absent.safetensors"}, "absent.safetensors");
  expect_refused(3, {"x.safetensors", "--tensor", "z"}, "z");
  expect_refused(3, {"x.safetensors", "--tensor", "x"}, "not finite");
  const auto refused = [&](std::vector<std::string> options, const std::string& message) {
    options.insert(options.begin(), {"x.safetensors", "--tensor", "y"});
    expect_refused(2, options, message);
  };
  refused({"--bits", "1"}, "--bits 1");
  refused({"--bits", "many"}, "--bits many");
  refused({"--observer", "minmx"}, "minmax");
  refused({"--observer", "{type: mse, candidate: 3}"}, "candidates");
  refused({"--observer", "{type: ["}, "--observer");
  refused({"--symmetric", "--asymmetric"}, "exclude each other");
  refused({"--lengths", "1,1"}, "--sequence_axis");
  refused({"--lengths", "one", "--sequence_axis", "1"}, "one");
  refused({"--lengths", "1,9", "--sequence_axis", "1"}, "length 9");
  refused({"--sequence_axis", "4"}, "sequence axis 4");
  refused({"--channel_axis", "4"}, "channel axis 4");
  refused({"--codes"}, "--codes needs --out");
  refused({"--granularity", "channel"}, "--channel_axis");
  refused({"--granularity", "group"}, "group_size");
}

}  // namespace
}  // namespace quell
