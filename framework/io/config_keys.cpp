#include "framework/io/config_keys.h"

#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "framework/base/error.h"
#include "framework/io/checkpoint.h"

namespace quell {
namespace {

using enum KeyStatus;

constexpr std::string_view kOrigin = "says where the folder comes from";
constexpr std::string_view kOutputs = "what else the library returns";
constexpr std::string_view kTraining = "the library's training; quell trains without it";
constexpr std::string_view kTokens = "the tokenizer's files decide";
constexpr std::string_view kSpeed = "how the library computes, not what";
constexpr std::string_view kNever = "no result depends on it in this family";
constexpr std::string_view kDecoder =
    "quell runs this family as an encoder only; set it to false if the model was trained so";
constexpr std::string_view kQuantized =
    "take the folder from before it was quantized: quell quantizes it itself";
constexpr std::string_view kRelative =
    "relative positions are not supported; use a model with absolute ones";
constexpr std::string_view kBartOnly =
    "such a model is no BART; use one with norms behind its blocks and learned positions";
constexpr std::string_view kInitial =
    "where model.head starts a new head: how wide its weights are";

constexpr KnownKey kCommon[] = {
    {"model_type", kHonoured, "", "which model it is, unless model.type says so"},
    {"architectures", kHonoured, "", "which head"},
    {"id2label", kHonoured, "", "how many labels, and their names"},
    {"label2id", kHonoured, "", "their names where there is no id2label"},
    {"num_labels", kHonoured, "", "without it and id2label, the stored head decides"},
    {"_num_labels", kNoEffect, "", "an old name that the library reads no more"},
    {"problem_type", kNoEffect, "", "the task decides"},
    {"dtype", kNoEffect, "", "quell computes in float32"},
    {"torch_dtype", kNoEffect, "", "quell computes in float32"},
    {"use_bfloat16", kNoEffect, "", "quell computes in float32"},
    {"quantization_config", kOnly, "[null]", kQuantized},
    {"transformers_weights", kOnly, R"([null, "model.safetensors"])",
     "rename the file to model.safetensors and remove the key"},
    {"pruned_heads", kOnly, "[null, {}]", "store the model without the heads that were removed"},
    {"tie_encoder_decoder", kOnly, "[null, false]", "store both stacks"},
    {"add_cross_attention", kOnly, "[null, false]", kDecoder},
    {"cross_attention_hidden_size", kNoEffect, "", "there is no such attention"},
    {"per_layer_config", kOnly, "[null, {}]", "all layers have the same settings here"},
    {"chunk_size_feed_forward", kNoEffect, "", kSpeed},
    {"use_cache", kNoEffect, "", kSpeed},
    {"gradient_checkpointing", kNoEffect, "", kSpeed},
    {"torchscript", kNoEffect, "", kSpeed},
    {"tf_legacy_loss", kNoEffect, "", kTraining},
    {"attn_implementation", kNoEffect, "", kSpeed},
    {"experts_implementation", kNoEffect, "", kSpeed},
    {"_attn_implementation*", kNoEffect, "", kSpeed},
    {"_experts_implementation*", kNoEffect, "", kSpeed},
    {"output_attentions", kNoEffect, "", kOutputs},
    {"output_hidden_states", kNoEffect, "", kOutputs},
    {"output_past", kNoEffect, "", kOutputs},
    {"return_dict", kNoEffect, "", kOutputs},
    {"tie_last_hidden_states", kNoEffect, "", kOutputs},
    {"tokenizer_class", kNoEffect, "", kTokens},
    {"prefix", kNoEffect, "", "for pipelines of the library; task.source_prefix puts one in front"},
    {"task_specific_params", kNoEffect, "",
     "for pipelines of the library, not for generate(); say it in the experiment"},
    {"bos_token_id", kNoEffect, "", kTokens},
    {"sep_token_id", kNoEffect, "", kTokens},
    {"finetuning_task", kNoEffect, "", kOrigin},
    {"transformers_version", kNoEffect, "", kOrigin},
    {"_name_or_path", kNoEffect, "", kOrigin},
    {"name_or_path", kNoEffect, "", kOrigin},
    {"_commit_hash", kNoEffect, "", kOrigin},
    {"auto_map", kNoEffect, "", "the library runs its own code for these families, too"},
};

// BERT, RoBERTa, ELECTRA and MobileBERT.
constexpr KnownKey kEncoder[] = {
    {"vocab_size", kHonoured},
    {"hidden_size", kHonoured},
    {"num_hidden_layers", kHonoured, "", "at most 1,000"},
    {"num_attention_heads", kHonoured},
    {"intermediate_size", kHonoured},
    {"hidden_act", kHonoured, "", "all names of the library but prelu and xielu"},
    {"max_position_embeddings", kHonoured},
    {"type_vocab_size", kHonoured},
    {"layer_norm_eps", kHonoured},
    {"pad_token_id", kHonoured, "", "where positions of RoBERTa begin"},
    {"hidden_dropout_prob", kHonoured, "", "in training"},
    {"attention_probs_dropout_prob", kHonoured, "", "in training"},
    {"classifier_dropout", kHonoured, "", "in training"},
    {"initializer_range", kHonoured, "", kInitial},
    {"is_decoder", kOnly, "[false]", kDecoder},
    {"is_encoder_decoder", kNoEffect, "", kNever},
    {"position_embedding_type", kOnly, R"([null, "absolute"])", kRelative},
    {"tie_word_embeddings", kNoEffect, "", "no head reads the table"},
    {"eos_token_id", kNoEffect, "", kTokens},
    {"layerdrop", kNoEffect, "", kTraining},
};

constexpr KnownKey kElectra[] = {
    {"embedding_size", kHonoured, "", "128 where it is left out"},
    {"summary_type", kNoEffect, "", "for multiple choice alone"},
    {"summary_use_proj", kNoEffect, "", "for multiple choice alone"},
    {"summary_activation", kNoEffect, "", "for multiple choice alone"},
    {"summary_last_dropout", kNoEffect, "", "for multiple choice alone"},
};

constexpr KnownKey kMobileBert[] = {
    {"embedding_size", kHonoured},
    {"trigram_input", kHonoured},
    {"use_bottleneck", kHonoured},
    {"intra_bottleneck_size", kHonoured},
    {"use_bottleneck_attention", kHonoured},
    {"key_query_shared_bottleneck", kHonoured},
    {"num_feedforward_networks", kHonoured},
    {"normalization_type", kHonoured, "", "no_norm or layer_norm"},
    {"classifier_activation", kHonoured},
    {"true_hidden_size", kHonoured, "", "must be what follows from use_bottleneck"},
};

constexpr KnownKey kDistilBert[] = {
    {"vocab_size", kHonoured},
    {"dim", kHonoured},
    {"hidden_size", kHonoured, "", "another name of dim; it wins where both are there"},
    {"n_layers", kHonoured, "", "at most 1,000"},
    {"num_hidden_layers", kHonoured, "", "another name of n_layers; it wins"},
    {"n_heads", kHonoured},
    {"num_attention_heads", kHonoured, "", "another name of n_heads; it wins"},
    {"hidden_dim", kHonoured},
    {"activation", kHonoured, "", "all names of the library but prelu and xielu"},
    {"max_position_embeddings", kHonoured},
    {"pad_token_id", kHonoured},
    {"dropout", kHonoured, "", "in training"},
    {"attention_dropout", kHonoured, "", "in training"},
    {"qa_dropout", kHonoured, "", "in training"},
    {"seq_classif_dropout", kHonoured, "", "in training"},
    {"initializer_range", kHonoured, "", kInitial},
    {"sinusoidal_pos_embds", kNoEffect, "", "the table of positions is stored"},
    {"layer_norm_eps", kNoEffect, "", "this family always has 1e-12"},
    {"tie_weights_", kNoEffect, "", kNever},
    {"tie_word_embeddings", kNoEffect, "", "no head reads the table"},
    {"eos_token_id", kNoEffect, "", kTokens},
    {"is_decoder", kNoEffect, "", kNever},
    {"is_encoder_decoder", kNoEffect, "", kNever},
};

constexpr KnownKey kBart[] = {
    {"vocab_size", kHonoured},
    {"d_model", kHonoured},
    {"hidden_size", kHonoured, "", "another name of d_model; it wins where both are there"},
    {"encoder_layers", kHonoured, "", "at most 1,000"},
    {"num_hidden_layers", kHonoured, "", "another name of encoder_layers; it wins"},
    {"encoder_attention_heads", kHonoured},
    {"num_attention_heads", kHonoured, "", "another name of encoder_attention_heads; it wins"},
    {"encoder_ffn_dim", kHonoured},
    {"decoder_layers", kHonoured, "", "at most 1,000"},
    {"decoder_attention_heads", kHonoured},
    {"decoder_ffn_dim", kHonoured},
    {"activation_function", kHonoured, "", "all names of the library but prelu and xielu"},
    {"max_position_embeddings", kHonoured},
    {"scale_embedding", kHonoured},
    {"pad_token_id", kHonoured},
    {"eos_token_id", kHonoured, "", "the token that a classifier reads"},
    {"decoder_start_token_id", kHonoured, "", "of classifiers; see generation_config.json"},
    {"dropout", kHonoured, "", "in training"},
    {"attention_dropout", kHonoured, "", "in training"},
    {"activation_dropout", kHonoured, "", "in training"},
    {"classifier_dropout", kHonoured, "", "in training"},
    {"init_std", kNoEffect, "", "how the library draws new weights"},
    {"initializer_range", kHonoured, "", kInitial},
    {"tie_word_embeddings", kHonoured, "", "false: lm_head.weight must be stored"},
    {"classif_dropout", kNoEffect, "", "an old name that the library reads no more"},
    {"encoder_layerdrop", kNoEffect, "", kTraining},
    {"decoder_layerdrop", kNoEffect, "", kTraining},
    {"is_decoder", kNoEffect, "", "the library sets it itself for each stack"},
    {"is_encoder_decoder", kOnly, "[null, true]", "a BART without its encoder is not supported"},
    {"normalize_before", kOnly, "[null, false]", kBartOnly},
    {"normalize_embedding", kOnly, "[null, true]", kBartOnly},
    {"add_final_layer_norm", kOnly, "[null, false]", kBartOnly},
    {"static_position_embeddings", kOnly, "[null, false]", kBartOnly},
    {"extra_pos_embeddings", kNoEffect, "", "the table of positions always has two rows more"},
    {"add_bias_logits", kNoEffect, "", "final_logits_bias counts where it is stored"},
    {"decoder", kOnly, "[null]", "settings belong beside the others, not into a part of the file"},
    {"generator", kOnly, "[null]",
     "settings belong beside the others, not into a part of the file"},
    {"text_config", kOnly, "[null]",
     "settings belong beside the others, not into a part of the file"},
};

constexpr std::string_view kFirstWeights = "where the library draws new weights; all are stored";
constexpr std::string_view kFrequencies =
    "rotary frequencies; the kinds default, linear, dynamic and llama3";
constexpr std::string_view kScaling = "an earlier name of rope_parameters; it wins";

// Decoders that are language models: what all of them have, and each family.
constexpr KnownKey kLanguageModel[] = {
    {"vocab_size", kHonoured},
    {"tie_word_embeddings", kHonoured},
    {"pad_token_id", kHonoured, "", "what fills batches; no result depends on it"},
    {"eos_token_id", kNoEffect, "", kTokens},
    {"is_decoder", kNoEffect, "", kNever},
    {"is_encoder_decoder", kOnly, "[null, false]", "this family has one stack"},
};

constexpr KnownKey kLlama[] = {
    {"hidden_size", kHonoured},
    {"num_hidden_layers", kHonoured},
    {"num_attention_heads", kHonoured},
    {"num_key_value_heads", kHonoured},
    {"head_dim", kHonoured},
    {"intermediate_size", kHonoured},
    {"hidden_act", kHonoured, "", "all names of the library but prelu and xielu"},
    {"max_position_embeddings", kHonoured},
    {"rms_norm_eps", kHonoured},
    {"rope_parameters", kHonoured, "", kFrequencies},
    {"rope_scaling", kHonoured, "", kScaling},
    {"rope_theta", kHonoured},
    {"partial_rotary_factor", kNoEffect, "", "all features of a head turn"},
    {"attention_bias", kHonoured},
    {"mlp_bias", kHonoured},
    {"attention_dropout", kHonoured, "", "in training"},
    {"initializer_range", kNoEffect, "", kFirstWeights},
    {"pretraining_tp", kNoEffect, "", kSpeed},
};

constexpr KnownKey kOpt[] = {
    {"hidden_size", kHonoured},
    {"word_embed_proj_dim", kHonoured},
    {"num_hidden_layers", kHonoured},
    {"num_attention_heads", kHonoured},
    {"ffn_dim", kHonoured},
    {"activation_function", kHonoured, "", "all names of the library but prelu and xielu"},
    {"max_position_embeddings", kHonoured},
    {"do_layer_norm_before", kHonoured},
    {"_remove_final_layer_norm", kHonoured},
    {"enable_bias", kHonoured},
    {"layer_norm_elementwise_affine", kOnly, "[null, true]",
     "norms without parameters are unknown"},
    {"dropout", kHonoured, "", "in training"},
    {"attention_dropout", kHonoured, "", "in training"},
    {"activation_dropout", kNoEffect, "", kTraining},
    {"layerdrop", kNoEffect, "", kTraining},
    {"init_std", kNoEffect, "", kFirstWeights},
};

constexpr KnownKey kGpt2[] = {
    {"n_embd", kHonoured},
    {"hidden_size", kHonoured, "", "another name of n_embd"},
    {"n_layer", kHonoured},
    {"num_hidden_layers", kHonoured, "", "another name of n_layer"},
    {"n_head", kHonoured},
    {"num_attention_heads", kHonoured, "", "another name of n_head"},
    {"n_positions", kHonoured},
    {"max_position_embeddings", kHonoured, "", "another name of n_positions"},
    {"n_inner", kHonoured},
    {"activation_function", kHonoured, "", "all names of the library but prelu and xielu"},
    {"layer_norm_epsilon", kHonoured},
    {"scale_attn_weights", kHonoured},
    {"scale_attn_by_inverse_layer_idx", kOnly, "[null, false]",
     "scores that are divided by the number of their layer are not supported"},
    {"resid_pdrop", kHonoured, "", "in training"},
    {"attn_pdrop", kHonoured, "", "in training"},
    {"embd_pdrop", kNoEffect, "", kTraining},
    {"n_ctx", kNoEffect, "", "an old name that the library reads no more"},
    {"reorder_and_upcast_attn", kNoEffect, "", kSpeed},
    {"initializer_range", kNoEffect, "", kFirstWeights},
    {"summary_*", kNoEffect, "", "for multiple choice alone"},
};

constexpr KnownKey kBloom[] = {
    {"hidden_size", kHonoured},
    {"n_embed", kHonoured, "", "another name of hidden_size"},
    {"n_layer", kHonoured},
    {"num_hidden_layers", kHonoured, "", "another name of n_layer"},
    {"n_head", kHonoured},
    {"num_attention_heads", kHonoured, "", "another name of n_head"},
    {"seq_length", kHonoured, "", "the longest sequence that is read; ALiBi knows no end"},
    {"layer_norm_epsilon", kHonoured},
    {"apply_residual_connection_post_layernorm", kOnly, "[null, false]",
     "shortcuts behind norms are not supported"},
    {"hidden_dropout", kHonoured, "", "in training"},
    {"attention_dropout", kHonoured, "", "in training"},
    {"pretraining_tp", kNoEffect, "", kSpeed},
    {"slow_but_exact", kNoEffect, "", kSpeed},
    {"masked_softmax_fusion", kNoEffect, "", kSpeed},
    {"bias_dropout_fusion", kNoEffect, "", kSpeed},
    {"attention_softmax_in_fp32", kNoEffect, "", kSpeed},
    {"skip_bias_add", kNoEffect, "", kSpeed},
    {"skip_bias_add_qkv", kNoEffect, "", kSpeed},
    {"initializer_range", kNoEffect, "", kFirstWeights},
    {"unk_token_id", kNoEffect, "", kTokens},
};

constexpr KnownKey kGptNeox[] = {
    {"hidden_size", kHonoured},
    {"num_hidden_layers", kHonoured},
    {"num_attention_heads", kHonoured},
    {"intermediate_size", kHonoured},
    {"hidden_act", kHonoured, "", "all names of the library but prelu and xielu"},
    {"max_position_embeddings", kHonoured},
    {"layer_norm_eps", kHonoured},
    {"use_parallel_residual", kHonoured},
    {"attention_bias", kHonoured},
    {"rope_parameters", kHonoured, "", kFrequencies},
    {"rope_scaling", kHonoured, "", kScaling},
    {"rotary_emb_base", kHonoured, "", "rope_theta, where rope_parameters has none"},
    {"rotary_pct", kHonoured, "", "partial_rotary_factor, where rope_parameters has none"},
    {"rope_theta", kNoEffect, "", "this family reads rotary_emb_base"},
    {"partial_rotary_factor", kNoEffect, "", "this family reads rotary_pct"},
    {"hidden_dropout", kHonoured, "", "in training"},
    {"attention_dropout", kHonoured, "", "in training"},
    {"classifier_dropout", kNoEffect, "", kTraining},
    {"initializer_range", kNoEffect, "", kFirstWeights},
};

constexpr KeyTable kCommonTable{"config.json: all families", kCommon};
constexpr KeyTable kEncoderTable{"config.json: BERT, RoBERTa, ELECTRA and MobileBERT", kEncoder};
constexpr KeyTable kElectraTable{"config.json: ELECTRA", kElectra};
constexpr KeyTable kMobileBertTable{"config.json: MobileBERT", kMobileBert};
constexpr KeyTable kDistilBertTable{"config.json: DistilBERT", kDistilBert};
constexpr KeyTable kBartTable{"config.json: BART", kBart};
constexpr KeyTable kLanguageModelTable{"config.json: language models", kLanguageModel};
constexpr KeyTable kLlamaTable{"config.json: LLaMA", kLlama};
constexpr KeyTable kOptTable{"config.json: OPT", kOpt};
constexpr KeyTable kGpt2Table{"config.json: GPT-2", kGpt2};
constexpr KeyTable kBloomTable{"config.json: BLOOM", kBloom};
constexpr KeyTable kGptNeoxTable{"config.json: GPT-NeoX", kGptNeox};

// The tables of a family; `shared` is what some families have in common, or all.
struct FamilyTables {
  const KeyTable& own;
  const KeyTable& shared;
};

FamilyTables tables_of(std::string_view family) {
  if (family == "distilbert") return {kDistilBertTable, kCommonTable};
  if (family == "bart") return {kBartTable, kCommonTable};
  if (family == "electra") return {kElectraTable, kEncoderTable};
  if (family == "mobilebert") return {kMobileBertTable, kEncoderTable};
  constexpr std::pair<std::string_view, const KeyTable*> kLanguageModels[] = {
      {"llama", &kLlamaTable},
      {"opt", &kOptTable},
      {"gpt2", &kGpt2Table},
      {"bloom", &kBloomTable},
      {"gpt_neox", &kGptNeoxTable}};
  for (const auto& [name, table] : kLanguageModels) {
    if (name == family) return {*table, kLanguageModelTable};
  }
  return {kEncoderTable, kCommonTable};
}

bool has(const KeyTable& table, std::string_view key) {
  return std::any_of(table.keys.begin(), table.keys.end(),
                     [&](const KnownKey& known) { return known.name == key; });
}

}  // namespace

std::vector<KeyTable> config_key_tables() {
  return {
      kCommonTable, kEncoderTable,       kElectraTable,         kMobileBertTable, kDistilBertTable,
      kBartTable,   kLanguageModelTable, kLlamaTable,           kOptTable,        kGpt2Table,
      kBloomTable,  kGptNeoxTable,       generation_key_table()};
}

void check_config_keys(const Checkpoint& checkpoint, std::string_view family) {
  const std::string file = (checkpoint.folder() / "config.json").string();
  const auto [own_keys, shared] = tables_of(family);
  nlohmann::json own = nlohmann::json::object();
  for (const auto& [key, value] : checkpoint.config().items()) {
    const bool of_family = has(own_keys, key) || has(shared, key) || has(kCommonTable, key);
    if (of_family || !has(generation_key_table(), key)) own[key] = value;
  }
  std::vector<std::string> notes;
  check_keys(own, {own_keys, shared, kCommonTable}, file, notes);
  for (std::string& note : notes) checkpoint.note(std::move(note));
}

}  // namespace quell
