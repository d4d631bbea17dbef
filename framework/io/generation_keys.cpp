#include "framework/io/config_keys.h"

namespace quell {
namespace {

using enum KeyStatus;

constexpr std::string_view kSearch =
    "quell searches for the likeliest text and draws none; set it to false to search with the "
    "other settings";
constexpr std::string_view kSampling = "for sampling alone, which do_sample switches on";
constexpr std::string_view kMoved =
    "the library has no such search any more either; remove the key to search with the others";
constexpr std::string_view kAssisted =
    "texts are written by the model alone; remove the key: it makes the library faster, not better";
constexpr std::string_view kAssistant = "for an assistant model, which there is not";
constexpr std::string_view kRemove = "quell cannot do this; remove the key to write without it";
constexpr std::string_view kSpeed = "how the library computes, not what";
constexpr std::string_view kOutputs = "what else the library returns";
constexpr std::string_view kOrigin = "says where the file comes from";

constexpr KnownKey kGeneration[] = {
    {"max_length", kHonoured, "",
     "without it and max_new_tokens: 20 and the decoder's first token"},
    {"max_new_tokens", kHonoured, "", "wins over max_length, also over that of an experiment"},
    {"min_length", kHonoured},
    {"min_new_tokens", kHonoured, "", "wins over min_length, also over that of an experiment"},
    {"num_beams", kHonoured},
    {"num_return_sequences", kHonoured, "", "task.num_return_sequences, where that says nothing"},
    {"early_stopping", kHonoured},
    {"length_penalty", kHonoured},
    {"repetition_penalty", kHonoured},
    {"encoder_repetition_penalty", kHonoured},
    {"no_repeat_ngram_size", kHonoured},
    {"encoder_no_repeat_ngram_size", kHonoured},
    {"bad_words_ids", kHonoured},
    {"sequence_bias", kHonoured},
    {"suppress_tokens", kHonoured},
    {"begin_suppress_tokens", kHonoured},
    {"exponential_decay_length_penalty", kHonoured},
    {"forced_bos_token_id", kHonoured},
    {"force_bos_token_to_be_generated", kHonoured, "", "an old name: forces bos_token_id"},
    {"forced_eos_token_id", kHonoured, "", "one or several"},
    {"remove_invalid_values", kHonoured},
    {"renormalize_logits", kHonoured},
    {"decoder_start_token_id", kHonoured, "", "bos_token_id where it is left out"},
    {"bos_token_id", kHonoured},
    {"eos_token_id", kHonoured, "", "one or several; each ends a text"},
    {"pad_token_id", kHonoured, "", "texts of a batch are not padded here"},
    {"do_sample", kOnly, "[null, false]", kSearch},
    {"temperature", kNoEffect, "", kSampling},
    {"top_k", kNoEffect, "", kSampling},
    {"top_p", kNoEffect, "", kSampling},
    {"min_p", kNoEffect, "", kSampling},
    {"top_h", kNoEffect, "", kSampling},
    {"typical_p", kNoEffect, "", kSampling},
    {"epsilon_cutoff", kNoEffect, "", kSampling},
    {"eta_cutoff", kNoEffect, "", kSampling},
    {"penalty_alpha", kOnly, "[null, 0, false]", kMoved},
    {"num_beam_groups", kOnly, "[null, 1, 0]", kMoved},
    {"diversity_penalty", kNoEffect, "", "for num_beam_groups alone"},
    {"constraints", kOnly, "[null]", kMoved},
    {"force_words_ids", kOnly, "[null]", kMoved},
    {"dola_layers", kOnly, "[null]", kMoved},
    {"guidance_scale", kOnly, "[null, 1]", kRemove},
    {"watermarking_config", kOnly, "[null]", kRemove},
    {"token_healing", kOnly, "[null, false]", kRemove},
    {"stop_strings", kOnly, "[null]", kRemove},
    {"max_time", kOnly, "[null]", "texts must not depend on a clock; remove the key"},
    {"forced_decoder_ids", kOnly, "[null]", kRemove},
    {"prompt_lookup_num_tokens", kOnly, "[null]", kAssisted},
    {"assistant_early_exit", kOnly, "[null]", kAssisted},
    {"use_mtp", kOnly, "[null, false]", kAssisted},
    {"is_assistant", kOnly, "[null, false]", kAssisted},
    {"num_assistant_tokens", kNoEffect, "", kAssistant},
    {"num_assistant_tokens_schedule", kNoEffect, "", kAssistant},
    {"assistant_confidence_threshold", kNoEffect, "", kAssistant},
    {"assistant_lookbehind", kNoEffect, "", kAssistant},
    {"target_lookbehind", kNoEffect, "", kAssistant},
    {"assistant_ensemble_weight", kNoEffect, "", kAssistant},
    {"max_matching_ngram_size", kNoEffect, "", kAssistant},
    {"speculation_type", kNoEffect, "", kAssistant},
    {"cache_implementation", kOnly,
     R"([null, "dynamic", "static", "offloaded", "offloaded_static", "hybrid"])",
     "keys and values are kept in float32; remove the key"},
    {"cache_config", kNoEffect, "", kSpeed},
    {"max_cache_len", kNoEffect, "", kSpeed},
    {"use_cache", kNoEffect, "", kSpeed},
    {"low_memory", kNoEffect, "", kSpeed},
    {"prefill_chunk_size", kNoEffect, "", kSpeed},
    {"compile_config", kNoEffect, "", kSpeed},
    {"disable_compile", kNoEffect, "", kSpeed},
    {"continuous_batching_config", kNoEffect, "", kSpeed},
    {"output_attentions", kNoEffect, "", kOutputs},
    {"output_hidden_states", kNoEffect, "", kOutputs},
    {"output_scores", kNoEffect, "", kOutputs},
    {"output_logits", kNoEffect, "", kOutputs},
    {"return_dict_in_generate", kNoEffect, "", kOutputs},
    {"return_legacy_cache", kNoEffect, "", kOutputs},
    {"_from_model_config", kHonoured, "", "force_bos_token_to_be_generated counts only with it"},
    {"transformers_version", kNoEffect, "", kOrigin},
    {"_commit_hash", kNoEffect, "", kOrigin},
};

}  // namespace

KeyTable generation_key_table() { return {"generation_config.json", kGeneration}; }

}  // namespace quell
