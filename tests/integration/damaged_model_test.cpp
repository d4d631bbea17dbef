// Models and token files that are damaged or do not fit: every one is refused with its file, its
// tensor and the way out; none crashes the program.
#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>

#include "framework/base/file.h"
#include "framework/json/json.h"
#include "tests/support/bad_input.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

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

using DamagedModel = BadInput;

TEST_F(DamagedModel, ModelConfiguration) {
  const fs::path model = copy_model();
  const auto config = read_json_file(model / "config.json");
  const auto with = [&](const char* key, const nlohmann::json& value) {
    auto changed = config;
    changed[key] = value;
    folder_.write("model/config.json", changed.dump());
  };
  with("model_type", "bertt");
  expect_failure(tokens_experiment(model), kConfiguration, {"bertt", "\"bert\""});
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

TEST_F(DamagedModel, ModelTensors) {
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
TEST_F(DamagedModel, DamagedModelFiles) {
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

TEST_F(DamagedModel, TokensOutsideOfTheModel) {
  Parts parts = split(read_file(tiny_model() / "inputs.safetensors"));
  const size_t begin = parts.header["b4.input_ids"]["data_offsets"][0].get<size_t>();
  const int64_t unknown = 200;  // the vocabulary has 200 entries
  std::memcpy(parts.data.data() + begin, &unknown, sizeof unknown);
  folder_.write("inputs.safetensors", join(parts));
  expect_failure(edited((tiny_model() / "inputs.safetensors").string(),
                        (folder_ / "inputs.safetensors").string()),
                 kData, {"200"});
}

}  // namespace
}  // namespace quell
