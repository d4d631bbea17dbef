// Migrated models for Hugging Face: the folder has the logits of the model that
// went in, and what has no place there is refused before anything is computed.
#include <gmock/gmock.h>

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include "framework/io/safetensors.h"
#include "framework/json/json.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"
#include "tests/support/small_experiment.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class ExportHuggingFace : public testing::Test {
 protected:
  std::string experiment(const fs::path& model, const std::string& pipeline) {
    return folder_
        .write("experiment.yaml",
               fmt::format("name: migrated\nmodel: {{path: {}}}\n"
                           "task: {{type: tokens, path: {}, keys: 'b{{}}.input_ids', "
                           "calibration_batches: [4], evaluation_batches: [4]}}\n"
                           "quant:\n  include: "
                           "placements/outlier_suppression_plus.yaml\n  rules:\n"
                           "    - {{sites: ['weight:*', 'activation:*'], bits: 6}}\n"
                           "pipeline: {}\n",
                           model.string(), (model / "inputs.safetensors").string(), pipeline))
        .string();
  }
  ProgramResult export_to(const std::string& format, const std::string& file) {
    return run_quell(
        {"export", file, "--format", format, "--output", (folder_.path() / "out").string()},
        folder_.path());
  }

  at::NoGradGuard no_gradients_;
  TemporaryFolder folder_;
};

TEST_F(ExportHuggingFace, HasTheLogitsOfTheModelThatWentIn) {
  for (const char* name : {"opt", "bloom", "gpt2", "llama_biases"}) {
    SCOPED_TRACE(name);
    const fs::path model = test_data() / "models" / name;
    fs::remove_all(folder_.path() / "out");
    const ProgramResult result =
        export_to("huggingface", experiment(model, "[{shift_scale: {smallest_threshold: 0.05}}]"));
    ASSERT_EQ(result.exit_code, 0) << result.errors;
    QuantizedNetwork before(model, "{rules: []}"), after(folder_.path() / "out", "{rules: []}");
    const Batch batch = read_batches(model / "inputs.safetensors", {"b4.input_ids"})[0];
    const at::Tensor expected = before.logits(batch, false, false);
    EXPECT_LE(max_difference(after.logits(batch, false, false), expected),
              float_tolerance(expected));
    const std::string norm = "weight:decoder.0.attention.query";
    EXPECT_GT(max_difference(after.model().weight(after.site(norm)),
                             before.model().weight(before.site(norm))),
              0);
  }
}

TEST_F(ExportHuggingFace, InSixteenBits) {
  const fs::path model = test_data() / "models/opt";
  const std::string file = experiment(model, "[smooth_quant]");
  for (const auto& [format, dtype, type] :
       {std::tuple("huggingface-float16", "float16", at::kHalf),
        std::tuple("huggingface-bfloat16", "bfloat16", at::kBFloat16)}) {
    fs::remove_all(folder_.path() / "out");
    const ProgramResult result = export_to(format, file);
    ASSERT_EQ(result.exit_code, 0) << result.errors;
    const SafetensorsFile weights(folder_.path() / "out/model.safetensors");
    for (const std::string& name : weights.names()) EXPECT_EQ(weights.type(name), type) << name;
    EXPECT_EQ(read_json_file(folder_.path() / "out/config.json")["torch_dtype"], dtype);
  }
}

TEST_F(ExportHuggingFace, RefusesWhatHasNoPlaceThere) {
  const auto expect_refused = [&](const fs::path& model, const std::string& pipeline,
                                  const std::string& message) {
    const ProgramResult result = export_to("huggingface", experiment(model, pipeline));
    EXPECT_EQ(result.exit_code, 2) << result.errors;
    EXPECT_THAT(result.errors, HasSubstr(message));
    EXPECT_FALSE(fs::exists(folder_.path() / "out"));
  };
  const fs::path models = test_data() / "models";
  expect_refused(models / "opt_post_norm", "[shift_scale]", "a factor on the shortcut");
  expect_refused(models / "opt_post_norm", "[smooth_quant]", "a factor on the shortcut");
  expect_refused(models / "llama", "[{shift_scale: {shift: always}}]", "biases for the shift");
  expect_refused(models / "opt", "[{gamma_migration: {epsilon: 1.0e-3}}]", "another epsilon");
  expect_refused(models / "llama", "[massive_activations]", "limits for values behind layers");
}

}  // namespace
}  // namespace quell
