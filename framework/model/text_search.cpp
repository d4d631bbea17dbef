#include "framework/model/text_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "framework/base/error.h"

namespace quell {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();
constexpr int64_t kPromptLength = 1;  // the decoder's start token

class GreedySearch final : public TextSearch {
 public:
  using TextSearch::TextSearch;

  std::vector<GeneratedSequence> results() const override { return {{ids_, 0}}; }

 protected:
  void choose(std::span<float*> scores, int64_t vocabulary) override {
    const int64_t token = std::max_element(scores[0], scores[0] + vocabulary) - scores[0];
    running_[0].ids.push_back(token);
    ids_ = running_[0].ids;
    if (ends(token, static_cast<int64_t>(ids_.size()))) running_.clear();
  }

 private:
  std::vector<int64_t> ids_;
};

class BeamSearch final : public TextSearch {
 public:
  BeamSearch(const GenerationOptions& options, const std::vector<int64_t>& source)
      : TextSearch(options, source), beams_(static_cast<size_t>(options.num_beams)) {}

  std::vector<GeneratedSequence> results() const override {
    std::vector<GeneratedSequence> results = best_;
    const auto wanted = static_cast<size_t>(options_.num_return_sequences);
    results.resize(wanted, best_.back());
    return results;
  }

 protected:
  void choose(std::span<float*> scores, int64_t vocabulary) override;

 private:
  struct Candidate {
    float score;
    int64_t parent;
    int64_t token;
  };

  std::vector<Candidate> best_candidates(std::span<float*> scores, int64_t vocabulary) const;
  void finish(const Candidate& candidate, int64_t length);
  bool may_improve(int64_t length) const;
  float penalized(float score, int64_t length) const {
    return score / static_cast<float>(std::pow(static_cast<double>(length - kPromptLength),
                                               options_.length_penalty));
  }

  size_t beams_;
  std::vector<GeneratedSequence> best_;  // finished ones, the best first; at most `beams_`
};

// So many that enough are left to go on with should each beam end in every possible way.
std::vector<BeamSearch::Candidate> BeamSearch::best_candidates(std::span<float*> scores,
                                                               int64_t vocabulary) const {
  const size_t wanted = std::max<size_t>(2, 1 + options_.eos_token_id.size()) * beams_;
  std::vector<Candidate> best;
  float threshold = kForbidden;
  for (size_t parent = 0; parent < scores.size(); ++parent) {
    const float before = running_[parent].score;
    for (int64_t token = 0; token < vocabulary; ++token) {
      const float score = before + scores[parent][token];
      if (!(score > threshold)) continue;
      const auto place = std::find_if(best.begin(), best.end(),
                                      [&](const Candidate& c) { return score > c.score; });
      best.insert(place, {score, static_cast<int64_t>(parent), token});
      if (best.size() > wanted) best.pop_back();
      if (best.size() == wanted) threshold = best.back().score;
    }
  }
  return best;
}

void BeamSearch::finish(const Candidate& candidate, int64_t length) {
  const float score = penalized(candidate.score, length);
  const auto place = std::find_if(best_.begin(), best_.end(), [&](const GeneratedSequence& other) {
    return score > static_cast<float>(other.score);
  });
  if (place == best_.end() && best_.size() == beams_) return;
  std::vector<int64_t> ids = running_[candidate.parent].ids;
  ids.push_back(candidate.token);
  best_.insert(place, {std::move(ids), score});
  if (best_.size() > beams_) best_.pop_back();
}

// Whether the best that runs can still come among the best. As in Hugging Face's, an estimate:
// with a length penalty a longer hypothesis may gain.
bool BeamSearch::may_improve(int64_t length) const {
  if (running_.empty()) return false;
  if (best_.size() < beams_) return true;
  if (options_.early_stopping == EarlyStopping::kTrue) return false;
  const bool at_any_length =
      options_.early_stopping == EarlyStopping::kNever && options_.length_penalty > 0;
  const int64_t best_length = at_any_length ? options_.max_length : length;
  return penalized(running_[0].score, best_length) > static_cast<float>(best_.back().score);
}

void BeamSearch::choose(std::span<float*> scores, int64_t vocabulary) {
  const auto length = static_cast<int64_t>(running_[0].ids.size()) + 1;
  const std::vector<Candidate> candidates = best_candidates(scores, vocabulary);
  if (candidates.empty() && best_.empty()) best_.push_back({running_[0].ids, running_[0].score});
  std::vector<Hypothesis> next;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const Candidate& candidate = candidates[i];
    if (ends(candidate.token, length)) {
      // Only what comes among the beams counts as finished.
      if (i < beams_) finish(candidate, length);
    } else if (next.size() < beams_) {
      Hypothesis hypothesis{running_[candidate.parent].ids, candidate.score, candidate.parent};
      hypothesis.ids.push_back(candidate.token);
      next.push_back(std::move(hypothesis));
    }
  }
  running_ = std::move(next);
  if (!may_improve(length)) running_.clear();
}

}  // namespace

TextSearch::TextSearch(const GenerationOptions& options, const std::vector<int64_t>& source)
    : options_(options), rules_(options, source) {
  running_.push_back({{options.decoder_start_token_id}, 0, 0});
}

bool TextSearch::ends(int64_t token, int64_t length) const {
  const auto& ends = options_.eos_token_id;
  return length >= options_.max_length || std::find(ends.begin(), ends.end(), token) != ends.end();
}

void TextSearch::advance(std::span<float*> scores, int64_t vocabulary) {
  QUELL_ASSERT(scores.size() == running_.size(), "one row of scores for each hypothesis");
  for (size_t i = 0; i < running_.size(); ++i) {
    rules_.apply(running_[i].ids, scores[i], vocabulary);
  }
  choose(scores, vocabulary);
}

std::unique_ptr<TextSearch> make_search(const GenerationOptions& options,
                                        const std::vector<int64_t>& source) {
  if (options.num_beams == 1) return std::make_unique<GreedySearch>(options, source);
  return std::make_unique<BeamSearch>(options, source);
}

}  // namespace quell
