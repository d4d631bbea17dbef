#include "framework/model/score_rules.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/log_softmax.h>
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

namespace quell {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

std::vector<int64_t> distinct(const std::vector<int64_t>& ids) {
  const std::set<int64_t> set(ids.begin(), ids.end());
  return {set.begin(), set.end()};
}

void allow_only(const std::vector<int64_t>& tokens, float* scores, int64_t vocabulary) {
  std::fill(scores, scores + vocabulary, kForbidden);
  for (const int64_t token : tokens) scores[token] = 0;
}

// Whether `ids` end with all of `tokens` but the last, so that this would complete it.
bool is_begun(const std::vector<int64_t>& tokens, const std::vector<int64_t>& ids) {
  const size_t prefix = tokens.size() - 1;
  return prefix <= ids.size() && std::equal(tokens.begin(), tokens.end() - 1, ids.end() - prefix);
}

// Scores below 0 are logits or log-probabilities: they are made smaller by multiplying.
void penalize(const std::vector<int64_t>& tokens, double penalty, float* scores) {
  const auto factor = static_cast<float>(penalty);
  for (const int64_t token : tokens) {
    scores[token] = scores[token] < 0 ? scores[token] * factor : scores[token] / factor;
  }
}

// Single tokens first, then those of the length that comes first, ...
void sort_as_summed(std::vector<SequenceBias>& biases) {
  std::map<size_t, size_t> rank = {{1, 0}};
  for (const SequenceBias& one : biases) rank.try_emplace(one.tokens.size(), rank.size());
  std::stable_sort(biases.begin(), biases.end(), [&](const auto& a, const auto& b) {
    return rank.at(a.tokens.size()) < rank.at(b.tokens.size());
  });
}

void replace_invalid(float* scores, int64_t vocabulary) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  for (int64_t i = 0; i < vocabulary; ++i) {
    if (std::isnan(scores[i])) scores[i] = 0;
    if (std::isinf(scores[i])) scores[i] = scores[i] > 0 ? kLargest : -kLargest;
  }
}

void normalize(float* scores, int64_t vocabulary) {
  at::Tensor row = at::from_blob(scores, {vocabulary}, at::kFloat);
  row.copy_(at::log_softmax(row, -1));
}

}  // namespace

ScoreRules::ScoreRules(const GenerationOptions& options, const std::vector<int64_t>& source,
                       int64_t prompt_length)
    : options_(options), prompt_length_(prompt_length), source_tokens_(distinct(source)) {
  sort_as_summed(options_.sequence_bias);
  const auto n = options.encoder_no_repeat_ngram_size;
  for (auto begin = source.begin(); n > 0 && source.end() - begin >= n; ++begin) {
    source_ngrams_[{begin, begin + (n - 1)}].push_back(*(begin + (n - 1)));
  }
}

void ScoreRules::apply(const std::vector<int64_t>& ids, float* scores, int64_t vocabulary) const {
  const auto length = static_cast<int64_t>(ids.size());
  add_biases(ids, scores);
  penalize_repetition(ids, scores);
  forbid_repetition(ids, scores);
  forbid_bad_words(ids, scores);
  if (length < options_.min_length) {
    for (const int64_t end : options_.eos_token_id) scores[end] = kForbidden;
  }
  force_ends(length, scores, vocabulary);
  if (options_.remove_invalid_values) replace_invalid(scores, vocabulary);
  reward_ends(length, scores);
  suppress(length, scores, vocabulary);
  if (options_.renormalize_logits) normalize(scores, vocabulary);
}

// A token may complete several sequences: their biases are summed before they are added.
void ScoreRules::add_biases(const std::vector<int64_t>& ids, float* scores) const {
  std::map<int64_t, float> biases;
  for (const SequenceBias& one : options_.sequence_bias) {
    if (is_begun(one.tokens, ids)) biases[one.tokens.back()] += one.bias;
  }
  for (const auto& [token, bias] : biases) scores[token] += bias;
}

void ScoreRules::penalize_repetition(const std::vector<int64_t>& ids, float* scores) const {
  if (options_.encoder_repetition_penalty != 1) {
    penalize(source_tokens_, 1 / options_.encoder_repetition_penalty, scores);
  }
  if (options_.repetition_penalty != 1) {
    penalize(distinct(ids), options_.repetition_penalty, scores);
  }
}

void ScoreRules::forbid_repetition(const std::vector<int64_t>& ids, float* scores) const {
  const auto length = static_cast<int64_t>(ids.size());
  const int64_t n = options_.no_repeat_ngram_size;
  if (n > 0 && length + 1 >= n) {
    const auto last = ids.end() - (n - 1);
    for (int64_t begin = 0; begin + n <= length; ++begin) {
      if (std::equal(last, ids.end(), ids.begin() + begin)) scores[ids[begin + n - 1]] = kForbidden;
    }
  }
  const int64_t prefix = options_.encoder_no_repeat_ngram_size - 1;
  if (prefix < 0 || length < prefix) return;
  const auto found = source_ngrams_.find({ids.end() - prefix, ids.end()});
  if (found == source_ngrams_.end()) return;
  for (const int64_t token : found->second) scores[token] = kForbidden;
}

void ScoreRules::forbid_bad_words(const std::vector<int64_t>& ids, float* scores) const {
  for (const std::vector<int64_t>& word : options_.bad_words_ids) {
    if (is_begun(word, ids)) scores[word.back()] = kForbidden;
  }
}

void ScoreRules::force_ends(int64_t length, float* scores, int64_t vocabulary) const {
  // Of the library: a first token is forced behind a single one only.
  if (options_.forced_bos_token_id >= 0 && length == 1) {
    allow_only({options_.forced_bos_token_id}, scores, vocabulary);
  }
  if (!options_.forced_eos_token_id.empty() && length == options_.max_length - 1) {
    allow_only(options_.forced_eos_token_id, scores, vocabulary);
  }
}

void ScoreRules::reward_ends(int64_t length, float* scores) const {
  const auto& decay = options_.exponential_decay_length_penalty;
  if (!decay || length <= decay->start + prompt_length_) return;
  const auto more = static_cast<double>(length - prompt_length_ - decay->start);
  const auto growth = static_cast<float>(std::pow(decay->factor, more) - 1);
  for (const int64_t end : options_.eos_token_id) {
    if (std::isfinite(scores[end])) scores[end] += std::abs(scores[end]) * growth;
  }
}

// Ids that the vocabulary does not have cannot be written anyway.
void ScoreRules::suppress(int64_t length, float* scores, int64_t vocabulary) const {
  const auto forbid = [&](const std::vector<int64_t>& tokens) {
    for (const int64_t token : tokens) {
      if (token >= 0 && token < vocabulary) scores[token] = kForbidden;
    }
  };
  forbid(options_.suppress_tokens);
  // A forced first token is no beginning.
  const bool forces = options_.forced_bos_token_id >= 0 && prompt_length_ == 1;
  const int64_t begin = forces ? prompt_length_ + 1 : prompt_length_;
  if (length == begin) forbid(options_.begin_suppress_tokens);
}

}  // namespace quell
