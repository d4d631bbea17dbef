#include "tasks/data/squad_logits.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>

#include "framework/base/error.h"
#include "framework/base/suggest.h"
#include "framework/io/safetensors.h"
#include "framework/text/unicode.h"

namespace quell {
namespace {

constexpr std::string_view kStart = "start_logits";

// The file's tensors by their names without the prefix.
class LogitFile {
 public:
  LogitFile(const ScoreOptions& options) : file_(options.predictions) {
    prefix_ = choose_prefix(options.set);
    start_ = read("start_logits", at::kFloat, {-1, -1});
    windows_ = start_.size(0);
    tokens_ = start_.size(1);
    end_ = read("end_logits", at::kFloat, {windows_, tokens_});
    offsets_ = read("offsets", at::kInt, {windows_, tokens_, 2});
    example_ = read("example_index", at::kLong, {windows_});
  }

  int64_t windows() const { return windows_; }
  int64_t example(int64_t window) const { return example_.const_data_ptr<int64_t>()[window]; }
  std::span<const float> start(int64_t window) const { return row(start_, window); }
  std::span<const float> end(int64_t window) const { return row(end_, window); }
  // Throws DataError for spans outside of a context of `length` code points.
  std::vector<std::pair<int32_t, int32_t>> offsets(int64_t window, int64_t length) const;
  [[noreturn]] void fail(const std::string& name, const std::string& problem) const {
    throw DataError(
        fmt::format("{}: tensor \"{}{}\": {}", file_.path().string(), prefix_, name, problem));
  }

 private:
  std::string choose_prefix(const std::string& wanted) const;
  at::Tensor read(const std::string& name, at::ScalarType type,
                  const std::vector<int64_t>& shape) const;
  std::span<const float> row(const at::Tensor& logits, int64_t window) const {
    return {logits.const_data_ptr<float>() + window * tokens_, static_cast<size_t>(tokens_)};
  }

  SafetensorsFile file_;
  std::string prefix_;
  int64_t windows_ = 0, tokens_ = 0;
  at::Tensor start_, end_, offsets_, example_;
};

std::string LogitFile::choose_prefix(const std::string& wanted) const {
  std::vector<std::string> sets;
  for (const std::string& name : file_.names()) {
    if (!name.ends_with(kStart)) continue;
    const std::string prefix = name.substr(0, name.size() - kStart.size());
    sets.push_back(prefix.ends_with('.') ? prefix.substr(0, prefix.size() - 1) : prefix);
  }
  const std::string file = file_.path().string();
  if (sets.empty()) throw DataError(fmt::format("{}: no tensor \"{}\"", file, kStart));
  if (wanted.empty() && sets.size() > 1) {
    throw ConfigError(
        fmt::format("{}: several sets ({}); choose one with --split", file, fmt::join(sets, ", ")));
  }
  for (const std::string& set : sets) {
    if (wanted.empty() || set == wanted) return set.empty() ? "" : set + ".";
  }
  throw ConfigError(fmt::format("{}: no set \"{}\"{}", file, wanted, did_you_mean(wanted, sets)));
}

at::Tensor LogitFile::read(const std::string& name, at::ScalarType type,
                           const std::vector<int64_t>& shape) const {
  const at::Tensor tensor = file_.read(prefix_ + name);
  bool fits = tensor.dim() == std::ssize(shape) && tensor.numel() > 0 &&
              at::isFloatingType(tensor.scalar_type()) == at::isFloatingType(type);
  for (int64_t i = 0; fits && i < tensor.dim(); ++i) {
    fits = shape[i] < 0 || tensor.size(i) == shape[i];
  }
  if (fits) return tensor.to(type).contiguous();
  fail(name, fmt::format("holds {} of shape [{}]; expected {}s of shape [{}] (-1: any size)",
                         at::toString(tensor.scalar_type()), fmt::join(tensor.sizes().vec(), ", "),
                         at::toString(type), fmt::join(shape, ", ")));
}

std::vector<std::pair<int32_t, int32_t>> LogitFile::offsets(int64_t window, int64_t length) const {
  const int32_t* values = offsets_.const_data_ptr<int32_t>() + window * tokens_ * 2;
  std::vector<std::pair<int32_t, int32_t>> result;
  for (int64_t i = 0; i < tokens_; ++i) {
    const int32_t begin = values[2 * i], end = values[2 * i + 1];
    if (begin > length || end > length) {
      fail("offsets", fmt::format("window {}: a token ends at {}, but the context of its question "
                                  "has {} signs; do the two files belong together?",
                                  window, end, length));
    }
    result.emplace_back(begin, end);
  }
  return result;
}

}  // namespace

GivenAnswer given_answer(const SquadAnswer& answer) {
  return {answer.text, answer.best_text, answer.null_score_diff};
}

std::vector<GivenAnswer> answers_of_logits(const SquadData& data, const SquadAnswerOptions& answers,
                                           const ScoreOptions& options, NBestLists& lists) {
  const LogitFile file(options);
  std::map<int64_t, std::vector<int64_t>> windows_of;
  for (int64_t i = 0; i < file.windows(); ++i) windows_of[file.example(i)].push_back(i);
  std::vector<GivenAnswer> result;
  for (const SquadExample& example : data.examples) {
    const auto found = windows_of.find(example.index);
    result.emplace_back();
    if (found == windows_of.end()) continue;
    const std::u32string context = unicode::decode_utf8(example.context);
    std::vector<std::vector<std::pair<int32_t, int32_t>>> offsets;
    std::vector<WindowScores> scores;
    for (const int64_t window : found->second) {
      offsets.push_back(file.offsets(window, std::ssize(context)));
    }
    for (size_t i = 0; i < offsets.size(); ++i) {
      const int64_t window = found->second[i];
      scores.push_back({file.start(window), file.end(window), offsets[i]});
    }
    const SquadAnswer answer = find_answer(context, scores, answers);
    lists.add(example.id, answer);
    result.back() = given_answer(answer);
    windows_of.erase(found);
  }
  return result;
}

}  // namespace quell
