#include "framework/run/generation_defaults.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/io/json.h"

namespace quell {
namespace {

class Reader {
 public:
  Reader(std::string file, const nlohmann::json& json) : file_(std::move(file)), json_(json) {}

  void integer(const char* key, int64_t& target) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return;
    if (!value->is_number_integer()) fail(key, "an integer", *value);
    target = value->get<int64_t>();
  }

  // One id. Some models may end with several, of which only a single one is supported.
  void id(const char* key, int64_t& target) const {
    const nlohmann::json* value = find(key);
    if (value != nullptr && value->is_array() && value->size() == 1) value = &value->front();
    if (value == nullptr) return;
    if (!value->is_number_integer()) fail(key, "one token id", *value);
    target = value->get<int64_t>();
  }

  void number(const char* key, double& target) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return;
    if (!value->is_number()) fail(key, "a number", *value);
    target = value->get<double>();
  }

  void early_stopping(EarlyStopping& target) const {
    const nlohmann::json* value = find("early_stopping");
    if (value == nullptr) return;
    if (*value == true) {
      target = EarlyStopping::kTrue;
    } else if (*value == "never") {
      target = EarlyStopping::kNever;
    } else if (*value != false) {
      fail("early_stopping", "true, false or \"never\"", *value);
    }
  }

 private:
  // Null where the key is absent or null.
  const nlohmann::json* find(const char* key) const {
    const auto found = json_.find(key);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }

  [[noreturn]] void fail(const char* key, const char* expected, const nlohmann::json& found) const {
    throw DataError(
        fmt::format("{}: {}: expected {}, found {}", file_, key, expected, found.dump()));
  }

  std::string file_;
  const nlohmann::json& json_;
};

void read(const Reader& reader, GenerationOptions& options) {
  reader.integer("num_beams", options.num_beams);
  reader.integer("max_length", options.max_length);
  reader.integer("min_length", options.min_length);
  reader.integer("no_repeat_ngram_size", options.no_repeat_ngram_size);
  reader.number("length_penalty", options.length_penalty);
  reader.early_stopping(options.early_stopping);
  reader.id("decoder_start_token_id", options.decoder_start_token_id);
  reader.id("eos_token_id", options.eos_token_id);
  reader.id("pad_token_id", options.pad_token_id);
  reader.id("forced_bos_token_id", options.forced_bos_token_id);
  reader.id("forced_eos_token_id", options.forced_eos_token_id);
}

}  // namespace

GenerationOptions generation_defaults(const Checkpoint& checkpoint) {
  GenerationOptions options;
  const auto file = checkpoint.folder() / "generation_config.json";
  if (std::filesystem::exists(file)) {
    const nlohmann::json json = read_json_file(file);
    read(Reader(file.string(), json), options);
  } else {
    read(Reader((checkpoint.folder() / "config.json").string(), checkpoint.config()), options);
  }
  // Models without a start token of their own begin with the one that ends texts.
  if (options.decoder_start_token_id < 0) options.decoder_start_token_id = options.eos_token_id;
  return options;
}

}  // namespace quell
