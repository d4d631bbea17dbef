#include "framework/text/tokenizer_keys.h"

#include <array>

namespace quell {
namespace {

using enum KeyStatus;

constexpr const char* kStore = "store the tokenizer anew without it";
constexpr const char* kNoCode =
    "classes that come as code are not run; remove it if a class of "
    "transformers does the same";
constexpr const char* kInternal = "transformers would take it for a part that it builds; remove it";
constexpr const char* kOrigin = "where the folder comes from";
constexpr const char* kEachCall = "a choice of each call, which every task makes itself";
constexpr const char* kChat = "templates of chats are not used";
constexpr const char* kSlow = "a setting of classes that transformers 5 no longer has";

constexpr std::array kConfigKeys = {
    KnownKey{"tokenizer_class", kHonoured, "",
             "decides whether tokenizer.json counts as it is or by its vocabulary alone"},
    KnownKey{"added_tokens_decoder", kHonoured, "",
             "special_tokens_map.json and added_tokens.json do not count beside it"},
    KnownKey{"additional_special_tokens", kHonoured},
    KnownKey{"extra_special_tokens", kHonoured},
    KnownKey{"model_specific_special_tokens", kHonoured},
    KnownKey{"model_max_length", kHonoured, "", "classification and questions cap max_length"},
    KnownKey{"max_len", kHonoured, "", "the older name of model_max_length"},
    KnownKey{"model_input_names", kHonoured, "", "without token_type_ids all types are 0"},
    KnownKey{"truncation_side", kHonoured, "", "\"left\" is an error"},
    KnownKey{"padding_side", kHonoured, "",
             "\"left\" is an error where positions follow from the padding"},
    KnownKey{"split_special_tokens", kHonoured},
    KnownKey{"do_lower_case", kHonoured, "", "classes of BERT alone look at it"},
    KnownKey{"tokenize_chinese_chars", kHonoured, "", "classes of BERT alone look at it"},
    KnownKey{"strip_accents", kHonoured, "", "classes of BERT alone look at it"},
    KnownKey{"add_prefix_space", kHonoured, "",
             "classes of RoBERTa, GPT-2 and LLaMA alone look at it"},
    KnownKey{"trim_offsets", kHonoured, "", "classes of RoBERTa alone look at it"},
    KnownKey{"add_bos_token", kHonoured, "", "does not count beside tokenizer.json"},
    KnownKey{"add_eos_token", kHonoured, "", "does not count beside tokenizer.json"},
    KnownKey{"legacy", kHonoured, "", "classes of LLaMA alone look at it"},
    KnownKey{"auto_map", kOnly, "[null]", kNoCode},
    KnownKey{"fast_tokenizer_files", kOnly, "[null, [], [\"tokenizer.json\"]]",
             "keep the one that is to be used, as tokenizer.json"},
    KnownKey{"init_inputs", kOnly, "[null, []]", kStore},
    KnownKey{"vocab", kOnly, "[null]", kInternal},
    KnownKey{"merges", kOnly, "[null]", kInternal},
    KnownKey{"tokenizer_object", kOnly, "[null]", kInternal},
    KnownKey{"post_processor", kOnly, "[null]", kInternal},
    KnownKey{"tokenizer_padding", kOnly, "[null]", kInternal},
    KnownKey{"tokenizer_truncation", kOnly, "[null]", kInternal},
    KnownKey{"gguf_file", kOnly, "[null]", kInternal},
    KnownKey{"fix_mistral_regex", kOnly, "[null, false]", "write the pattern into tokenizer.json"},
    KnownKey{"clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output", kOnly,
             "[null, false]", "texts are written as the tokens spell them; set it to false"},
    KnownKey{"clean_up_tokenization_spaces", kHonoured, "",
             "of texts that are written; not for byte-pair encodings"},
    KnownKey{"max_length", kNoEffect, "", kEachCall},
    KnownKey{"truncation", kNoEffect, "", kEachCall},
    KnownKey{"truncation_strategy", kNoEffect, "", kEachCall},
    KnownKey{"stride", kNoEffect, "", kEachCall},
    KnownKey{"padding", kNoEffect, "", kEachCall},
    KnownKey{"pad_to_multiple_of", kNoEffect, "", kEachCall},
    KnownKey{"pad_token_type_id", kNoEffect, "", "padding is never an input"},
    KnownKey{"do_basic_tokenize", kNoEffect, "", kSlow},
    KnownKey{"never_split", kNoEffect, "", kSlow},
    KnownKey{"clean_text", kNoEffect, "", kSlow},
    KnownKey{"wordpieces_prefix", kNoEffect, "", kSlow},
    KnownKey{"sp_model_kwargs", kNoEffect, "", kSlow},
    KnownKey{"spaces_between_special_tokens", kNoEffect, "", kSlow},
    KnownKey{"errors", kNoEffect, "", kSlow},
    KnownKey{"use_fast", kNoEffect, "", kSlow},
    KnownKey{"from_slow", kNoEffect, "", kSlow},
    KnownKey{"chat_template", kNoEffect, "", kChat},
    KnownKey{"chat_control_tokens", kNoEffect, "", kChat},
    KnownKey{"response_template", kNoEffect, "", kChat},
    KnownKey{"response_schema", kNoEffect, "", kChat},
    KnownKey{"use_default_system_prompt", kNoEffect, "", kChat},
    KnownKey{"processor_class", kNoEffect, "", "of images and sound"},
    KnownKey{"vocab_file", kNoEffect, "", "the files of the folder count"},
    KnownKey{"merges_file", kNoEffect, "", "the files of the folder count"},
    KnownKey{"tokenizer_file", kNoEffect, "", "the files of the folder count"},
    KnownKey{"special_tokens_map_file", kNoEffect, "", "the files of the folder count"},
    KnownKey{"name_or_path", kNoEffect, "", kOrigin},
    KnownKey{"transformers_version", kNoEffect, "", kOrigin},
    KnownKey{"backend", kNoEffect, "", kOrigin},
    KnownKey{"is_local", kNoEffect, "", kOrigin},
    KnownKey{"local_files_only", kNoEffect, "", kOrigin},
    KnownKey{"files_loaded", kNoEffect, "", kOrigin},
    KnownKey{"verbose", kNoEffect, "", "how much transformers says"},
    KnownKey{"_*", kNoEffect, "", kOrigin},
    KnownKey{"*_token", kHonoured, "",
             "special tokens: bos_token, ..., and roles of the model's own"},
};

constexpr std::array kMapKeys = {
    KnownKey{"additional_special_tokens", kHonoured},
    KnownKey{"extra_special_tokens", kHonoured},
    KnownKey{"*_token", kHonoured, "",
             "special tokens: bos_token, ..., and roles of the model's own"},
    KnownKey{"*", kOnly, "[null]",
             "transformers would take it for a setting; move it to tokenizer_config.json"},
};

constexpr std::array kTokenKeys = {
    KnownKey{"id", kHonoured},
    KnownKey{"content", kHonoured},
    KnownKey{"special", kHonoured},
    KnownKey{"normalized", kHonoured},
    KnownKey{"single_word", kHonoured},
    KnownKey{"lstrip", kHonoured},
    KnownKey{"rstrip", kHonoured},
    KnownKey{"__type", kNoEffect, "", "every object is a token"},
};

constexpr std::array kTopKeys = {
    KnownKey{"added_tokens", kHonoured},
    KnownKey{"normalizer", kHonoured, "", "where the class takes it as it is"},
    KnownKey{"pre_tokenizer", kHonoured, "", "where the class takes it as it is"},
    KnownKey{"post_processor", kHonoured, "",
             "where the class takes it as it is, and for GPT-2 and LLaMA"},
    KnownKey{"decoder", kHonoured, "", "where the class takes it as it is"},
    KnownKey{"model", kHonoured},
    KnownKey{"truncation", kHonoured, "",
             "its direction \"Left\" is an error; the rest is a choice of each call"},
    KnownKey{"padding", kHonoured, "", "its token, and its direction as padding_side"},
    KnownKey{"version", kNoEffect, "", "there is one"},
};

constexpr std::array kWordPieceKeys = {
    KnownKey{"type", kHonoured},
    KnownKey{"vocab", kHonoured},
    KnownKey{"unk_token", kHonoured},
    KnownKey{"continuing_subword_prefix", kHonoured},
    KnownKey{"max_input_chars_per_word", kHonoured},
};

constexpr std::array kBytePairKeys = {
    KnownKey{"type", kHonoured},
    KnownKey{"vocab", kHonoured},
    KnownKey{"merges", kHonoured},
    KnownKey{"unk_token", kHonoured},
    KnownKey{"fuse_unk", kHonoured},
    KnownKey{"byte_fallback", kHonoured, "", "not with a ByteLevel pre_tokenizer"},
    KnownKey{"ignore_merges", kHonoured},
    KnownKey{"dropout", kOnly, "[null, 0]", "merges would be left out by chance; set it to null"},
    KnownKey{"continuing_subword_prefix", kOnly, "[null, \"\"]", "is not supported"},
    KnownKey{"end_of_word_suffix", kOnly, "[null, \"\"]", "is not supported"},
};

constexpr std::array kNormalizerKeys = {
    KnownKey{"type", kHonoured, "",
             "Sequence, BertNormalizer, NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, "
             "Replace, Prepend"},
    KnownKey{"normalizers", kHonoured},
    KnownKey{"clean_text", kHonoured},
    KnownKey{"handle_chinese_chars", kHonoured},
    KnownKey{"strip_accents", kHonoured},
    KnownKey{"lowercase", kHonoured},
    KnownKey{"strip_left", kHonoured},
    KnownKey{"strip_right", kHonoured},
    KnownKey{"pattern", kHonoured},
    KnownKey{"content", kHonoured},
    KnownKey{"prepend", kHonoured},
};

constexpr std::array kPreTokenizerKeys = {
    KnownKey{"type", kHonoured, "",
             "Sequence, BertPreTokenizer, ByteLevel, Whitespace, WhitespaceSplit, Punctuation, "
             "Digits, Split, CharDelimiterSplit, Metaspace, UnicodeScripts, FixedLength"},
    KnownKey{"pretokenizers", kHonoured},
    KnownKey{"add_prefix_space", kHonoured},
    KnownKey{"use_regex", kHonoured},
    KnownKey{"behavior", kHonoured},
    KnownKey{"invert", kHonoured},
    KnownKey{"pattern", kHonoured},
    KnownKey{"individual_digits", kHonoured},
    KnownKey{"delimiter", kHonoured},
    KnownKey{"length", kHonoured},
    KnownKey{"replacement", kHonoured},
    KnownKey{"prepend_scheme", kHonoured},
    KnownKey{"split", kHonoured},
    KnownKey{"str_rep", kNoEffect, "", "repeats replacement"},
    KnownKey{"trim_offsets", kNoEffect, "", "that of the post_processor counts"},
};

constexpr std::array kPostProcessorKeys = {
    KnownKey{"type", kHonoured, "",
             "TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel, Sequence"},
    KnownKey{"processors", kHonoured},
    KnownKey{"cls", kHonoured},
    KnownKey{"sep", kHonoured},
    KnownKey{"single", kHonoured},
    KnownKey{"pair", kHonoured},
    KnownKey{"special_tokens", kHonoured},
    KnownKey{"trim_offsets", kHonoured},
    KnownKey{"add_prefix_space", kHonoured},
    KnownKey{"use_regex", kNoEffect, "", "nothing is split behind the model"},
};

constexpr std::array kDecoderKeys = {
    KnownKey{"type", kHonoured, "",
             "WordPiece, ByteLevel, Metaspace, ByteFallback, Fuse, Replace, Strip, Sequence"},
    KnownKey{"decoders", kHonoured},
    KnownKey{"prefix", kHonoured},
    KnownKey{"cleanup", kHonoured},
    KnownKey{"pattern", kHonoured},
    KnownKey{"content", kHonoured},
    KnownKey{"start", kHonoured},
    KnownKey{"stop", kHonoured},
    KnownKey{"replacement", kHonoured},
    KnownKey{"prepend_scheme", kHonoured},
    KnownKey{"add_prefix_space", kHonoured, "", "of Metaspace"},
    KnownKey{"split", kNoEffect, "", "nothing is split while texts are written"},
    KnownKey{"str_rep", kNoEffect, "", "repeats replacement"},
    KnownKey{"trim_offsets", kNoEffect, "", "texts that are written have no offsets"},
    KnownKey{"use_regex", kNoEffect, "", "nothing is split while texts are written"},
};

constexpr std::array<KeyTable, 10> kTables = {{
    {"tokenizer_config.json", kConfigKeys},
    {"special_tokens_map.json", kMapKeys},
    {"an added token", kTokenKeys},
    {"tokenizer.json", kTopKeys},
    {"tokenizer.json: model WordPiece", kWordPieceKeys},
    {"tokenizer.json: model BPE", kBytePairKeys},
    {"tokenizer.json: normalizer", kNormalizerKeys},
    {"tokenizer.json: pre_tokenizer", kPreTokenizerKeys},
    {"tokenizer.json: post_processor", kPostProcessorKeys},
    {"tokenizer.json: decoder", kDecoderKeys},
}};

void check(const JsonView& object, size_t table, std::vector<std::string>& notes) {
  const std::string place = object.place();
  check_keys(object.value(), {kTables[table]}, object.is_root() ? place : place + ".", notes);
}

void check_tokens(const JsonView& list, std::vector<std::string>& notes) {
  for (size_t i = 0; i < list.size(); ++i) check(list.at(i), 2, notes);
}

// A part of tokenizer.json and, under `steps`, what it consists of.
void check_part(const JsonView& part, const char* steps, size_t table,
                std::vector<std::string>& notes) {
  check(part, table, notes);
  const auto list = part.find(steps);
  for (size_t i = 0; list && i < list->size(); ++i) check_part(list->at(i), steps, table, notes);
}

}  // namespace

std::span<const KeyTable> tokenizer_key_tables() { return kTables; }

void check_tokenizer_config(const JsonView& file, std::vector<std::string>& notes) {
  check(file, 0, notes);
  const auto table = file.find("added_tokens_decoder");
  if (!table || !table->value().is_object()) return;
  for (const auto& [id, entry] : table->value().items()) check(table->at(id), 2, notes);
}

void check_special_tokens_map(const JsonView& file, std::vector<std::string>& notes) {
  check(file, 1, notes);
}

void check_tokenizer_json(const JsonView& file, std::vector<std::string>& notes) {
  check(file, 3, notes);
  if (const auto list = file.find("added_tokens")) check_tokens(*list, notes);
  const JsonView model = file.at("model");
  check(model, model.get_string("type", "") == "BPE" ? 5 : 4, notes);
  const std::array<const char*, 4> parts = {"normalizer", "pre_tokenizer", "post_processor",
                                            "decoder"};
  const std::array<const char*, 4> steps = {"normalizers", "pretokenizers", "processors",
                                            "decoders"};
  for (size_t i = 0; i < parts.size(); ++i) {
    if (const auto part = file.find(parts[i])) check_part(*part, steps[i], 6 + i, notes);
  }
}

}  // namespace quell
