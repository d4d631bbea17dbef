// Whatever is wrong with configuration, model, data or disk: an exit code that says which, a
// message that says what, where and how to go on, and never a crash or a half-written result.
#include <gmock/gmock.h>

#include <sys/mount.h>
#include <unistd.h>
#include <cstring>

#include "framework/base/file.h"
#include "tests/support/bad_input.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

TEST_F(BadInput, Configuration) {
  expect_failure(edited("bits: 6", "bits: 1"), kConfiguration, {"bad.yaml:13", "bits", "[2, 16]"});
  expect_failure(edited("bits: 6", "bits: 40"), kConfiguration, {"bad.yaml:13", "40"});
  expect_failure(edited("bits: 6", "bit: 6"), kConfiguration, {"did you mean \"bits\""});
  expect_failure(edited("weight:*", "weight:encoder.7.*"), kConfiguration,
                 {"bad.yaml:13", "weight:encoder.7.*", "no site"});
  expect_failure(edited("avg_minmax", "avg_minmx"), kConfiguration, {"bad.yaml:14", "avg_minmax"});
  expect_failure(edited("name: tiny", "nam: tiny"), kConfiguration, {"nam", "name"});
  expect_failure("name: [", kConfiguration, {"bad.yaml"});
  expect_failure(std::string("name: \0x", 8), kConfiguration, {"bad.yaml"});
  expect_failure("", kConfiguration, {"name"});
  expect_failure(edited("calibration_batches", "calibration_batch"), kConfiguration,
                 {"calibration_batches"});
}

// What a step cannot do with this model or task is told before anything is computed.
TEST_F(BadInput, TrainingWithoutALoss) {
  const auto writer = test_data() / "parity/outlier_suppression_bart_gen";
  const auto with = [](const std::string& yaml, const std::string& options) {
    return yaml + "pipeline: [{qat: " + options + "}]\n";
  };
  std::string texts = edited((tiny_model() / "inputs").string(), (writer / "inputs").string(),
                             tokens_experiment(writer));
  texts = edited("outlier_suppression.yaml", "outlier_suppression_bart.yaml", texts);
  texts = edited("evaluation_batches: [2, 4]", "evaluation_batches: [1]", texts);
  texts = with(texts, "{data: calibration, distillation: {weight: 0.5}}");
  const std::string labels = with(tokens_experiment(), "{epochs: 1}");
  for (const auto& [yaml, word] :
       {std::pair{texts, "distillation: {weight: 1}"}, std::pair{labels, "data: calibration"}}) {
    expect_failure(yaml, kConfiguration, {"qat", word});
    const ProgramResult check = quell({"check", "bad.yaml"});
    EXPECT_EQ(check.exit_code, kConfiguration);
    EXPECT_THAT(check.errors, AllOf(HasSubstr("qat"), HasSubstr(word)));
  }
}

TEST_F(BadInput, EveryProblemOfAFileAtOnce) {
  std::string yaml = edited("bits: 6", "bits: 1");
  yaml = edited("bits: 8", "bits: 99", yaml);
  yaml = edited("threads: 1", "threads: many", yaml);
  expect_failure(yaml, kConfiguration, {":2:", ":13:", ":14:", "many", "99"});
}

TEST_F(BadInput, MissingFiles) {
  const ProgramResult result = quell({"run", "nothing.yaml"});
  EXPECT_EQ(result.exit_code, kConfiguration);
  EXPECT_THAT(result.errors, HasSubstr("nothing.yaml"));
  expect_failure(tokens_experiment(folder_ / "nowhere"), kConfiguration, {"nowhere", "model.path"});
  expect_failure(edited("inputs.safetensors", "outputs.safetensors"), kConfiguration,
                 {"outputs.safetensors"});
  const fs::path model = copy_model();
  fs::remove(model / "model.safetensors");
  expect_failure(tokens_experiment(model), kData, {"model.safetensors"});
  fs::remove(model / "config.json");
  expect_failure(tokens_experiment(model), kData, {"config.json"});
  expect_failure(edited("evaluation_batches: [2, 4]", "evaluation_batches: [2, 7]"), kData,
                 {"b7.input_ids"});
}

TEST_F(BadInput, VocabularyOfAnotherModel) {
  const fs::path model = copy_model(quickstart() / "model");
  std::string vocabulary = read_file(model / "vocab.txt");
  folder_.write("model/vocab.txt", vocabulary + "onemore\nandonemore\n");
  expect_failure(glue_experiment(folder_, model), kData, {"4501", "4500", "vocabulary"});
  fs::remove(model / "vocab.txt");
  expect_failure(glue_experiment(folder_, model), kData, {"vocab.txt"});
}

TEST_F(BadInput, DataFiles) {
  const std::string yaml = glue_experiment(folder_);
  folder_.write("data/dev.tsv", "text\tlabel\ngood\t1\n");
  expect_failure(yaml, kData, {"dev.tsv", "sentence"});
  folder_.write("data/dev.tsv", "sentence\tlabel\n");
  expect_failure(yaml, kData, {"dev.tsv", "no examples"});
  folder_.write("data/dev.tsv", "");
  expect_failure(yaml, kData, {"dev.tsv"});
  folder_.write("data/dev.tsv", "sentence\tlabel\ngood\t1\nbad\t2\n");
  expect_failure(yaml, kData, {"dev.tsv:3", "2"});
  folder_.write("data/dev.tsv", "sentence\tlabel\ngood\tgood\n");
  expect_failure(yaml, kData, {"dev.tsv:2", "good"});
  fs::remove(folder_ / "data/dev.tsv");
  expect_failure(yaml, kData, {"dev"});
}

TEST_F(BadInput, NoTrainingSplitNamesBothWaysOut) {
  const std::string yaml = glue_experiment(folder_);
  fs::remove(folder_ / "data/train.tsv");
  expect_failure(yaml, kData, {"train", "split: dev", "file"});
}

TEST_F(BadInput, OutputThatCannotBeWritten) {
  folder_.write("file", "");
  expect_failure(tokens_experiment(), kRunFailed, {"file/below", "--output"},
                 {"--output", "file/below"});
  if (::geteuid() == 0) return;  // root may write everywhere
  fs::create_directory(folder_ / "locked");
  fs::permissions(folder_ / "locked", fs::perms::owner_read | fs::perms::owner_exec);
  expect_failure(tokens_experiment(), kRunFailed, {"locked"}, {"--output", "locked/run"});
}

TEST_F(BadInput, MoreMemoryThanThereIs) {
  folder_.write("tiny.yaml", tokens_experiment());
  const ProgramResult result =
      quell({"run", "tiny.yaml", "--quiet", "--set", "calibration.pad_to=1000000000"});
  EXPECT_EQ(result.exit_code, kRunFailed) << result.errors;
  EXPECT_THAT(result.errors, AllOf(HasSubstr("memory"), HasSubstr("lower task.batch_size"),
                                   testing::Not(HasSubstr("frame #"))));
  EXPECT_FALSE(fs::exists(folder_ / "runs/tiny/metrics.json"));
}

TEST_F(BadInput, FullDisk) {
  const fs::path disk = folder_ / "disk";
  fs::create_directory(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=64k") != 0) {
    GTEST_SKIP() << "cannot mount a small disk here: " << std::strerror(errno);
  }
  folder_.write("tiny.yaml", tokens_experiment());
  const ProgramResult result = quell({"run", "tiny.yaml", "--output", "disk/run"});
  const bool complete =
      fs::exists(disk / "run/metrics.json") || fs::exists(disk / "run/results.h5");
  const int partial = folder_.partial_files();
  ::umount2(disk.c_str(), MNT_DETACH);
  EXPECT_EQ(result.exit_code, kRunFailed) << result.errors;
  EXPECT_THAT(result.errors, AllOf(HasSubstr("results.h5"), HasSubstr("space")));
  EXPECT_FALSE(complete);
  EXPECT_EQ(partial, 0);
}

TEST_F(BadInput, StoredCalibration) {
  const auto given = [&](const std::string& name, const std::string& content) {
    return tokens_experiment() + fmt::format("pipeline: [{{calibrate: {{from: {}}}}}]\n",
                                             folder_.write(name, content).string());
  };
  expect_failure(given("table.json", R"({"bert.nothing": [0.5, 3]})"), kData, {"bert.nothing"});
  expect_failure(given("table.json", R"({"classifier.weight_fake_quant": "x"})"), kData,
                 {"table.json", "classifier.weight_fake_quant"});
  expect_failure(given("table.json", R"({"classifier.weight_fake_quant": [0.5]})"), kData,
                 {"scale, zero point"});
  expect_failure(given("table.json", R"({"activation:encoder.0.ffn.gelu": [0, 3]})"), kData,
                 {"scale"});
  expect_failure(given("table.json", "{"), kData, {"table.json:1:"});
  expect_failure(given("table.h5", "not HDF5"), kData, {"table.h5"});
  expect_failure(given("table.txt", ""), kData, {"table.txt", ".json"});
}

TEST_F(BadInput, Predictions) {
  glue_experiment(folder_);
  const auto score = [&](const std::string& predictions, const std::string& word) {
    folder_.write("predictions.jsonl", predictions);
    const ProgramResult result = quell({"score", "glue", "--set", "name=sst2", "--predictions",
                                        "predictions.jsonl", "--data", "data/dev.tsv"});
    EXPECT_EQ(result.exit_code, kData) << result.errors;
    EXPECT_THAT(result.errors, HasSubstr(word));
  };
  score("{\"index\":0,\"prediction\":1}\n", "predictions.jsonl");  // eleven are missing
  score("{\"index\":0,\"logits\":[1]}\n", "predictions.jsonl");
  score("nonsense\n", "predictions.jsonl:1:");
  score("", "predictions.jsonl");
}

}  // namespace
}  // namespace quell
