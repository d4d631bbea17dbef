// Ranges, scales, zero points and outputs of the three published codes: see tests/data/kernels.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "framework/kernels/fake_quantize.h"
#include "framework/kernels/min_max.h"
#include "tests/support/paths.h"
#include "tests/unit/kernels/support.h"

namespace quell::kernels {
namespace {

using Json = nlohmann::json;

const std::string kData = source_folder().string() + "/tests/data/kernels/";

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The float32 and int32 tensors of a safetensors file, as float.
class Tensors {
 public:
  explicit Tensors(const std::string& path) : bytes_(read_file(path)) {
    uint64_t length = 0;
    std::memcpy(&length, bytes_.data(), sizeof(length));
    start_ = sizeof(length) + length;
    header_ = Json::parse(bytes_.substr(sizeof(length), length));
  }
  bool has(const std::string& name) const { return header_.contains(name); }
  std::vector<float> operator()(const std::string& name) const {
    const Json& entry = header_.at(name);
    const size_t first = entry["data_offsets"][0], last = entry["data_offsets"][1];
    std::vector<float> values((last - first) / sizeof(float));
    if (entry["dtype"] == "I32") {
      std::vector<int32_t> codes(values.size());
      std::memcpy(codes.data(), bytes_.data() + start_ + first, last - first);
      return {codes.begin(), codes.end()};
    }
    std::memcpy(values.data(), bytes_.data() + start_ + first, last - first);
    return values;
  }
  int64_t rows(const std::string& name) const { return header_.at(name)["shape"][0]; }

 private:
  std::string bytes_;
  size_t start_ = 0;
  Json header_;
};

std::vector<float> quantize_rows(const std::vector<float>& x, const std::vector<float>& scale,
                                 const std::vector<float>& zero_point, Levels codes) {
  std::vector<float> y(x.size());
  const int64_t rows = static_cast<int64_t>(scale.size());
  fake_quantize_channels(x.data(), y.data(), 1, rows, static_cast<int64_t>(x.size()) / rows,
                         scale.data(), zero_point.data(), codes);
  return y;
}

TEST(Goldens, ScaleAndZeroPointOfEveryGridBitForBit) {
  const Json table = Json::parse(read_file(kData + "qparams.json"));
  ASSERT_GT(table.size(), 4000u);
  for (const Json& row : table) {
    const Grid grid = row[0] == "os"        ? Grid::kOs
                      : row[0] == "os_plus" ? Grid::kOsPlus
                                            : Grid::kQualcomm;
    const AffineRule rule = affine_rule(grid, row[1], row[2], row[3]);
    const ScaleZeroPoint found = scale_zero_point(rule, row[4], row[5]);
    EXPECT_TRUE(same_bits(found.scale, row[6])) << row << " gives " << found.scale;
    EXPECT_TRUE(same_bits(found.zero_point, row[7])) << row << " gives " << found.zero_point;
  }
}

TEST(Goldens, OutlierSuppressionOutputsBitForBit) {
  const Tensors tensors(kData + "outlier_suppression.safetensors");
  const Json cases = Json::parse(read_file(kData + "outlier_suppression.json"));
  int checked = 0;
  for (const auto& [name, golden] : cases.items()) {
    // With gradient scaling the learned quantizers change their scale before they use it.
    if (golden.value("use_grad_scaling", Json()) == true) continue;
    const Levels codes = levels(Grid::kOs, golden["bit"], golden["symmetric"]);
    std::vector<float> zero_point = tensors(name + ".zp_out");
    // LSQ+ learns a zero point of any value, and rounds it whenever it uses it.
    if (golden["quantizer"] == "LSQPlus") {
      for (float& value : zero_point) value = std::rint(value);
    }
    const std::vector<float> y =
        quantize_rows(tensors(golden["x"]), tensors(name + ".scale_out"), zero_point, codes);
    EXPECT_EQ(first_difference(y, tensors(name + ".y")), -1) << name;
    ++checked;
  }
  EXPECT_GE(checked, 40);
}

TEST(Goldens, OutlierSuppressionPlusFromTensorToOutputBitForBit) {
  const Tensors tensors(kData + "outlier_suppression_plus.safetensors");
  const Json file = Json::parse(read_file(kData + "outlier_suppression_plus.json"));
  int checked = 0;
  for (const Json& golden : file["cases"]) {
    const std::string key = golden["key"];
    if (!tensors.has(key + ".y")) continue;  // Stored as integers.
    const std::vector<float> x = tensors(golden["tensor"]);
    const AffineRule rule = affine_rule(Grid::kOsPlus, golden["bit"], golden["symmetric"]);
    const std::vector<float> scale = tensors(key + ".scale");
    const int64_t groups = static_cast<int64_t>(scale.size());
    std::vector<float> y(x.size()), own_scale(groups), own_zero_point(groups);
    fake_quantize_rows_dynamic(x.data(), y.data(), groups, static_cast<int64_t>(x.size()) / groups,
                               rule, own_scale.data(), own_zero_point.data());
    EXPECT_EQ(first_difference(own_scale, scale), -1) << key;
    EXPECT_EQ(first_difference(own_zero_point, tensors(key + ".zp")), -1) << key;
    EXPECT_EQ(first_difference(y, tensors(key + ".y")), -1) << key;
    ++checked;
  }
  EXPECT_GE(checked, 70);
}

TEST(Grid, LevelsOfTheThreeGrids) {
  const auto is = [](Levels codes, float low, float high) {
    return codes.low == low && codes.high == high;
  };
  EXPECT_TRUE(is(levels(Grid::kOs, 8, true), -128, 127));
  EXPECT_TRUE(is(levels(Grid::kOsPlus, 8, true), -127, 127));
  EXPECT_TRUE(is(levels(Grid::kQualcomm, 8, true), -128, 127));
  EXPECT_TRUE(is(levels(Grid::kQualcomm, 8, true, false), 0, 255));
  EXPECT_TRUE(is(levels(Grid::kOs, 2, true), -2, 1));
  for (const Grid grid : {Grid::kOs, Grid::kOsPlus, Grid::kQualcomm}) {
    EXPECT_TRUE(is(levels(grid, 16, false), 0, 65535));
  }
}

TEST(Grid, AnInvalidRangeIsNeverHidden) {
  const float nan = std::nanf("");
  for (const Grid grid : {Grid::kOs, Grid::kOsPlus, Grid::kQualcomm}) {
    for (const bool symmetric : {false, true}) {
      EXPECT_TRUE(std::isnan(scale_zero_point(grid, 8, symmetric, nan, nan).scale));
      EXPECT_TRUE(std::isnan(scale_zero_point(grid, 8, symmetric, nan, 1.0f).scale));
      EXPECT_TRUE(std::isnan(scale_zero_point(grid, 8, symmetric, -1.0f, nan).scale));
      EXPECT_TRUE(std::isinf(scale_zero_point(grid, 8, symmetric, -1.0f, INFINITY).scale));
      EXPECT_TRUE(std::isinf(scale_zero_point(grid, 8, symmetric, -INFINITY, 1.0f).scale));
    }
  }
}

}  // namespace
}  // namespace quell::kernels
