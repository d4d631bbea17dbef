// `quell export --format quell`: a network that is loaded again, and folders that are not what they
// were. `quell parity` on the same network.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "framework/base/file.h"
#include "framework/io/coded_file.h"
#include "framework/io/manifest.h"
#include "framework/io/sha256.h"
#include "framework/json/json.h"
#include "tests/support/small_experiment.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class ExportTest : public testing::Test {
 protected:
  ExportTest() { folder_.write("tiny.yaml", tokens_experiment()); }

  ProgramResult quell(const std::vector<std::string>& arguments) {
    return run_quell(arguments, folder_.path());
  }
  void expect_success(const std::vector<std::string>& arguments) {
    const ProgramResult result = quell(arguments);
    ASSERT_EQ(result.exit_code, 0) << result.errors;
  }
  void export_tiny(std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"export", "tiny.yaml", "--format", "quell", "--output", "network"});
    expect_success(more);
  }
  // What `quell run` says of the exported network.
  void expect_refusal(const std::string& part) {
    const ProgramResult result =
        quell({"run", "network/experiment.yaml", "--output", "again", "--overwrite"});
    EXPECT_EQ(result.exit_code, 3);
    EXPECT_THAT(result.errors, HasSubstr(part));
    EXPECT_FALSE(fs::exists(folder_ / "again/metrics.json"));
  }

  TemporaryFolder folder_;
};

// Of an experiment, and of a run's folder, which holds its experiment.
TEST_F(ExportTest, PredictionsAreTheSameBytesAgain) {
  for (const std::string set :
       {"model.engine=integer", "quant.rules[0].quantizer=adaround",
        "pipeline=[{massive_activations: {least: 1.0e-6, ratio: 4}}, calibrate]"}) {
    expect_success({"run", "tiny.yaml", "--output", "first", "--overwrite", "--set", set, "--set",
                    "stages=[quantized]"});
    expect_success({"export", "first", "--format", "quell", "--output", "network", "--overwrite"});
    expect_success({"run", "network/experiment.yaml", "--output", "again", "--overwrite"});
    EXPECT_EQ(read_file(folder_ / "first/predictions.jsonl"),
              read_file(folder_ / "again/predictions.jsonl"))
        << set;
  }
}

// Where nothing but the quantized network is evaluated, an engine of codes holds weights alone;
// with another stage the model's floats are all there.
TEST_F(ExportTest, EvaluatedAloneItGivesTheSameBytes) {
  const auto predictions = [&](const std::string& stages) {
    expect_success({"run", "network/experiment.yaml", "--output", "again", "--overwrite", "--set",
                    "stages=" + stages});
    std::string quantized;
    std::istringstream lines(read_file(folder_ / "again/predictions.jsonl"));
    for (std::string line; std::getline(lines, line);) {
      quantized += parse_json(line, "predictions").at("outputs").at("quantized").dump() + "\n";
    }
    return quantized;
  };
  for (const std::string bits : {"4", "6", "8"}) {
    export_tiny(
        {"--overwrite", "--set", "model.engine=integer", "--set", "quant.rules[0].bits=" + bits});
    const std::string alone = predictions("[quantized]");
    EXPECT_FALSE(alone.empty());
    EXPECT_EQ(alone, predictions("[activations_only,quantized]")) << bits;
  }
}

// Codes of 4 bits are stored as such.
TEST_F(ExportTest, TakesAsMuchSpaceAsItsBits) {
  export_tiny({"--set", "quant.rules[0].bits=4"});
  const CodedFile file(folder_ / "network" / kCodedFile);
  double bits = 0, values = 0;
  for (const std::string& name : file.names()) {
    if (!file.is_coded(name)) continue;
    const CodedTensor tensor = file.read_codes(name);
    EXPECT_EQ(tensor.bits, 4) << name;
    bits += 4.0 * static_cast<double>(tensor.codes.numel()) +
            64.0 * static_cast<double>(tensor.channels);
    values += static_cast<double>(tensor.codes.numel());
  }
  EXPECT_GT(values, 1000);
  EXPECT_LT(static_cast<double>(fs::file_size(folder_ / "network" / kCodedFile)),
            bits / 8 + 100000);
}

TEST_F(ExportTest, RefusesAFolderThatIsThere) {
  export_tiny();
  const ProgramResult result =
      quell({"export", "tiny.yaml", "--format", "quell", "--output", "network"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.errors, HasSubstr("--overwrite"));
}

TEST_F(ExportTest, RefusesAFormatThatDoesNotExist) {
  const ProgramResult result = quell({"export", "tiny.yaml", "--format", "quel"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.errors, HasSubstr("did you mean \"quell\"?"));
}

TEST_F(ExportTest, SeesWhatIsMissingOrDamaged) {
  export_tiny();
  const fs::path codes = folder_ / "network" / kCodedFile;
  const std::string whole = read_file(codes);
  folder_.write("network/quantized.safetensors", whole.substr(0, whole.size() - 7));
  expect_refusal("SHA-256");
  std::string tampered = whole;
  tampered[tampered.size() / 2] = static_cast<char>(tampered[tampered.size() / 2] ^ 1);
  folder_.write("network/quantized.safetensors", tampered);
  expect_refusal("SHA-256");
  folder_.write("network/quantized.safetensors", whole);
  const std::string quantizers = read_file(folder_ / "network/quantizers.safetensors");
  fs::remove(folder_ / "network/quantizers.safetensors");
  expect_refusal("copy the whole folder again");
  folder_.write("network/quantizers.safetensors", quantizers);
  fs::remove(folder_ / "network" / kManifest);
  expect_refusal("is missing");
}

// A file of another network, with hashes that say it belongs here.
TEST_F(ExportTest, SeesQuantizersOfAnotherNetwork) {
  export_tiny({"--set", "quant.rules[0].bits=4"});
  fs::rename(folder_ / "network", folder_ / "other");
  export_tiny();
  const fs::path foreign = folder_ / "other/quantizers.safetensors";
  fs::copy_file(foreign, folder_ / "network/quantizers.safetensors",
                fs::copy_options::overwrite_existing);
  expect_refusal("SHA-256");
  fs::remove(folder_ / "network" / kManifest);
  write_manifest(folder_ / "network");
  expect_refusal("and the experiment says");
}

TEST_F(ExportTest, ParityTellsTwoEnginesApart) {
  const ProgramResult result =
      quell({"parity", "tiny.yaml", "--json", "--rounds", "1", "--batches", "1"});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const nlohmann::json found = parse_json(result.output, "parity");
  EXPECT_EQ(found.at("engines"), nlohmann::json({"libtorch", "integer"}));
  EXPECT_GT(found.at("sites").size(), 10);
  int compared_attention = 0;
  for (const auto& site : found.at("sites")) {
    EXPECT_LE(site.at("different").get<int64_t>() * 50, site.at("values").get<int64_t>())
        << site.at("site");
    EXPECT_EQ(site.at("own_different"), site.at("own_explained")) << site.at("site");
    EXPECT_LE(site.at("own_largest_in_codes"), 1) << site.at("site");
    const std::string name = site.at("site");
    compared_attention += site.at("own_values") > 0 && (name.ends_with("attention.probs") ||
                                                        name.ends_with("attention.context"));
  }
  EXPECT_GE(compared_attention, 2);
  EXPECT_EQ(found.at("predictions").at("different"), 0);
  EXPECT_EQ(found.at("times").size(), 3);
  // A row's scale may be another by a rounding, and then all values of the row are; codes are not.
  const ProgramResult dynamic =
      quell({"parity", "tiny.yaml", "--json", "--rounds", "0", "--batches", "1", "--set",
             "quant.rules[1].granularity=token"});
  ASSERT_EQ(dynamic.exit_code, 0) << dynamic.errors;
  const nlohmann::json by_token = parse_json(dynamic.output, "parity");
  EXPECT_FALSE(by_token.at("sites").empty());
  for (const auto& site : by_token.at("sites")) {
    EXPECT_LE(site.at("different").get<int64_t>() * 50, site.at("values").get<int64_t>())
        << site.at("site");
  }
  EXPECT_EQ(quell({"parity", "tiny.yaml", "--set", "model.device=cuda"}).exit_code, 2);
  EXPECT_EQ(quell({"parity", "tiny.yaml", "--engines", "integer"}).exit_code, 2);
  EXPECT_EQ(quell({"parity", "tiny.yaml", "--engines", "integer", "none"}).exit_code, 2);
}

}  // namespace
}  // namespace quell
