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
  std::map<std::string, at::Tensor> result = {};

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

  void load(const ExpectedTensor& expected) {
    auto stored = stored_name(expected.name);
    if (!stored && !expected.tied_to.empty()) {
      if (const auto tied = result.find(expected.tied_to); tied != result.end()) {
        return add(expected, expected.tied_to, tied->second);
      }
      stored = stored_name(expected.tied_to);
    }
    if (!stored) {
      const auto& head = checkpoint.new_head_;
      if (head && expected.name.starts_with(head->tensors)) {
        result[expected.name] = internal::new_tensor(expected, *head, checkpoint.config());
      } else if (!expected.optional) {
        missing.push_back(&expected);
      }
      return;
    }
    used.insert(*stored);
    read(expected, *stored);
  }

  // Reads only what fits: its shape and type were checked when the file was opened.
  void read(const ExpectedTensor& expected, const std::string& stored) {
    const at::ScalarType type = checkpoint.type(stored);
    const bool integer = !at::isFloatingType(type);
    if (integer != expected.integer) {
      problems.add("wrong type",
                   fmt::format("{} holds {}, expected {}", stored, at::toString(type),
                               expected.integer ? "whole numbers" : "floating point"));
      return;
    }
    if (checkpoint.shape(stored) != expected.shape) return wrong_shape(expected, stored);
    at::Tensor tensor = checkpoint.file_of(stored).read(stored);
    if (!integer) {
      tensor = tensor.to(at::kFloat);
      const std::string bad = describe_not_finite(tensor);
      if (!bad.empty()) problems.add("not finite", fmt::format("{} holds {}", stored, bad));
    }
    result[expected.name] = tensor;
  }

  void add(const ExpectedTensor& expected, const std::string& source, const at::Tensor& tensor) {
    if (tensor.sizes() != at::IntArrayRef(expected.shape)) return wrong_shape(expected, source);
    result[expected.name] = tensor;
  }

  void wrong_shape(const ExpectedTensor& expected, const std::string& source) {
    const auto tensor = result.find(source);
    const std::string found =
        tensor != result.end() ? show(tensor->second.sizes()) : show(checkpoint.shape(source));
    problems.add("wrong shape",
                 fmt::format("{} is {}, expected {}", source, found, show(expected.shape)));
  }

  void report(const std::vector<std::string>& ignored_suffixes) {
    std::vector<std::string> unexpected;
    for (const auto& [name, file] : checkpoint.tensors_) {
      const bool ignored = std::any_of(ignored_suffixes.begin(), ignored_suffixes.end(),
                                       [&](const auto& suffix) { return name.ends_with(suffix); });
      const bool replaced = checkpoint.new_head_ && internal::belongs_to_head(name);
      if (used.count(name) == 0 && !ignored && !replaced) unexpected.push_back(name);
    }
    size_t suggestions = 0;  // comparing all names with all others takes long in a large model
    for (const ExpectedTensor* expected : missing) {
      const auto match =
          ++suggestions <= kShownPerKind ? closest_match(expected->name, unexpected) : std::nullopt;
      problems.add("missing", fmt::format("{} {}{}", expected->name, show(expected->shape),
                                          match ? "; did you mean \"" + *match + "\"?" : ""));
    }
    for (const std::string& name : unexpected) {
      problems.add("not expected", fmt::format("{} {}", name, show(checkpoint.shape(name))));
    }
    problems.throw_if_any(checkpoint.folder().string());
  }
};

std::map<std::string, at::Tensor> Checkpoint::load(const std::vector<ExpectedTensor>& expected,
                                                   const std::vector<std::string>& ignored_suffixes,
                                                   const std::string& base_prefix) const {
  const bool add_dot = !base_prefix.empty() && !base_prefix.ends_with('.');
  Loader loader{*this, add_dot ? base_prefix + "." : base_prefix};
  // Tied tensors last: what they are tied to is then there.
  for (const ExpectedTensor& tensor : expected) {
    if (tensor.tied_to.empty()) loader.load(tensor);
  }
  for (const ExpectedTensor& tensor : expected) {
    if (!tensor.tied_to.empty()) loader.load(tensor);
  }
  loader.report(ignored_suffixes);
  return std::move(loader.result);
}

}  // namespace quell
