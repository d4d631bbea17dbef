#include "framework/run/generation_defaults.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/io/config_keys.h"
#include "framework/json/json.h"

namespace quell {
namespace {

using nlohmann::json;

// No length, size or id is larger.
constexpr int64_t kLargest = 10'000'000;

class Reader {
 public:
  Reader(std::string file, const json& values) : file_(std::move(file)), values_(values) {}

  void integer(const char* key, int64_t least, int64_t& target) const {
    const json* value = find(key);
    if (value != nullptr) target = whole(key, least, *value);
  }

  void integer(const char* key, int64_t least, std::optional<int64_t>& target) const {
    const json* value = find(key);
    if (value != nullptr) target = whole(key, least, *value);
  }

  // One id, also in a list of its own.
  void id(const char* key, int64_t& target) const {
    const json* value = find(key);
    if (value != nullptr && value->is_array() && value->size() == 1) value = &value->front();
    if (value != nullptr) target = whole(key, 0, *value);
  }

  // A list of ids, or a single one.
  void ids(const char* key, std::vector<int64_t>& target, int64_t least = 0) const {
    const json* value = find(key);
    if (value != nullptr)
      target = list(key, value->is_array() ? *value : json::array({*value}), least);
  }

  void number(const char* key, double& target, bool positive = false) const {
    const json* value = find(key);
    if (value == nullptr) return;
    if (!value->is_number()) fail(key, "a number", *value);
    target = value->get<double>();
    if (positive && !(target > 0)) fail(key, "a number above 0", *value);
  }

  void flag(const char* key, bool& target) const {
    const json* value = find(key);
    if (value == nullptr) return;
    if (!value->is_boolean()) fail(key, "true or false", *value);
    target = value->get<bool>();
  }

  void early_stopping(EarlyStopping& target) const {
    const json* value = find("early_stopping");
    if (value == nullptr) return;
    if (*value == true) {
      target = EarlyStopping::kTrue;
    } else if (*value == "never") {
      target = EarlyStopping::kNever;
    } else if (*value != false) {
      fail("early_stopping", "true, false or \"never\"", *value);
    }
  }

  // A word that is a token which ends texts stays allowed.
  void bad_words(const std::vector<int64_t>& ends,
                 std::vector<std::vector<int64_t>>& target) const {
    constexpr const char* kKey = "bad_words_ids";
    const json* value = find(kKey);
    if (value == nullptr) return;
    if (!value->is_array()) fail(kKey, "a list of lists of token ids", *value);
    for (const json& word : *value) {
      std::vector<int64_t> tokens = list(kKey, word, 0);
      if (tokens.empty()) fail(kKey, "words of at least one token", *value);
      const bool is_end =
          tokens.size() == 1 && std::find(ends.begin(), ends.end(), tokens.front()) != ends.end();
      if (!is_end) target.push_back(std::move(tokens));
    }
  }

  // The last of several biases of the same tokens counts.
  void sequence_bias(std::vector<SequenceBias>& target) const {
    constexpr const char* kKey = "sequence_bias";
    constexpr const char* kExpected = "a list of pairs such as [[5, 7], -1.5]";
    const json* value = find(kKey);
    if (value == nullptr) return;
    if (!value->is_array()) fail(kKey, kExpected, *value);
    for (const json& pair : *value) {
      if (!pair.is_array() || pair.size() != 2 || !pair[1].is_number()) {
        fail(kKey, kExpected, pair);
      }
      SequenceBias one{list(kKey, pair[0], 0), pair[1].get<float>()};
      if (one.tokens.empty()) fail(kKey, kExpected, pair);
      const auto same = std::find_if(target.begin(), target.end(), [&](const SequenceBias& other) {
        return other.tokens == one.tokens;
      });
      if (same == target.end()) {
        target.push_back(std::move(one));
      } else {
        same->bias = one.bias;
      }
    }
  }

  void length_decay(std::optional<LengthDecay>& target) const {
    constexpr const char* kKey = "exponential_decay_length_penalty";
    const json* value = find(kKey);
    if (value == nullptr) return;
    if (!value->is_array() || value->size() != 2 || !(*value)[1].is_number()) {
      fail(kKey, "a number of tokens and a factor such as [30, 1.05]", *value);
    }
    target = LengthDecay{whole(kKey, -kLargest, (*value)[0]), (*value)[1].get<double>()};
  }

  [[noreturn]] void fail(const char* key, const char* expected, const json& found) const {
    throw DataError(
        fmt::format("{}: {}: expected {}, found {}", file_, key, expected, found.dump()));
  }

 private:
  // Null where the key is absent or null.
  const json* find(const char* key) const {
    const auto found = values_.find(key);
    return found == values_.end() || found->is_null() ? nullptr : &*found;
  }

  int64_t whole(const char* key, int64_t least, const json& value) const {
    const bool is_whole = value.is_number_integer() && value.dump().size() < 12;
    const int64_t number = is_whole ? value.get<int64_t>() : least - 1;
    if (number < least || number > kLargest) {
      throw DataError(fmt::format("{}: {}: expected whole numbers in [{}, {}], found {}", file_,
                                  key, least, kLargest, value.dump()));
    }
    return number;
  }

  std::vector<int64_t> list(const char* key, const json& values, int64_t least) const {
    if (!values.is_array()) fail(key, "a list of token ids", values);
    std::vector<int64_t> result;
    for (const json& value : values) result.push_back(whole(key, least, value));
    return result;
  }

  std::string file_;
  const json& values_;
};

void read_lengths(const Reader& reader, int64_t max_positions, GenerationOptions& options) {
  constexpr int64_t kUsualLength = 20;  // behind the decoder's first token
  options.max_length = std::min(kUsualLength + 1, max_positions);
  reader.integer("max_length", 2, options.max_length);
  reader.integer("max_new_tokens", 1, options.max_new_tokens);
  reader.integer("min_length", 0, options.min_length);
  reader.integer("min_new_tokens", 0, options.min_new_tokens);
}

void read_tokens(const Reader& reader, GenerationOptions& options) {
  reader.id("pad_token_id", options.pad_token_id);
  reader.ids("eos_token_id", options.eos_token_id);
  reader.ids("forced_eos_token_id", options.forced_eos_token_id);
  reader.id("forced_bos_token_id", options.forced_bos_token_id);
  int64_t begin = -1;
  bool forces_begin = false, is_old = false;
  reader.id("bos_token_id", begin);
  reader.flag("force_bos_token_to_be_generated", forces_begin);
  reader.flag("_from_model_config", is_old);
  if (forces_begin && is_old) options.forced_bos_token_id = begin;
  options.decoder_start_token_id = begin;
  reader.id("decoder_start_token_id", options.decoder_start_token_id);
}

void read_rules(const Reader& reader, GenerationOptions& options) {
  reader.sequence_bias(options.sequence_bias);
  reader.number("encoder_repetition_penalty", options.encoder_repetition_penalty, true);
  reader.number("repetition_penalty", options.repetition_penalty, true);
  reader.integer("no_repeat_ngram_size", 0, options.no_repeat_ngram_size);
  reader.integer("encoder_no_repeat_ngram_size", 0, options.encoder_no_repeat_ngram_size);
  reader.bad_words(options.eos_token_id, options.bad_words_ids);
  reader.flag("remove_invalid_values", options.remove_invalid_values);
  reader.length_decay(options.exponential_decay_length_penalty);
  // -1 and ids that the model does not have suppress nothing.
  reader.ids("suppress_tokens", options.suppress_tokens, -1);
  reader.ids("begin_suppress_tokens", options.begin_suppress_tokens, -1);
  reader.flag("renormalize_logits", options.renormalize_logits);
}

// Forcing what is suppressed would leave nothing to write.
void check_forced(const std::string& file, const GenerationOptions& options) {
  const auto& suppressed = options.suppress_tokens;
  const auto check = [&](const char* key, const std::vector<int64_t>& forced) {
    const bool all = std::all_of(forced.begin(), forced.end(), [&](int64_t token) {
      return std::find(suppressed.begin(), suppressed.end(), token) != suppressed.end();
    });
    if (forced.empty() || !all) return;
    throw DataError(fmt::format("{}: {}: {} is in suppress_tokens, too; remove it from one of them",
                                file, key, fmt::join(forced, ", ")));
  };
  check("forced_eos_token_id", options.forced_eos_token_id);
  if (options.forced_bos_token_id >= 0) check("forced_bos_token_id", {options.forced_bos_token_id});
}

GenerationOptions read(const std::string& file, const json& values, int64_t max_positions,
                       bool needs_start) {
  const Reader reader(file, values);
  GenerationOptions options;
  read_lengths(reader, max_positions, options);
  read_tokens(reader, options);
  read_rules(reader, options);
  reader.integer("num_beams", 1, options.num_beams);
  reader.integer("num_return_sequences", 1, options.num_return_sequences);
  reader.number("length_penalty", options.length_penalty);
  reader.early_stopping(options.early_stopping);
  check_forced(file, options);
  if (options.decoder_start_token_id < 0 && needs_start) {
    throw DataError(fmt::format(
        "{}: neither decoder_start_token_id nor bos_token_id: with which token does a text begin?",
        file));
  }
  return options;
}

// The keys of generation in a config.json.
json generation_keys_of(const json& config) {
  json values = json::object();
  for (const KnownKey& key : generation_key_table().keys) {
    const auto found = config.find(key.name);
    if (found != config.end()) values[std::string(key.name)] = *found;
  }
  values["_from_model_config"] = true;
  return values;
}

// Keys of config.json that generation_config.json overrules. Tokens and what the library's own
// classes set are in both as a rule.
void note_overruled(const Checkpoint& checkpoint, const json& values) {
  const json others = generation_keys_of(checkpoint.config());
  std::vector<std::string> keys;
  for (const KnownKey& key : generation_key_table().keys) {
    const std::string name(key.name);
    const auto found = others.find(name);
    const bool counts = key.status != KeyStatus::kNoEffect && !name.starts_with('_');
    if (!counts || found == others.end() || found->is_null()) continue;
    if (!values.contains(name) || values[name] != *found) keys.push_back(name);
  }
  if (keys.empty()) return;
  checkpoint.note(fmt::format(
      "{}: {} of config.json have no effect on texts: what generation_config.json says or leaves "
      "out counts",
      checkpoint.folder().string(), fmt::join(keys, ", ")));
}

}  // namespace

GenerationOptions generation_defaults(const Checkpoint& checkpoint, int64_t max_positions,
                                      bool needs_start) {
  const auto path = checkpoint.folder() / "generation_config.json";
  const bool exists = std::filesystem::exists(path);
  const std::string file = (exists ? path : checkpoint.folder() / "config.json").string();
  const json values = exists ? read_json_file(path) : generation_keys_of(checkpoint.config());
  std::vector<std::string> notes;
  check_keys(values, {generation_key_table()}, file, notes);
  for (std::string& note : notes) checkpoint.note(std::move(note));
  if (exists) note_overruled(checkpoint, values);
  return read(file, values, max_positions, needs_start);
}

}  // namespace quell
