// Every key that Hugging Face's configuration classes have, with several values: quell computes
// what transformers 5.24 computes, or refuses the folder with the key's name. tests/data/keys has
// the tiny models, the goldens and the script that made them.
#include <gmock/gmock.h>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <set>

#include "framework/base/error.h"
#include "framework/io/config_keys.h"
#include "framework/json/json.h"
#include "framework/model/generate.h"
#include "framework/run/generation_defaults.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"
#include "tests/support/temporary_folder.h"

namespace quell {
namespace {

using nlohmann::json;

std::filesystem::path folder_of(const std::string& model) { return test_data() / "keys" / model; }

const json& golden() {
  static const json golden = read_json_file(test_data() / "keys/keys.json");
  return golden;
}

json config_of(const std::string& model) {
  return read_json_file(folder_of(model) / "config.json");
}

// Without a key, `value` has several; or it is null, and nothing changes.
void change(json& object, const std::string& key, const json& value) {
  if (key.empty()) {
    if (value.is_object()) object.update(value);
    return;
  }
  if (value == golden()["removed"]) {
    object.erase(key);
  } else {
    object[key] = value;
  }
}

// A folder of a test's own whose weights are those of a tiny model.
void write_folder(const TemporaryFolder& folder, const std::string& model, const json& config) {
  folder.write("config.json", config.dump());
  std::filesystem::create_symlink(folder_of(model) / "model.safetensors",
                                  folder / "model.safetensors");
}

Batch batch_of(const json& sequences) {
  std::vector<TokenSequence> tokens;
  for (const json& ids : sequences) tokens.push_back({ids.get<std::vector<int64_t>>(), {}});
  return pack(tokens);
}

// The logits, [sequences, labels], of a language model those behind the last tokens; or the error.
struct Found {
  at::Tensor logits = {};
  std::string error = {};
};

Found logits_of(const std::string& model, const json& config) {
  const at::NoGradGuard no_gradients;
  const TemporaryFolder folder;
  write_folder(folder, model, config);
  try {
    QuantizedNetwork network(folder.path(), "{rules: []}");
    const Batch batch = batch_of(golden()["sequences"]);
    const at::Tensor logits = network.logits(batch, false, false);
    if (logits.size(0) == batch.sequences()) return {logits};
    const std::vector<int64_t> ends(batch.offsets.begin() + 1, batch.offsets.end());
    return {logits.index_select(0, at::tensor(ends, at::kLong).sub(1))};
  } catch (const DataError& error) {
    return {{}, error.what()};
  }
}

at::Tensor tensor_of(const json& rows) {
  std::vector<float> values;
  for (const json& row : rows) {
    for (const json& value : row) values.push_back(value.get<float>());
  }
  return at::tensor(values).view({static_cast<int64_t>(rows.size()), -1});
}

bool is_partly_supported(const std::string& key) {
  for (const KeyTable& table : config_key_tables()) {
    for (const KnownKey& known : table.keys) {
      if (known.name == key && known.status == KeyStatus::kOnly) return true;
    }
  }
  return false;
}

// Whether a folder that the library computes with may be refused like this: the key has values that
// are, or the weights have tensors that the library would leave aside.
bool is_refusal(const std::string& key, const std::string& error) {
  const auto has = [&](const std::string& text) { return error.find(text) != std::string::npos; };
  if (is_partly_supported(key)) return has(key);
  if (key == "rope_scaling" || key == "rope_parameters") return has(key + ".rope_type: expected");
  return has("the weights do not fit the model") && has("not expected: ") && !has("missing: ");
}

class ConfigKeys : public testing::TestWithParam<const char*> {};

TEST_P(ConfigKeys, ComputeWhatTheLibraryComputesOrRefuse) {
  const std::string model = GetParam();
  const json config = config_of(model);
  at::Tensor plain;
  int64_t compared = 0;
  std::set<std::string> moved;
  for (const json& one : golden()["logits"]) {
    if (one["model"] != model || one["logits"] == "refused") continue;
    const bool is_plain = one["logits"] == "unchanged";
    if (!plain.defined()) plain = tensor_of(one["logits"]);
    const at::Tensor expected = is_plain ? plain : tensor_of(one["logits"]);
    const auto key = one["key"].get<std::string>();
    const std::string shown = fmt::format("{}: {}", key, one["value"].dump());
    json changed = config;
    change(changed, key, one["value"]);
    const Found found = logits_of(model, changed);
    if (!found.error.empty()) {
      EXPECT_TRUE(is_refusal(key, found.error)) << shown << ": " << found.error;
      continue;
    }
    EXPECT_LE(max_difference(found.logits, expected), float_tolerance(expected)) << shown;
    ++compared;
    if (!is_plain) moved.insert(key);
  }
  RecordProperty("compared", static_cast<int>(compared));
  EXPECT_GE(compared, 90);
  EXPECT_GE(moved.size(), 2u);  // the function of the layers, and their heads
}

// What transformers cannot load is no reason to crash.
TEST_P(ConfigKeys, FoldersThatTheLibraryRefuses) {
  const std::string model = GetParam();
  for (const json& one : golden()["logits"]) {
    if (one["model"] != model || one["logits"] != "refused") continue;
    json changed = config_of(model);
    change(changed, one["key"].get<std::string>(), one["value"]);
    const Found found = logits_of(model, changed);
    EXPECT_TRUE(found.logits.defined() || !found.error.empty()) << one["key"];
  }
}

INSTANTIATE_TEST_SUITE_P(Families, ConfigKeys,
                         testing::Values("bert", "roberta", "distilbert", "electra", "bart",
                                         "mobilebert", "llama", "opt", "gpt2", "bloom", "gpt_neox"),
                         [](const auto& test) { return std::string(test.param); });

// The ids of all texts, those of one source together, or the error.
json texts_of(QuantizedNetwork& network, const std::string& file, const json& settings) {
  const TemporaryFolder folder;
  json config = config_of("writer");
  if (file == "config.json") {
    for (const KnownKey& key : generation_key_table().keys) config.erase(std::string(key.name));
    config.update(settings);
  } else {
    folder.write(file, settings.dump());
  }
  write_folder(folder, "writer", config);
  try {
    const Checkpoint checkpoint(folder.path());
    const GenerationOptions options =
        generation_defaults(checkpoint, network.model().max_positions());
    const auto written =
        generate(network.model(), batch_of(golden()["sources"]), options, network.pass());
    json texts = json::array();
    for (size_t i = 0; i < written.size(); ++i) {
      const auto wanted = static_cast<size_t>(options.num_return_sequences);
      if (i % wanted == 0) texts.push_back(json::array());
      texts.back().push_back(written[i].ids);
    }
    return texts;
  } catch (const Error& error) {
    return error.what();
  }
}

// Keys that are refused with a value for which the library writes the same texts as without it, or
// other ones.
const std::set<std::string> kRefused = {
    "do_sample",           "penalty_alpha",      "num_beam_groups",      "guidance_scale",
    "stop_strings",        "max_time",           "watermarking_config",  "constraints",
    "force_words_ids",     "dola_layers",        "is_assistant",         "use_mtp",
    "token_healing",       "forced_decoder_ids", "assistant_early_exit", "prompt_lookup_num_tokens",
    "cache_implementation"};

TEST(GenerationKeys, WriteWhatTheLibraryWritesOrAreRefused) {
  QuantizedNetwork network(folder_of("writer"), "{rules: []}");
  std::map<std::string, json> plain;
  int64_t compared = 0, moved = 0;
  for (const json& one : golden()["texts"]) {
    if (one["ids"] == "refused") continue;
    json settings = one["base"];
    for (const auto& [key, value] : one["change"].items()) change(settings, key, value);
    json& unchanged = plain[one["file"].get<std::string>() + one["base"].dump()];
    if (unchanged.is_null()) unchanged = one["ids"];
    const bool is_plain = one["ids"] == "unchanged";
    const json& expected = is_plain ? unchanged : one["ids"];
    const json found = texts_of(network, one["file"].get<std::string>(), settings);
    if (found.is_string()) {
      const bool refused = std::any_of(
          one["change"].items().begin(), one["change"].items().end(), [&](const auto& item) {
            return kRefused.count(item.key()) > 0 &&
                   found.get<std::string>().find(item.key()) != std::string::npos;
          });
      EXPECT_TRUE(refused) << one["change"].dump() << ": " << found.dump();
      continue;
    }
    EXPECT_EQ(found, expected) << one["file"] << " " << settings.dump();
    ++compared;
    moved += !is_plain;
  }
  RecordProperty("compared", static_cast<int>(compared));
  EXPECT_GE(compared, 300);
  EXPECT_GE(moved, 100);
}

TEST(GenerationKeys, RefusalsSayTheWayOut) {
  QuantizedNetwork network(folder_of("writer"), "{rules: []}");
  const json base = golden()["texts"][0]["base"];
  const auto refusal = [&](const std::string& key, const json& value) {
    json settings = base;
    change(settings, key, value);
    const json found = texts_of(network, "generation_config.json", settings);
    return found.is_string() ? found.get<std::string>() : "";
  };
  EXPECT_THAT(refusal("do_sample", true),
              testing::AllOf(testing::HasSubstr("generation_config.json: do_sample: found true"),
                             testing::HasSubstr("set it to false")));
  EXPECT_THAT(refusal("num_return_sequences", 2), testing::HasSubstr("num_return_sequences"));
  EXPECT_THAT(refusal("repetition_penalty", -1.0), testing::HasSubstr("repetition_penalty"));
  EXPECT_THAT(refusal("bad_words_ids", json::array({json::array({400})})),
              testing::HasSubstr("bad_words_ids"));
  EXPECT_THAT(refusal("sequence_bias", json::array({json::array({1, 2})})),
              testing::HasSubstr("sequence_bias"));
  EXPECT_THAT(refusal("max_length", 1'000'000'000), testing::HasSubstr("max_length"));
  EXPECT_THAT(refusal("max_length", 41), testing::HasSubstr("max_length"));
  json forced = base;
  forced["suppress_tokens"] = forced["forced_eos_token_id"] = json::array({2});
  EXPECT_THAT(texts_of(network, "generation_config.json", forced).dump(),
              testing::HasSubstr("suppress_tokens"));
  json nothing = base;
  nothing.erase("bos_token_id");
  nothing.erase("decoder_start_token_id");
  EXPECT_THAT(texts_of(network, "generation_config.json", nothing).dump(),
              testing::HasSubstr("decoder_start_token_id"));
}

TEST(ConfigKeyTables, NameEachKeyOnce) {
  for (const KeyTable& table : config_key_tables()) {
    std::set<std::string_view> names;
    for (const KnownKey& key : table.keys) {
      EXPECT_TRUE(names.insert(key.name).second) << table.title << ": " << key.name;
      if (key.status == KeyStatus::kHonoured) continue;
      EXPECT_FALSE(key.note.empty()) << table.title << ": " << key.name;
    }
  }
}

TEST(ConfigKeyTables, UnknownKeysAreNamedOnce) {
  const TemporaryFolder folder;
  json config = config_of("writer");
  config["num_experts"] = 8;
  config["length_penalty"] = 2.0;  // generation_config.json counts
  write_folder(folder, "writer", config);
  folder.write("generation_config.json", R"({"decoder_start_token_id": 2, "no_such_key": 1})");
  const Checkpoint checkpoint(folder.path());
  for (int i = 0; i < 2; ++i) {
    check_config_keys(checkpoint, "bart");
    generation_defaults(checkpoint, 40);
  }
  EXPECT_THAT(checkpoint.notes(),
              testing::ElementsAre(testing::HasSubstr("config.json: not known to quell and left "
                                                      "aside: num_experts"),
                                   testing::HasSubstr("aside: no_such_key"),
                                   testing::HasSubstr("length_penalty")));
}

// At most a thousand layers are asked for, and no file is read for more.
TEST(ConfigKeyTables, LayersAreCounted) {
  for (const char* key : {"encoder_layers", "decoder_layers"}) {
    json config = config_of("bart");
    config[key] = 1001;
    EXPECT_THAT(logits_of("bart", config).error,
                testing::HasSubstr("expected an integer in [1, 1000], found 1001"));
  }
}

}  // namespace
}  // namespace quell
