#include "framework/outliers/calibration_tokens.h"

#include <algorithm>
#include <map>

#include "framework/base/error.h"
#include "framework/text/unicode.h"

namespace quell {
namespace {

struct TokenFacts {
  std::string text;
  bool special = false;
  bool punctuation = false;
};

// HDF5 texts hold no zero bytes.
std::string without_zero_bytes(const std::string& text) {
  std::string result;
  for (const char c : text) result += c == '\0' ? std::string("\uFFFD") : std::string(1, c);
  return result;
}

bool is_all_punctuation(const std::string& text) {
  bool any = false;
  for (const char32_t c : unicode::decode_utf8(text)) {
    if (unicode::is_whitespace(c)) continue;
    if (!unicode::is_punctuation(c)) return false;
    any = true;
  }
  return any;
}

TokenFacts facts_of(int64_t id, const Tokenizer* tokenizer) {
  if (tokenizer == nullptr) return {};
  const std::string text = tokenizer->decode({id}, /*skip_special_tokens=*/false);
  const bool special = !text.empty() && tokenizer->decode({id}, true).empty();
  return {without_zero_bytes(text), special, !special && is_all_punctuation(text)};
}

// Adds one batch's side, and counts its tokens.
void add_side(const at::Tensor& token_ids, const std::vector<int64_t>& offsets,
              const std::vector<int64_t>& valid_lengths, const Tokenizer* tokenizer,
              std::map<int64_t, TokenFacts>& known, std::map<int64_t, int64_t>& counts,
              TokenColumns& side) {
  const int64_t* ids = token_ids.const_data_ptr<int64_t>();
  const int64_t base = side.size();
  for (size_t sequence = 0; sequence + 1 < offsets.size(); ++sequence) {
    for (int64_t i = offsets[sequence]; i < offsets[sequence + 1]; ++i) {
      const int64_t position = i - offsets[sequence];
      const auto [found, is_new] = known.try_emplace(ids[i]);
      if (is_new) found->second = facts_of(ids[i], tokenizer);
      const TokenFacts& facts = found->second;
      TokenKind kind = facts.punctuation ? TokenKind::kPunctuation : TokenKind::kOther;
      if (facts.special) kind = position == 0 ? TokenKind::kFirst : TokenKind::kSeparator;
      if (position >= valid_lengths[sequence]) kind = TokenKind::kPadding;
      counts[ids[i]] += kind == TokenKind::kPadding ? 0 : 1;
      side.ids.push_back(ids[i]);
      side.positions.push_back(position);
      side.kinds.push_back(kind);
    }
    side.offsets.push_back(base + offsets[sequence + 1]);
  }
}

std::vector<VocabularyEntry> ranked(const std::map<int64_t, TokenFacts>& known,
                                    const std::map<int64_t, int64_t>& counts) {
  std::vector<VocabularyEntry> entries;
  for (const auto& [id, facts] : known) entries.push_back({id, counts.at(id), 0, facts.text});
  std::vector<VocabularyEntry*> order;
  for (VocabularyEntry& entry : entries) order.push_back(&entry);
  std::stable_sort(order.begin(), order.end(),
                   [](const auto* a, const auto* b) { return a->count > b->count; });
  for (size_t i = 0; i < order.size(); ++i) order[i]->rank = static_cast<int64_t>(i) + 1;
  return entries;
}

}  // namespace

const char* to_string(TokenKind kind) {
  constexpr const char* kNames[kTokenKinds] = {"cls", "sep", "pad", "punctuation", "other"};
  return kNames[static_cast<int>(kind)];
}

int64_t TokenColumns::sequence(int64_t token) const {
  return std::upper_bound(offsets.begin(), offsets.end(), token) - offsets.begin() - 1;
}

const VocabularyEntry& CalibrationTokens::entry(int64_t id) const {
  const auto found = std::lower_bound(
      vocabulary.begin(), vocabulary.end(), id,
      [](const VocabularyEntry& entry, int64_t wanted) { return entry.id < wanted; });
  QUELL_ASSERT(found != vocabulary.end() && found->id == id, "the token occurs");
  return *found;
}

CalibrationTokens calibration_tokens(std::span<const Batch> batches, const Tokenizer* tokenizer) {
  CalibrationTokens all;
  std::map<int64_t, TokenFacts> known;
  std::map<int64_t, int64_t> counts;
  for (size_t i = 0; i < batches.size(); ++i) {
    const Batch& batch = batches[i];
    add_side(batch.token_ids, batch.offsets, batch.valid_lengths, tokenizer, known, counts,
             all.tokens);
    if (batch.decoder_token_ids.defined()) {
      add_side(batch.decoder_token_ids, batch.decoder_offsets, batch.decoder_valid_lengths,
               tokenizer, known, counts, all.targets);
    }
    for (int64_t sequence = 0; sequence < batch.sequences(); ++sequence) {
      const bool named = sequence < static_cast<int64_t>(batch.example_ids.size());
      all.examples.push_back(named ? batch.example_ids[sequence] : -1);
      all.batches.push_back(static_cast<int64_t>(i));
    }
  }
  all.vocabulary = ranked(known, counts);
  return all;
}

}  // namespace quell
