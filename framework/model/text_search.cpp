#include "framework/model/text_search.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/topk.h>
#include <algorithm>
#include <cmath>
#include <tuple>

#include "framework/base/error.h"

namespace quell {
namespace {

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

// The places of the `count` largest scores, these first. The library's own selection, which decides
// among equal ones.
std::vector<int64_t> best_of(std::vector<float>& scores, size_t count) {
  const auto size = static_cast<int64_t>(scores.size());
  const at::Tensor places =
      std::get<1>(at::topk(at::from_blob(scores.data(), {1, size}, at::kFloat),
                           std::min(static_cast<int64_t>(count), size)));
  const int64_t* begin = places.const_data_ptr<int64_t>();
  return {begin, begin + places.numel()};
}

// Keeps the library's books: as many hypotheses run as there are beams, and as many texts are kept.
// Those that do not exist (yet) have a score that all others beat, so they show only where there
// are too few.
class BeamSearch final : public TextSearch {
 public:
  BeamSearch(const GenerationOptions& options, const std::vector<int64_t>& source,
             std::vector<int64_t> prompt)
      : TextSearch(options, source, std::move(prompt)),
        beams_(static_cast<size_t>(options.num_beams)),
        kept_(beams_, {{running_[0].ids, kAbsent}, false}) {}

  std::vector<GeneratedSequence> results() const override;

 protected:
  void choose(std::span<float*> scores, int64_t vocabulary) override;

 private:
  struct Candidate {
    Hypothesis hypothesis;
    bool ends;
  };
  struct Kept {
    GeneratedSequence text;
    bool finished;
  };

  std::vector<Candidate> best_candidates(std::span<float*> scores, int64_t vocabulary);
  void keep_best(const std::vector<Candidate>& candidates, int64_t length);
  bool may_improve(int64_t length) const;
  float penalized(float score, int64_t length) const {
    return score / static_cast<float>(std::pow(static_cast<double>(length - prompt_length_),
                                               options_.length_penalty));
  }

  static constexpr float kAbsent = -1e9F;  // added to the score of what must not be chosen

  size_t beams_;
  std::vector<Kept> kept_;     // `beams_`, the best first
  std::vector<float> totals_;  // of all candidates
};

// So many that enough are left to go on with should each beam end in every possible way.
std::vector<BeamSearch::Candidate> BeamSearch::best_candidates(std::span<float*> scores,
                                                               int64_t vocabulary) {
  totals_.clear();
  for (size_t beam = 0; beam < beams_; ++beam) {
    // At first all beams are the one that runs.
    const bool runs = beam < running_.size();
    const float* row = scores[runs ? beam : 0];
    const float before = runs ? running_[beam].score : kAbsent;
    for (int64_t token = 0; token < vocabulary; ++token) totals_.push_back(before + row[token]);
  }
  std::vector<Candidate> best;
  for (const int64_t place :
       best_of(totals_, std::max<size_t>(2, 1 + options_.eos_token_id.size()) * beams_)) {
    const int64_t beam = place / vocabulary, token = place % vocabulary;
    const int64_t parent = beam < static_cast<int64_t>(running_.size()) ? beam : 0;
    std::vector<int64_t> ids = running_[parent].ids;
    ids.push_back(token);
    const bool end = ends(token, static_cast<int64_t>(ids.size()));
    best.push_back({{std::move(ids), totals_[place], parent}, end});
  }
  return best;
}

// Only what comes among the beams counts as finished.
void BeamSearch::keep_best(const std::vector<Candidate>& candidates, int64_t length) {
  std::vector<Kept> all = std::move(kept_);
  for (size_t i = 0; i < candidates.size(); ++i) {
    const Hypothesis& hypothesis = candidates[i].hypothesis;
    const bool finished = candidates[i].ends && i < beams_;
    const float score = penalized(hypothesis.score, length) + (finished ? 0 : kAbsent);
    all.push_back({{hypothesis.ids, score}, finished});
  }
  std::vector<float> scores;
  for (const Kept& one : all) scores.push_back(static_cast<float>(one.text.score));
  kept_.clear();
  for (const int64_t place : best_of(scores, beams_)) kept_.push_back(all[place]);
}

// Whether the best that runs can still come among the best. As in Hugging Face's, an estimate:
// with a length penalty a longer hypothesis may gain.
bool BeamSearch::may_improve(int64_t length) const {
  const auto is_finished = [](const Kept& one) { return one.finished; };
  if (options_.early_stopping == EarlyStopping::kTrue &&
      std::all_of(kept_.begin(), kept_.end(), is_finished)) {
    return false;
  }
  const bool at_any_length =
      options_.early_stopping == EarlyStopping::kNever && options_.length_penalty > 0;
  const float best = penalized(running_[0].score, at_any_length ? options_.max_length : length);
  const auto worst = static_cast<float>(kept_.back().text.score);
  return std::any_of(kept_.begin(), kept_.end(),
                     [&](const Kept& one) { return best > (one.finished ? worst : kAbsent); });
}

void BeamSearch::choose(std::span<float*> scores, int64_t vocabulary) {
  const auto length = static_cast<int64_t>(running_[0].ids.size()) + 1;
  const std::vector<Candidate> candidates = best_candidates(scores, vocabulary);
  std::vector<float> going_on;
  for (const Candidate& candidate : candidates) {
    going_on.push_back(candidate.hypothesis.score + (candidate.ends ? kAbsent : 0));
  }
  running_.clear();
  for (const int64_t place : best_of(going_on, beams_)) {
    running_.push_back(candidates[place].hypothesis);
    running_.back().score = going_on[place];
  }
  keep_best(candidates, length);
  const bool all_end = std::all_of(candidates.begin(), candidates.end(),
                                   [](const Candidate& candidate) { return candidate.ends; });
  if (all_end || !may_improve(length)) running_.clear();
}

std::vector<GeneratedSequence> BeamSearch::results() const {
  std::vector<GeneratedSequence> results;
  size_t longest = 0;
  for (int64_t i = 0; i < options_.num_return_sequences; ++i) {
    results.push_back(kept_[i].text);
    longest = std::max(longest, results.back().ids.size());
  }
  const auto& ends = options_.eos_token_id;
  if (ends.empty()) return results;  // nothing to fill with
  // The library takes a padding token of 0 for none.
  const int64_t filling = options_.pad_token_id > 0 ? options_.pad_token_id : ends.front();
  for (GeneratedSequence& result : results) {
    const auto end = std::find_first_of(result.ids.begin() + prompt_length_, result.ids.end(),
                                        ends.begin(), ends.end());
    if (end == result.ids.end()) result.ids.resize(longest, filling);
  }
  return results;
}

}  // namespace

TextSearch::TextSearch(const GenerationOptions& options, const std::vector<int64_t>& source,
                       std::vector<int64_t> prompt)
    : options_(options),
      prompt_length_(std::ssize(prompt)),
      rules_(options, source, std::ssize(prompt)) {
  running_.push_back({std::move(prompt), 0, 0});
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
                                        const std::vector<int64_t>& source,
                                        std::vector<int64_t> prompt) {
  if (options.num_beams == 1) {
    return std::make_unique<GreedySearch>(options, source, std::move(prompt));
  }
  return std::make_unique<BeamSearch>(options, source, std::move(prompt));
}

}  // namespace quell
