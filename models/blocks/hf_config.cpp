#include "models/blocks/hf_config.h"

#include <fmt/format.h>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "framework/base/error.h"
#include "framework/io/checkpoint.h"
#include "framework/io/config_keys.h"

namespace quell {
namespace {

constexpr double kUsualDropout = 0.1, kUsualEpsilon = 1e-12;
// No size of a model is larger, and no model has more layers. Keeps nonsense from filling the
// memory.
constexpr int64_t kLargest = 10'000'000, kMostLayers = 1'000;

// What the configuration classes of Hugging Face transformers 5 have where a key is left out.
struct FamilyDefaults {
  std::string_view family;
  int64_t vocabulary, hidden, layers, heads, ffn, positions, token_types, pad;
  int64_t embedding;     // width of the token table; 0: hidden
  double fixed_epsilon;  // of all norms; 0: config.json has a key for it
  const char* nonlinearity = "gelu";
  double hidden_dropout = kUsualDropout;
};
constexpr FamilyDefaults kFamilies[] = {
    {"bert", 30522, 768, 12, 12, 3072, 512, 2, 0, 0, 0},
    {"roberta", 50265, 768, 12, 12, 3072, 512, 2, 1, 0, 0},
    {"distilbert", 30522, 768, 6, 12, 3072, 512, 0, 0, 0, 1e-12},
    {"electra", 30522, 256, 12, 4, 1024, 512, 2, 0, 128, 0},
    {"mobilebert", 30522, 512, 24, 4, 512, 512, 2, 0, 128, 0, "relu", 0},
};

const FamilyDefaults& defaults_of(std::string_view family) {
  const auto* found =
      std::find_if(std::begin(kFamilies), std::end(kFamilies),
                   [&](const FamilyDefaults& defaults) { return defaults.family == family; });
  QUELL_ASSERT(found != std::end(kFamilies), "a family with defaults");
  return *found;
}

// Other names of keys, which win (attribute_map of the library's classes).
struct OtherName {
  std::string_view key;
  const char* other;
};
constexpr OtherName kOtherNames[] = {
    {"dim", "hidden_size"},
    {"n_layers", "num_hidden_layers"},
    {"n_heads", "num_attention_heads"},
    {"d_model", "hidden_size"},
    {"encoder_layers", "num_hidden_layers"},
    {"encoder_attention_heads", "num_attention_heads"},
};

// Reads fields of one config.json.
class Reader {
 public:
  explicit Reader(const Checkpoint& checkpoint)
      : json_(checkpoint.config()), file_((checkpoint.folder() / "config.json").string()) {}

  // An integer in [least, most].
  int64_t integer(const char* key, int64_t least, int64_t fallback, int64_t most = kLargest) const {
    key = stored_name(key);
    const auto found = json_.find(key);
    if (found == json_.end()) return fallback;
    const bool is_small = found->is_number_integer() && found->dump().size() < 12;
    const auto value = is_small ? found->get<int64_t>() : least - 1;
    if (value < least || value > most) {
      throw DataError(fmt::format("{}: {}: expected an integer in [{}, {}], found {}", file_, key,
                                  least, most, found->dump()));
    }
    return value;
  }

  int64_t layers(const char* key, int64_t fallback) const {
    return integer(key, 1, fallback, kMostLayers);
  }

  // The same where null means that there is none.
  int64_t id(const char* key, int64_t fallback) const {
    const auto found = json_.find(key);
    return found == json_.end() || !found->is_null() ? integer(key, 0, fallback) : fallback;
  }

  double not_negative(const char* key, double fallback) const {
    const auto found = json_.find(key);
    if (found == json_.end()) return fallback;
    if (!found->is_number() || !(found->get<double>() >= 0)) {
      throw DataError(fmt::format("{}: {}: expected a number that is not negative, found {}", file_,
                                  key, found->dump()));
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

  Nonlinearity nonlinearity(const char* key, const char* fallback) const {
    return nonlinearity_from_name(text(key, fallback), file_, key);
  }

  // num_labels counts where it differs from the size of id2label.
  int64_t labels(int64_t fallback) const {
    const auto names = json_.find("id2label");
    const bool named = names != json_.end() && names->is_object() && !names->empty();
    const auto count = named ? static_cast<int64_t>(names->size()) : fallback;
    const auto said = json_.find("num_labels");
    return said == json_.end() || said->is_null() ? count : integer("num_labels", 1, count);
  }

 private:
  const char* stored_name(const char* key) const {
    for (const OtherName& name : kOtherNames) {
      if (name.key == key && json_.contains(name.other)) return name.other;
    }
    return key;
  }

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

HfEncoderConfig::HfEncoderConfig(const Checkpoint& checkpoint, std::string_view family,
                                 const EncoderKeys& keys) {
  check_config_keys(checkpoint, family);
  const FamilyDefaults& usual = defaults_of(family);
  const Reader reader(checkpoint);
  vocabulary_size = reader.integer("vocab_size", 1, usual.vocabulary);
  hidden = reader.integer(keys.hidden, 1, usual.hidden);
  layers = reader.layers(keys.layers, usual.layers);
  heads = reader.integer(keys.heads, 1, usual.heads);
  ffn = reader.integer(keys.ffn, 1, usual.ffn);
  max_positions = reader.integer("max_position_embeddings", 1, usual.positions);
  token_types = keys.token_types ? reader.integer("type_vocab_size", 1, usual.token_types) : 0;
  // Positions of RoBERTa are counted from it.
  pad_id = usual.family == "roberta" ? reader.integer("pad_token_id", 0, usual.pad)
                                     : reader.id("pad_token_id", usual.pad);
  norm_epsilon = usual.fixed_epsilon > 0 ? usual.fixed_epsilon
                                         : reader.not_negative("layer_norm_eps", kUsualEpsilon);
  nonlinearity = reader.nonlinearity(keys.nonlinearity, usual.nonlinearity);
  labels = reader.labels(2);
  dropout.hidden = reader.share(keys.dropout, usual.hidden_dropout);
  dropout.attention = reader.share(keys.attention_dropout, kUsualDropout);
  dropout.head = reader.share(keys.head_dropout, dropout.hidden);
  embedding = usual.embedding > 0 ? reader.integer("embedding_size", 1, usual.embedding) : hidden;
  if (family == "mobilebert") return;  // attention may be narrower, and tokens may be projected
  reader.check_heads(keys.heads, heads, keys.hidden, hidden);
}

HfEncoderDecoderConfig::HfEncoderDecoderConfig(const Checkpoint& checkpoint) {
  check_config_keys(checkpoint, "bart");
  const Reader reader(checkpoint);
  constexpr int64_t kVocabulary = 50265, kHidden = 1024, kLayers = 12, kHeads = 16, kFfn = 4096,
                    kPositions = 1024, kPad = 1, kEnd = 2, kStart = 2, kLabels = 3;
  vocabulary_size = reader.integer("vocab_size", 1, kVocabulary);
  hidden = reader.integer("d_model", 1, kHidden);
  encoder = {reader.layers("encoder_layers", kLayers),
             reader.integer("encoder_attention_heads", 1, kHeads),
             reader.integer("encoder_ffn_dim", 1, kFfn)};
  decoder = {reader.layers("decoder_layers", kLayers),
             reader.integer("decoder_attention_heads", 1, kHeads),
             reader.integer("decoder_ffn_dim", 1, kFfn)};
  max_positions = reader.integer("max_position_embeddings", 1, kPositions);
  pad_id = reader.id("pad_token_id", kPad);
  // Other heads leave it to generation, where there may be several.
  end_id = is_architecture(checkpoint, "ForSequenceClassification")
               ? reader.id("eos_token_id", kEnd)
               : kEnd;
  decoder_start_id = reader.id("decoder_start_token_id", kStart);
  labels = reader.labels(kLabels);
  scales_embeddings = reader.flag("scale_embedding", false);
  ties_head = reader.flag("tie_word_embeddings", true);
  nonlinearity = reader.nonlinearity("activation_function", "gelu");
  dropout.hidden = reader.share("dropout", kUsualDropout);
  dropout.attention = reader.share("attention_dropout", 0);
  dropout.activation = reader.share("activation_dropout", 0);
  dropout.head = reader.share("classifier_dropout", 0);
  reader.check_heads("encoder_attention_heads", encoder.heads, "d_model", hidden);
  reader.check_heads("decoder_attention_heads", decoder.heads, "d_model", hidden);
}

}  // namespace quell
