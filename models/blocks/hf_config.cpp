#include "models/blocks/hf_config.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <optional>

#include "framework/base/error.h"
#include "framework/io/checkpoint.h"

namespace quell {
namespace {

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

  // Hugging Face stores the number of labels as the size of id2label; the default is two.
  int64_t labels() const {
    const auto names = json_.find("id2label");
    if (names != json_.end() && names->is_object() && !names->empty()) {
      return static_cast<int64_t>(names->size());
    }
    return integer("num_labels", 1, 2);
  }

 private:
  const nlohmann::json& json_;
  std::string file_;
};

}  // namespace

HfEncoderConfig::HfEncoderConfig(const Checkpoint& checkpoint) {
  const Reader reader(checkpoint);
  vocabulary_size = reader.integer("vocab_size", 1);
  hidden = reader.integer("hidden_size", 1);
  layers = reader.integer("num_hidden_layers", 1);
  heads = reader.integer("num_attention_heads", 1);
  ffn = reader.integer("intermediate_size", 1);
  max_positions = reader.integer("max_position_embeddings", 1);
  token_types = reader.integer("type_vocab_size", 1, 2);
  pad_id = reader.integer("pad_token_id", 0, 0);
  norm_epsilon = reader.positive("layer_norm_eps", 1e-12);
  nonlinearity = nonlinearity_from_name(reader.text("hidden_act", "gelu"), reader.file());
  labels = reader.labels();
  constexpr double kUsualDropout = 0.1;
  dropout.hidden = reader.share("hidden_dropout_prob", kUsualDropout);
  dropout.attention = reader.share("attention_probs_dropout_prob", kUsualDropout);
  dropout.head = reader.share("classifier_dropout", dropout.hidden);
  if (hidden % heads != 0) {
    throw DataError(fmt::format("{}: hidden_size {} is not a multiple of num_attention_heads {}",
                                reader.file(), hidden, heads));
  }
  const std::string positions = reader.text("position_embedding_type", "absolute");
  if (positions != "absolute") {
    throw DataError(
        fmt::format("{}: position_embedding_type \"{}\" is not supported; expected "
                    "\"absolute\"",
                    reader.file(), positions));
  }
}

}  // namespace quell
