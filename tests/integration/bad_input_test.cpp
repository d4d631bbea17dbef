// Whatever is wrong with configuration, model, data or disk: an exit code that says which, a
// message that says what, where and how to go on, and never a crash or a half-written result.
#include <gmock/gmock.h>

#include <sys/mount.h>
#include <unistd.h>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>

#include "framework/base/file.h"
#include "framework/io/json.h"
#include "tests/support/small_experiment.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

constexpr int kRunFailed = 1, kConfiguration = 2, kData = 3;

class BadInput : public testing::Test {
 protected:
  ProgramResult quell(const std::vector<std::string>& arguments) {
    return run_quell(arguments, folder_.path());
  }
  // The experiment must fail in this way, with all these words in the message.
  void expect_failure(const std::string& yaml, int exit_code, const std::vector<std::string>& words,
                      const std::vector<std::string>& more_arguments = {}) {
    folder_.write("bad.yaml", yaml);
    std::vector<std::string> arguments = {"run", "bad.yaml", "--quiet", "--overwrite"};
    arguments.insert(arguments.end(), more_arguments.begin(), more_arguments.end());
    const ProgramResult result = quell(arguments);
    EXPECT_EQ(result.exit_code, exit_code) << "signal " << result.signal << ": " << result.errors;
    EXPECT_THAT(result.errors, HasSubstr("error: "));
    EXPECT_THAT(result.errors, testing::Not(HasSubstr("internal")));
    for (const std::string& word : words) EXPECT_THAT(result.errors, HasSubstr(word));
    for (const char* name : {"metrics.json", "results.h5", "predictions.jsonl"}) {
      EXPECT_FALSE(fs::exists(folder_ / "runs/tiny" / name)) << name;
    }
    EXPECT_EQ(folder_.partial_files(), 0);
  }
  // The tiny experiment with one piece of text replaced.
  static std::string edited(const std::string& from, const std::string& to,
                            std::string yaml = tokens_experiment()) {
    const size_t position = yaml.find(from);
    EXPECT_NE(position, std::string::npos) << from;
    return yaml.replace(position, from.size(), to);
  }
  // A copy of the tiny model that a test may damage.
  fs::path copy_model(const fs::path& from = tiny_model()) {
    const fs::path copy = folder_ / "model";
    fs::create_directories(copy);
    for (const auto& entry : fs::directory_iterator(from)) {
      const auto name = entry.path().filename();
      if (name == "config.json" || name == "model.safetensors" || name == "vocab.txt" ||
          name == "tokenizer_config.json") {
        fs::copy_file(entry.path(), copy / name, fs::copy_options::overwrite_existing);
      }
    }
    return copy;
  }

  TemporaryFolder folder_;
};

// The header of a safetensors file, and what follows it.
struct Parts {
  nlohmann::ordered_json header;
  std::string data;
};

Parts split(const std::string& file) {
  uint64_t size = 0;
  std::memcpy(&size, file.data(), sizeof size);
  return {nlohmann::ordered_json::parse(file.substr(8, size)), file.substr(8 + size)};
}

std::string join(const Parts& parts) {
  const std::string header = parts.header.dump();
  const uint64_t size = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &size, sizeof size);
  return file + header + parts.data;
}

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

TEST_F(BadInput, ModelConfiguration) {
  const fs::path model = copy_model();
  const auto config = read_json_file(model / "config.json");
  const auto with = [&](const char* key, const nlohmann::json& value) {
    auto changed = config;
    changed[key] = value;
    folder_.write("model/config.json", changed.dump());
  };
  with("model_type", "brt");
  expect_failure(tokens_experiment(model), kConfiguration, {"brt", "bert"});
  with("num_attention_heads", 5);
  expect_failure(tokens_experiment(model), kData, {"config.json", "num_attention_heads"});
  with("num_hidden_layers", -1);
  expect_failure(tokens_experiment(model), kData, {"config.json", "num_hidden_layers"});
  with("hidden_size", "64");
  expect_failure(tokens_experiment(model), kData, {"config.json", "hidden_size"});
  with("vocab_size", 199);
  expect_failure(tokens_experiment(model), kData, {"word_embeddings", "[200, 64]", "[199, 64]"});
  with("hidden_act", "wish");
  expect_failure(tokens_experiment(model), kData, {"hidden_act", "wish"});
  folder_.write("model/config.json", "{\"model_type\": ");
  expect_failure(tokens_experiment(model), kData, {"config.json:1:"});
}

TEST_F(BadInput, ModelTensors) {
  const fs::path model = copy_model();
  const Parts good = split(read_file(tiny_model() / "model.safetensors"));
  const std::string query = "bert.encoder.layer.1.attention.self.query.weight";
  const auto write = [&](const Parts& parts) {
    folder_.write("model/model.safetensors", join(parts));
  };

  Parts missing = good;
  missing.header["something.else"] = missing.header[query];
  missing.header.erase(query);
  write(missing);
  expect_failure(tokens_experiment(model), kData, {query, "something.else", "missing"});

  Parts integers = good;
  integers.header[query]["dtype"] = "I32";
  write(integers);
  expect_failure(tokens_experiment(model), kData, {query});

  Parts shape = good;
  shape.header[query]["shape"] = {32, 128};
  write(shape);
  expect_failure(tokens_experiment(model), kData, {query, "[32, 128]", "[64, 64]"});

  Parts nan = good;
  const size_t begin = nan.header[query]["data_offsets"][0].get<size_t>();
  const float not_a_number = std::nanf("");
  std::memcpy(nan.data.data() + begin + 40, &not_a_number, sizeof not_a_number);
  write(nan);
  expect_failure(tokens_experiment(model), kData, {query, "NaN"});
}

// Headers and data cut, stretched and scrambled, with a fixed seed.
TEST_F(BadInput, DamagedModelFiles) {
  const fs::path model = copy_model();
  const std::string good = read_file(tiny_model() / "model.safetensors");
  folder_.write("damaged.yaml", tokens_experiment(model));
  std::mt19937 random(11);
  const auto below = [&](size_t limit) {
    return std::uniform_int_distribution<size_t>(0, limit - 1)(random);
  };
  uint64_t header_size = 0;
  std::memcpy(&header_size, good.data(), sizeof header_size);
  for (int i = 0; i < 24; ++i) {
    std::string bad = good;
    switch (i % 4) {
      case 0:
        bad.resize(i < 8 ? below(header_size + 8) : below(bad.size()));
        break;
      case 1:
        bad[below(8)] = static_cast<char>(1 + below(255));
        break;
      case 2:
        bad[8 + below(header_size)] = static_cast<char>(below(256));
        break;
      case 3:
        bad.insert(8 + below(header_size), 1 + below(9), "0123456789-,[]{}\""[below(17)]);
        break;
    }
    folder_.write("model/model.safetensors", bad);
    const ProgramResult result =
        quell({"check", "damaged.yaml", "--set", "task.evaluation_batches=[4]"});
    // A changed byte in a name's spelling or in spaces may still be a good file.
    EXPECT_TRUE(result.exit_code == kData || (result.exit_code == 0 && i % 4 != 0))
        << "case " << i << ": exit " << result.exit_code << ", signal " << result.signal << "\n"
        << result.errors;
    if (result.exit_code == kData) {
      EXPECT_THAT(result.errors, HasSubstr(model.string())) << "case " << i;
    }
  }
}

TEST_F(BadInput, TokensOutsideOfTheModel) {
  Parts parts = split(read_file(tiny_model() / "inputs.safetensors"));
  const size_t begin = parts.header["b4.input_ids"]["data_offsets"][0].get<size_t>();
  const int64_t unknown = 200;  // the vocabulary has 200 entries
  std::memcpy(parts.data.data() + begin, &unknown, sizeof unknown);
  folder_.write("inputs.safetensors", join(parts));
  expect_failure(edited((tiny_model() / "inputs.safetensors").string(),
                        (folder_ / "inputs.safetensors").string()),
                 kData, {"200"});
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
