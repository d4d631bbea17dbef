// The twelve settings of the published code of Outlier Suppression+ become experiments whose sites
// are quantized as that code does it.
#include <gmock/gmock.h>

#include <fmt/format.h>

#include "framework/base/error.h"
#include "framework/import/outlier_suppression_plus.h"
#include "tests/integration/imported.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kProducts =
    "[query_permute_post_act_fake_quant, key_transpose_post_act_fake_quant, "
    "value_permute_post_act_fake_quant, attention_probs_post_act_fake_quant]";

// One of the published settings, in the form of its file.
struct Setting {
  const char* model;  // folder of the test's small model, and of the file
  int bits;
  const char* rows;  // quantizer, observer and what else a_qconfig has
  const char* weights;
  int axis;
  bool products;  // are quantized
  int length;

  std::string yaml() const {
    return fmt::format(
        "quant:\n  a_qconfig: {{{}, bit: {}, symmetric: {}, ch_axis: {}}}\n"
        "  w_qconfig: {{quantizer: {}, observer: MinMaxObserver, bit: {}, symmetric: {}, ch_axis: "
        "{}}}\n  calibrate: 128\n  calibrate_path: {}\n  is_remove_padding: True\n  migrate: True\n"
        "  except_quantizer: {}\nmodel: {{max_length: {}}}\n",
        rows, bits, bits == 8 ? "True" : "False", products ? -1 : 0, weights, bits,
        bits == 8 ? "True" : "False", axis,
        std::string(model) == "llama" ? "cache/wiki_cali" : "cache/pile_cali",
        products ? "null" : kProducts, length);
  }
};
void PrintTo(const Setting& setting, std::ostream* out) { *out << setting.yaml(); }

constexpr const char* kAverage = "quantizer: FixedFakeQuantize, observer: AvgMinMaxObserver";
constexpr const char* kClipped =
    "quantizer: FixedFakeQuantize, observer: AvgTokenQuantileObserver, token_quantile: 0.985";
constexpr const char* kToken = "quantizer: TokenFixedFakeQuantize, observer: MinMaxObserver";
constexpr const char* kFloatDown =
    "quantizer: TokenFixedFakeQuantize, observer: MinMaxObserver, disable_down_proj: True";
constexpr const char* kGroup =
    "quantizer: GroupFixedFakeQuantize, observer: MinMaxObserver, group_size: 1024";

constexpr Setting kSettings[] = {
    {"opt", 8, kAverage, "FixedQuantize", -1, true, 512},
    {"opt", 6, kAverage, "FixedQuantize", 0, true, 512},
    {"opt", 5, kToken, "FixedQuantize", 0, false, 2048},
    {"opt", 4, kGroup, "GroupFixedQuantize, group_size: 1024", 0, false, 2048},
    {"bloom", 8, kClipped, "FixedFakeQuantize", -1, true, 512},
    {"bloom", 6, kClipped, "FixedFakeQuantize", 0, true, 512},
    {"bloomz", 8, kAverage, "FixedQuantize", -1, true, 512},
    {"bloomz", 6, kClipped, "FixedFakeQuantize", 0, true, 512},
    {"llama", 6, kToken, "FixedQuantize", 0, false, 2048},
    {"llama", 4, kToken, "FixedQuantize", 0, false, 2048},
    {"llama", 6, kFloatDown, "FixedQuantize", 0, false, 2048},
    {"llama", 4, kFloatDown, "FixedQuantize", 0, false, 2048},
};

std::string folder_of(const Setting& setting) {
  return std::string(setting.model) == "bloomz" ? "bloom_s0" : std::string(setting.model) + "_s0";
}

class ImportPlus : public testing::TestWithParam<Setting> {
 protected:
  ImportedExperiment import(const std::string& yaml, const std::string& model = {}) {
    fs::create_directories(folder_.path() / GetParam().model);
    return import_outlier_suppression_plus(
        folder_.write(std::string(GetParam().model) + "/setting.yaml", yaml),
        {model, "", all_plugins().models.names()});
  }

  TemporaryFolder folder_;
};

TEST_P(ImportPlus, SaysWhatTheFileSays) {
  const Setting& setting = GetParam();
  const fs::path model = test_data() / "parity/outlier_suppression_plus" / folder_of(setting);
  const ImportedExperiment imported = import(setting.yaml());
  const ExperimentSpec spec = load_experiment(
      folder_.write("imported.yaml", imported.yaml),
      {"model.path=" + model.string(), "task.path=" + folder_.path().string()}, all_plugins());
  QuantizedNetwork network(model, "{}");
  EXPECT_EQ(spec.calibration.samples, 128);
  EXPECT_THAT(imported.yaml, HasSubstr(fmt::format("length: {}\n", setting.length)));
  const bool pile = setting.model[0] != 'l';
  EXPECT_THAT(imported.yaml,
              HasSubstr(pile ? "calibration_cut: documents" : "calibration_cut: windows"));
  std::vector<std::string> steps;
  for (const StepChoice& step : spec.pipeline) steps.push_back(step.name());
  EXPECT_THAT(steps, ElementsAre("shift_scale", "calibrate"));

  const std::string rows = setting.rows;
  const SitePlan norm = plan_of(spec, network, "activation:decoder.0.attention.norm");
  EXPECT_TRUE(norm.quantize);
  EXPECT_EQ(norm.spec.bits, setting.bits);
  EXPECT_EQ(norm.spec.symmetric, setting.bits == 8);
  EXPECT_EQ(norm.spec.grid, kernels::Grid::kOsPlus);
  EXPECT_EQ(norm.spec.granularity, rows.find("Token") == 11   ? Granularity::kToken
                                   : rows.find("Group") == 11 ? Granularity::kGroup
                                                              : Granularity::kTensor);
  EXPECT_EQ(norm.observer.name(), rows == kAverage   ? "avg_minmax"
                                  : rows == kClipped ? "prune_minmax"
                                                     : "minmax");
  const SitePlan weight = plan_of(spec, network, "weight:decoder.1.attention.query");
  EXPECT_EQ(weight.spec.granularity, rows == kGroup      ? Granularity::kGroup
                                     : setting.axis == 0 ? Granularity::kChannel
                                                         : Granularity::kTensor);
  for (const char* product : {"query", "key", "value", "probs"}) {
    const std::string site = fmt::format("activation:decoder.0.attention.{}", product);
    EXPECT_EQ(plan_of(spec, network, site).quantize, setting.products) << site;
  }
  if (setting.products) {
    EXPECT_EQ(plan_of(spec, network, "activation:decoder.0.attention.probs").observer.name(),
              "avg_minmax");
  }
  const bool llama = std::string(setting.model) == "llama";
  EXPECT_EQ(plan_of(spec, network,
                    llama ? "activation:decoder.1.ffn.product" : "activation:decoder.1.ffn.gelu")
                .quantize,
            rows != kFloatDown);
  EXPECT_EQ(plan_of(spec, network, "weight:decoder.1.ffn.output").quantize, rows != kFloatDown);
  EXPECT_FALSE(plan_of(spec, network, "weight:lm_head").quantize);
}

INSTANTIATE_TEST_SUITE_P(Published, ImportPlus, testing::ValuesIn(kSettings), [](const auto& test) {
  return fmt::format("{}_{}_{}", test.index, test.param.model, test.param.bits);
});

class ImportPlusFiles : public testing::Test {
 protected:
  ImportedExperiment import(const std::string& yaml) {
    return import_outlier_suppression_plus(folder_.write("setting.yaml", yaml),
                                           {"", "", all_plugins().models.names()});
  }
  void expect_refused(const std::string& yaml, const std::string& message) {
    EXPECT_THAT(message_of<ConfigError>([&] { import(yaml); }), HasSubstr(message)) << yaml;
  }
  static std::string edited(const std::string& from, const std::string& to) {
    std::string yaml = kSettings[1].yaml();
    const size_t position = yaml.find(from);
    EXPECT_NE(position, std::string::npos) << from;
    return yaml.replace(position, from.size(), to);
  }
  TemporaryFolder folder_;
};

std::string text_of(const ImportNotes& notes) { return to_text(notes); }

TEST_F(ImportPlusFiles, SearchesWhereThereIsNoQuantile) {
  const ImportedExperiment imported =
      import(edited("observer: AvgMinMaxObserver", "observer: AvgTokenQuantileObserver"));
  EXPECT_THAT(
      imported.yaml,
      HasSubstr("token_wise_clipping: {iterations: 20, step: 0.005, quantize_weights: true}"));
  EXPECT_THAT(text_of(imported.notes), HasSubstr("cross-entropy"));
}

TEST_F(ImportPlusFiles, SaysWhatItLeavesOut) {
  const ImportedExperiment imported = import(
      edited("except_quantizer: null", "except_quantizer: [act_fake_quant, unknown_fake_quant]"));
  EXPECT_THAT(imported.yaml,
              HasSubstr("{attention.context,ffn.gelu,ffn.product}\", quantize: false"));
  EXPECT_THAT(text_of(imported.notes), HasSubstr("\"unknown_fake_quant\""));
  EXPECT_THAT(text_of(imported.notes), HasSubstr("quant.calibrate_path"));
  EXPECT_THAT(imported.yaml, Not(HasSubstr("padding: keep")));
  EXPECT_THAT(import(edited("is_remove_padding: True", "is_remove_padding: False")).yaml,
              HasSubstr("padding: keep, pad_to: 512"));
}

TEST_F(ImportPlusFiles, RefusesWhatItDoesNotKnow) {
  expect_refused(edited("FixedQuantize", "FixdQuantize"), "did you mean \"FixedQuantize\"?");
  expect_refused(edited("AvgMinMaxObserver", "AvgMinMax"), "unknown \"AvgMinMax\"");
  expect_refused(edited("bit: 6", "bits: 6"), "unknown key; did you mean \"bit\"?");
  expect_refused(edited("quantizer: FixedQuantize", "quantizer: TokenFixedFakeQuantize"),
                 "one scale per token");
  expect_refused(edited("ch_axis: -1", "ch_axis: 0"), "one scale per tensor here");
}

TEST_F(ImportPlusFiles, TheProgramTellsTheTwoCodesApart) {
  const fs::path file = test_data() / "import/plus/opt_int8.yaml";
  EXPECT_TRUE(is_outlier_suppression_plus(file));
  EXPECT_FALSE(is_outlier_suppression_plus(test_data() / "import/all_keys.yaml"));
  EXPECT_FALSE(is_outlier_suppression_plus(folder_.path() / "absent.yaml"));
  const ProgramResult result =
      run_quell({"import", file.string(), "--model", "MODEL"}, folder_.path());
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_THAT(result.output, HasSubstr("name: opt-w8a8-shift-scale\n"));
}

}  // namespace
}  // namespace quell
