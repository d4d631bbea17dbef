// Checkpoint::load: stored tensors against expected ones, with everything wrong in one message.
#include <ATen/ops/aminmax.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/isnan.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <optional>
#include <set>

#include "framework/base/error.h"
#include "framework/base/suggest.h"
#include "framework/io/checkpoint.h"
#include "framework/io/new_head.h"

namespace quell {
namespace {

constexpr size_t kShownPerKind = 20;

std::string show(at::IntArrayRef shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

// The name under which old checkpoints store a normalization's weight or bias, or "".
std::string old_name(const std::string& name) {
  const auto replaced = [&](std::string_view ending, std::string_view old) {
    return name.substr(0, name.size() - ending.size()) + std::string(old);
  };
  if (name.ends_with(".weight")) return replaced(".weight", ".gamma");
  if (name.ends_with(".bias")) return replaced(".bias", ".beta");
  return "";
}

std::string with_dot(const std::string& prefix) {
  return prefix.empty() || prefix.ends_with('.') ? prefix : prefix + ".";
}

// "" where all values are finite.
std::string describe_not_finite(const at::Tensor& tensor) {
  if (tensor.numel() == 0) return "";
  // One pass without temporaries: both ends are NaN as soon as one value is.
  const auto [lowest, highest] = at::aminmax(tensor);
  if (lowest.isfinite().item<bool>() && highest.isfinite().item<bool>()) return "";
  const at::Tensor bad = at::isfinite(tensor).logical_not();
  const int64_t nans = at::isnan(tensor).sum().item<int64_t>();
  std::vector<int64_t> first;
  if (tensor.dim() > 0) {
    const at::Tensor index = bad.nonzero()[0];
    first.assign(index.const_data_ptr<int64_t>(), index.const_data_ptr<int64_t>() + index.numel());
  }
  return fmt::format("{} NaN and {} infinite values, the first at {}", nans,
                     bad.sum().item<int64_t>() - nans, show(first));
}

// Problems by kind, shown at the end in one message.
class Problems {
 public:
  void add(const std::string& kind, const std::string& text) {
    auto& lines = problems_[kind];
    if (lines.size() < kShownPerKind) lines.push_back(text);
    ++counts_[kind];
  }
  void throw_if_any(const std::string& where) const {
    if (problems_.empty()) return;
    std::string message = where + ": the weights do not fit the model:";
    for (const auto& [kind, lines] : problems_) {
      for (const std::string& line : lines) message += fmt::format("\n  {}: {}", kind, line);
      const size_t hidden = counts_.at(kind) - lines.size();
      if (hidden > 0) message += fmt::format("\n  {}: ... and {} more", kind, hidden);
    }
    throw DataError(message +
                    "\nCheck that config.json and the model type belong to these weights.");
  }

 private:
  std::map<std::string, std::vector<std::string>> problems_;
  std::map<std::string, size_t> counts_;
};

}  // namespace

struct Checkpoint::Loader {
  const Checkpoint& checkpoint;
  std::string prefix;  // with its dot, or ""
  std::set<std::string> used = {};
  std::vector<const ExpectedTensor*> missing = {};
  Problems problems = {};
  std::map<std::string, MatchedTensors::Source> sources = {};

  std::optional<std::string> stored_name(const std::string& name) const {
    std::vector<std::string> candidates = {name, old_name(name)};
    if (!prefix.empty()) {
      const std::string other =
          name.starts_with(prefix) ? name.substr(prefix.size()) : prefix + name;
      candidates.insert(candidates.end(), {other, old_name(other)});
    }
    for (const std::string& candidate : candidates) {
      if (checkpoint.tensors_.count(candidate) > 0) return candidate;
    }
    return std::nullopt;
  }

  // False when it is not stored under a name of its own.
  bool load_stored(const ExpectedTensor& expected) {
    const auto stored = stored_name(expected.stored_name());
    if (!stored) return false;
    used.insert(*stored);
    check(expected, *stored);
    return true;
  }

  // Of all tensors that are one, any may be stored.
  void tie(const ExpectedTensor& expected, const std::vector<std::string>& others) {
    for (const std::string& other : others) {
      const auto found = sources.find(other);
      if (found == sources.end()) continue;
      if (found->second.expected.shape != expected.shape) return wrong_shape(expected, other);
      sources[expected.name] = found->second;
      return;
    }
    make_up(expected);
  }

  void make_up(const ExpectedTensor& expected) {
    const auto& head = checkpoint.new_head_;
    if (head && expected.name.starts_with(head->tensors)) {
      sources[expected.name] = {expected, ""};
    } else if (!expected.optional) {
      missing.push_back(&expected);
    }
  }

  void check(const ExpectedTensor& expected, const std::string& stored) {
    const at::ScalarType type = checkpoint.type(stored);
    if (at::isFloatingType(type) == expected.integer) {
      problems.add("wrong type",
                   fmt::format("{} holds {}, expected {}", stored, at::toString(type),
                               expected.integer ? "whole numbers" : "floating point"));
    } else if (checkpoint.shape(stored) != stored_shape(expected.part, expected.shape)) {
      wrong_shape(expected, stored);
    } else {
      sources[expected.name] = {expected, stored};
    }
  }

  void wrong_shape(const ExpectedTensor& expected, const std::string& source) {
    const auto tied = sources.find(source);
    const std::string found =
        tied != sources.end() ? show(tied->second.expected.shape) : show(checkpoint.shape(source));
    problems.add("wrong shape", fmt::format("{} is {}, expected {}", source, found,
                                            show(stored_shape(expected.part, expected.shape))));
  }

  // Everything that fits. A tensor that several expect is read once.
  std::map<std::string, at::Tensor> read_all() {
    std::map<std::string, at::Tensor> result, by_stored;
    for (const auto& [name, source] : sources) {
      const bool own = source.stored.empty() || !source.expected.part.is_whole();
      const std::string& key = own ? source.expected.name : source.stored;
      const auto [entry, is_new] = by_stored.try_emplace(key);
      if (is_new) {
        entry->second = checkpoint.read(source);
        const std::string bad = source.expected.integer ? "" : describe_not_finite(entry->second);
        if (!bad.empty()) problems.add("not finite", fmt::format("{} holds {}", key, bad));
      }
      result[name] = entry->second;
    }
    return result;
  }

  void match(const std::vector<ExpectedTensor>& expected) {
    // Tied tensors last: what they are tied to is then there.
    std::map<std::string, std::vector<std::string>> groups;
    std::vector<const ExpectedTensor*> absent;
    for (const ExpectedTensor& tensor : expected) {
      if (!tensor.tied_to.empty()) {
        auto& group = groups[tensor.tied_to];
        if (group.empty()) group.push_back(tensor.tied_to);
        group.push_back(tensor.name);
        if (!load_stored(tensor)) absent.push_back(&tensor);
      } else if (!load_stored(tensor)) {
        make_up(tensor);
      }
    }
    for (const ExpectedTensor* tensor : absent) tie(*tensor, groups[tensor->tied_to]);
  }

  void report(const std::vector<std::string>& ignored_suffixes) {
    std::vector<std::string> unexpected, left_over;
    for (const auto& [name, file] : checkpoint.tensors_) {
      const bool ignored =
          std::any_of(ignored_suffixes.begin(), ignored_suffixes.end(),
                      [&, &name = name](const auto& suffix) { return name.ends_with(suffix); });
      const bool replaced = checkpoint.new_head_ && internal::belongs_to_head(name);
      if (used.count(name) > 0 || ignored || replaced) continue;
      // A head of another task is left aside where nothing of the own one is missing.
      const bool is_left_over = internal::is_left_over(name) ||
                                (missing.empty() && internal::is_other_head(name, prefix));
      (is_left_over ? left_over : unexpected).push_back(name);
    }
    if (!left_over.empty()) {
      checkpoint.note(fmt::format("{}: stored tensors that this model does not use: {}",
                                  checkpoint.folder().string(), fmt::join(left_over, ", ")));
    }
    size_t suggestions = 0;  // comparing all names with all others takes long in a large model
    std::set<std::string> listed;  // parts miss the same one
    for (const ExpectedTensor* expected : missing) {
      const std::string& name = expected->stored_name();
      if (!listed.insert(name).second) continue;
      const auto match =
          ++suggestions <= kShownPerKind ? closest_match(name, unexpected) : std::nullopt;
      problems.add("missing",
                   fmt::format("{} {}{}", name, show(stored_shape(expected->part, expected->shape)),
                               match ? "; did you mean \"" + *match + "\"?" : ""));
    }
    for (const std::string& name : unexpected) {
      problems.add("not expected", fmt::format("{} {}", name, show(checkpoint.shape(name))));
    }
    problems.throw_if_any(checkpoint.folder().string());
  }
};

at::Tensor Checkpoint::read(const MatchedTensors::Source& source) const {
  if (source.stored.empty()) return internal::new_tensor(source.expected, *new_head_, config());
  const at::Tensor tensor = take_part(
      source.expected.part, file_of(source.stored).read(source.stored), source.expected.shape);
  return source.expected.integer ? tensor : tensor.to(at::kFloat);
}

at::Tensor MatchedTensors::read(const std::string& expected_name) const {
  const auto found = sources_.find(expected_name);
  if (found == sources_.end()) return {};
  const at::Tensor tensor = checkpoint_->read(found->second);
  const std::string bad = found->second.expected.integer ? "" : describe_not_finite(tensor);
  if (bad.empty()) return tensor;
  throw DataError(
      fmt::format("{}: {} holds {}", checkpoint_->folder().string(), expected_name, bad));
}

std::map<std::string, at::Tensor> Checkpoint::load(const std::vector<ExpectedTensor>& expected,
                                                   const std::vector<std::string>& ignored_suffixes,
                                                   const std::string& base_prefix) const {
  Loader loader{*this, with_dot(base_prefix)};
  loader.match(expected);
  const auto result = loader.read_all();
  loader.report(ignored_suffixes);
  return result;
}

MatchedTensors Checkpoint::match(const std::vector<ExpectedTensor>& expected,
                                 const std::vector<std::string>& ignored_suffixes,
                                 const std::string& base_prefix) const {
  Loader loader{*this, with_dot(base_prefix)};
  loader.match(expected);
  loader.report(ignored_suffixes);
  return {*this, std::move(loader.sources)};
}

}  // namespace quell
