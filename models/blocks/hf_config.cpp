#include "models/blocks/hf_config.h"

#include <fmt/format.h>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "framework/base/error.h"
#include "framework/io/checkpoint.h"

namespace quell {
namespace {

constexpr double kUsualDropout = 0.1;
// No size of a model is larger. Keeps nonsense from filling the memory.
constexpr int64_t kLargest = 10'000'000;

// Reads fields of one config.json.
class Reader {
 public:
  explicit Reader(const Checkpoint& checkpoint)
      : json_(checkpoint.config()), file_((checkpoint.folder() / "config.json").string()) {}

  const std::string& file() const { return file_; }

  int64_t integer(const char* key, int64_t least, std::optional<int64_t> fallback = {}) const {
    const auto found = json_.find(key);
    if (found == json_.end() || found->is_null()) {
      if (fallback) return *fallback;
      throw DataError(fmt::format("{}: missing field \"{}\"", file_, key));
    }
    const auto value = found->is_number_integer() ? found->get<int64_t>() : least - 1;
    if (value < least || value > kLargest) {
      throw DataError(fmt::format("{}: {}: expected an integer in [{}, {}], found {}", file_, key,
                                  least, kLargest, found->dump()));
    }
    return value;
  }

  double positive(const char* key, double fallback) const {
    const auto found = json_.find(key);
    if (found == json_.end()) return fallback;
    if (!found->is_number() || !(found->get<double>() > 0)) {
      throw DataError(
          fmt::format("{}: {}: expected a positive number, found {}", file_, key, found->dump()));
    }
    return found->get<double>();
  }

  double share(const char* key, double fallback) const {
    const auto found = json_.find(key);
    if (found == json_.end() || found->is_null()) return fallback;
    if (!found->is_number() || found->get<double>() < 0 || found->get<double>() >= 1) {
      throw DataError(
          fmt::format("{}: {}: expected a number in [0, 1), found {}", file_, key, found->dump()));
    }
    return found->get<double>();
  }

  std::string text(const char* key, const std::string& fallback) const {
    const auto found = json_.find(key);
    if (found == json_.end() || found->is_null()) return fallback;
    if (!found->is_string()) {
      throw DataError(fmt::format("{}: {}: expected a text, found {}", file_, key, found->dump()));
    }
    return found->get<std::string>();
  }

  bool flag(const char* key, bool fallback) const {
    const auto found = json_.find(key);
    if (found == json_.end() || found->is_null()) return fallback;
    if (!found->is_boolean()) {
      throw DataError(
          fmt::format("{}: {}: expected true or false, found {}", file_, key, found->dump()));
    }
    return found->get<bool>();
  }

  void check_heads(const char* key, int64_t heads, const char* hidden_key, int64_t hidden) const {
    if (hidden % heads == 0) return;
    throw DataError(
        fmt::format("{}: {} {} is not a multiple of {} {}", file_, hidden_key, hidden, key, heads));
  }

  // Hugging Face stores the number of labels as the size of id2label.
  int64_t labels(int64_t fallback) const {
    const auto names = json_.find("id2label");
    if (names != json_.end() && names->is_object() && !names->empty()) {
      return static_cast<int64_t>(names->size());
    }
    return integer("num_labels", 1, fallback);
  }

 private:
  const nlohmann::json& json_;
  std::string file_;
};

}  // namespace

bool is_architecture(const Checkpoint& checkpoint, std::string_view ending) {
  const auto found = checkpoint.config().find("architectures");
  if (found == checkpoint.config().end() || !found->is_array()) return false;
  return std::any_of(found->begin(), found->end(), [&](const nlohmann::json& name) {
    return name.is_string() && name.get_ref<const std::string&>().ends_with(ending);
  });
}

HfEncoderConfig::HfEncoderConfig(const Checkpoint& checkpoint, const EncoderKeys& keys) {
  const Reader reader(checkpoint);
  vocabulary_size = reader.integer("vocab_size", 1);
  hidden = reader.integer(keys.hidden, 1);
  layers = reader.integer(keys.layers, 1);
  heads = reader.integer(keys.heads, 1);
  ffn = reader.integer(keys.ffn, 1);
  max_positions = reader.integer("max_position_embeddings", 1);
  token_types = keys.token_types ? reader.integer("type_vocab_size", 1, 2) : 0;
  pad_id = reader.integer("pad_token_id", 0, 0);
  norm_epsilon = reader.positive("layer_norm_eps", 1e-12);
  nonlinearity = nonlinearity_from_name(reader.text(keys.nonlinearity, "gelu"), reader.file());
  labels = reader.labels(2);
  dropout.hidden = reader.share(keys.dropout, kUsualDropout);
  dropout.attention = reader.share(keys.attention_dropout, kUsualDropout);
  dropout.head = reader.share(keys.head_dropout, dropout.hidden);
  reader.check_heads(keys.heads, heads, keys.hidden, hidden);
  const int64_t embedded = reader.integer("embedding_size", 1, hidden);
  if (embedded != hidden) {
    throw DataError(
        fmt::format("{}: embedding_size {} differs from {} {}; embeddings that are projected are "
                    "not supported",
                    reader.file(), embedded, keys.hidden, hidden));
  }
  const std::string positions = reader.text("position_embedding_type", "absolute");
  if (positions != "absolute") {
    throw DataError(
        fmt::format("{}: position_embedding_type \"{}\" is not supported; expected "
                    "\"absolute\"",
                    reader.file(), positions));
  }
}

HfEncoderDecoderConfig::HfEncoderDecoderConfig(const Checkpoint& checkpoint) {
  const Reader reader(checkpoint);
  vocabulary_size = reader.integer("vocab_size", 1);
  hidden = reader.integer("d_model", 1);
  encoder = {reader.integer("encoder_layers", 1), reader.integer("encoder_attention_heads", 1),
             reader.integer("encoder_ffn_dim", 1)};
  decoder = {reader.integer("decoder_layers", 1), reader.integer("decoder_attention_heads", 1),
             reader.integer("decoder_ffn_dim", 1)};
  max_positions = reader.integer("max_position_embeddings", 1);
  pad_id = reader.integer("pad_token_id", 0, 1);
  end_id = reader.integer("eos_token_id", 0, 2);
  decoder_start_id = reader.integer("decoder_start_token_id", 0, end_id);
  constexpr int64_t kUsualLabels = 3;
  labels = reader.labels(kUsualLabels);
  scales_embeddings = reader.flag("scale_embedding", false);
  nonlinearity = nonlinearity_from_name(reader.text("activation_function", "gelu"), reader.file());
  dropout.hidden = reader.share("dropout", kUsualDropout);
  dropout.attention = reader.share("attention_dropout", 0);
  dropout.activation = reader.share("activation_dropout", 0);
  dropout.head = reader.share("classifier_dropout", 0);
  reader.check_heads("encoder_attention_heads", encoder.heads, "d_model", hidden);
  reader.check_heads("decoder_attention_heads", decoder.heads, "d_model", hidden);
  if (reader.flag("normalize_before", false)) {
    throw DataError(
        fmt::format("{}: normalize_before is true: a model with norms in front of its blocks is no "
                    "BART; expected false",
                    reader.file()));
  }
}

}  // namespace quell
