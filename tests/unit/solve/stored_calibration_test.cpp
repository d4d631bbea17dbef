#include "framework/solve/stored_calibration.h"

#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>

#include "framework/base/error.h"
#include "framework/io/safetensors.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class StoredCalibration : public testing::Test {
 protected:
  std::map<std::string, StoredParameters> read(const std::string& json,
                                               const std::vector<std::string>& entry = {}) {
    return read_stored_calibration(folder_.write("table.json", json), entry);
  }
  std::string message(const std::string& json, const std::vector<std::string>& entry = {}) {
    return message_of<DataError>([&] { read(json, entry); });
  }
  TemporaryFolder folder_;
};

TEST_F(StoredCalibration, TableOfOutlierSuppression) {
  const auto table = read(R"({"minmax/b6": {"final": {"node.a": [0.25, 30.0, -7.5, 8.25],
                                                     "node.b": [1e-3, 0]}}})",
                          {"minmax/b6", "final"});
  ASSERT_EQ(table.size(), 2u);
  EXPECT_THAT(table.at("node.a").scale, ElementsAre(0.25f));
  EXPECT_THAT(table.at("node.a").zero_point, ElementsAre(30.0f));
  EXPECT_FALSE(table.at("node.a").signed_levels);
  EXPECT_THAT(table.at("node.b").scale, ElementsAre(1e-3f));
}

TEST_F(StoredCalibration, QuantizersOfQualcomm) {
  write_safetensors(folder_ / "table.safetensors", {{"v.delta", at::tensor({0.5f, 1e-9f})},
                                                    {"v.zero_float", at::tensor({3.4f, 300.0f})}});
  const auto table = read(R"({"quantizers": [
    {"name": "w", "method": "symmetric_uniform", "n_bits": 4, "delta": 0.125, "signed": false,
     "zero_point": 0.0},
    {"name": "a", "method": "asymmetric_uniform", "n_bits": 8, "delta": 0.5, "zero_float": 110.5,
     "zero_point": 110.0},
    {"name": "v", "method": "asymmetric_uniform", "n_bits": 8, "delta": "tensor[2]",
     "zero_float": "tensor[2]"},
    {"name": "off", "method": "asymmetric_uniform", "n_bits": 8, "enabled": false}]})");
  EXPECT_EQ(table.size(), 3u);
  EXPECT_THAT(table.at("w").scale, ElementsAre(0.125f));
  EXPECT_THAT(table.at("w").zero_point, ElementsAre(0.0f));
  EXPECT_EQ(table.at("w").signed_levels, false);
  EXPECT_THAT(table.at("a").zero_point, ElementsAre(110.0f));  // half to even
  EXPECT_THAT(table.at("v").scale, ElementsAre(0.5f, 1e-8f));  // the floor of the published code
  EXPECT_THAT(table.at("v").zero_point, ElementsAre(3.0f, 255.0f));
}

TEST_F(StoredCalibration, BrokenTablesSayWhere) {
  EXPECT_THAT(message(R"({"a": {"final": {}}})", {"b"}),
              AllOf(HasSubstr("table.json"), HasSubstr("no entry \"b\"")));
  EXPECT_THAT(message(R"({"minmax/b6": {}})", {"minmax/b8"}), HasSubstr("\"minmax/b6\""));
  EXPECT_THAT(message(R"({"a": 3})", {"a", "final"}), HasSubstr("no entry \"final\""));
  EXPECT_THAT(message(R"([1, 2])"), HasSubstr("an object"));
  EXPECT_THAT(message(R"({"node": "big"})"), AllOf(HasSubstr("node"), HasSubstr("big")));
  EXPECT_THAT(message(R"({"node": [0.5]})"), HasSubstr("[scale, zero point"));
  EXPECT_THAT(message(R"({"node": [0.5, null]})"), HasSubstr("null"));
  EXPECT_THAT(message(R"({"quantizers": 3})"), HasSubstr("quantizers"));
  EXPECT_THAT(message(R"({"quantizers": [{"name": 3}]})"), HasSubstr("table.json"));
  EXPECT_THAT(message(R"({"node": )"), HasSubstr("table.json:1:"));
}

TEST_F(StoredCalibration, OtherKindsOfFiles) {
  const auto read_file = [&](const std::string& name) {
    return message_of<DataError>([&] { read_stored_calibration(folder_.write(name, "x"), {}); });
  };
  EXPECT_THAT(read_file("table.yaml"), AllOf(HasSubstr("table.yaml"), HasSubstr(".h5")));
  EXPECT_THAT(read_file("results.h5"), HasSubstr("results.h5"));
}

TEST(FindSite, ByKeyOrByAnyPublishedName) {
  Site weight, activation;
  weight.name = activation.name = "classifier";
  weight.kind = SiteKind::kWeight;
  weight.published_names = {{"one", "head.weight"}, {"two", "head.w"}};
  const std::vector<Site> sites = {activation, weight};
  EXPECT_EQ(find_site(sites, "activation:classifier"), 0);
  EXPECT_EQ(find_site(sites, "weight:classifier"), 1);
  EXPECT_EQ(find_site(sites, "head.w"), 1);
  EXPECT_EQ(find_site(sites, "head.weight"), 1);
  EXPECT_EQ(find_site(sites, "classifier"), kNoSite);
  EXPECT_EQ(find_site(sites, ""), kNoSite);
}

}  // namespace
}  // namespace quell
