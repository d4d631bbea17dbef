#include "framework/import/published_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <cctype>
#include <string_view>

#include "framework/base/suggest.h"
#include "framework/config/load.h"
#include "framework/import/names.h"

namespace quell::published {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSections[] = {"quant", "data", "model", "train", "progress"};

// Python's YAML takes these words for booleans; ours takes `true` and `false` only.
void unify_booleans(ConfigNode& node) {
  for (ConfigNode& child : node.children) unify_booleans(child);
  if (!node.is_scalar() || node.quoted) return;
  std::string word = node.text;
  for (char& c : word) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (word == "true" || word == "yes" || word == "on") node.text = "true";
  if (word == "false" || word == "no" || word == "off") node.text = "false";
}

// The files from `file` to the last `root:`, merged.
ConfigNode load_with_roots(const fs::path& file, Problems& problems) {
  ConfigNode merged = ConfigNode::map();
  merged.mark = {file.string(), 1, 1};
  std::vector<fs::path> seen;
  std::optional<fs::path> next = file;
  while (next) {
    seen.push_back(*next);
    const ConfigNode own = load_yaml(*next, problems);
    next.reset();
    if (!own.is_map()) {
      problems.add(own.mark, "",
                   fmt::format("expected sections such as quant, found {}", own.found()));
      break;
    }
    for (const ConfigNode& section : own.children) {
      if (section.key != "root" && !merged.find(section.key)) merged.children.push_back(section);
    }
    const ConfigNode* root = own.find("root");
    if (root == nullptr || root->is_null()) break;
    if (!root->is_scalar()) {
      problems.add(root->mark, "root", fmt::format("expected a file, found {}", root->found()));
      break;
    }
    next = resolve_path(*root, "root", PathKind::kFile, problems);
    const auto is_next = [&](const fs::path& other) { return fs::equivalent(other, *next); };
    if (next && std::any_of(seen.begin(), seen.end(), is_next)) {
      problems.add(root->mark, "root", fmt::format("{} was read already", next->string()));
      break;
    }
  }
  problems.throw_if_any();
  return merged;
}

struct UnknownKey {
  Mark mark;
  std::string path;
  std::string hint;  // "; did you mean ...?", or nothing
};

// Takes keys out of the tree that have no counterpart.
class Sieve {
 public:
  void sections(ConfigNode& root) {
    const std::vector<std::string> known(std::begin(kSections), std::end(kSections));
    ConfigNode kept = root;
    kept.children.clear();
    for (ConfigNode& section : root.children) {
      if (std::find(known.begin(), known.end(), section.key) == known.end()) {
        add_unknown(section, section.key, known);
        continue;
      }
      const Field* field = schema_of<Config>().find(section.key);
      strip(section, section.key, field ? field->type->object() : nullptr);
      if (field) kept.children.push_back(std::move(section));
    }
    root = std::move(kept);
  }

  const std::vector<UnknownKey>& unknown() const { return unknown_; }
  ImportNotes notes() const {
    ImportNotes notes;
    for (const UnknownKey& key : unknown_) {
      notes.push_back({ImportNote::Kind::kUnknown,
                       fmt::format("{}: {}{}", key.mark.text(), key.path, key.hint)});
    }
    for (const auto& [reason, keys] : ignored_) {
      notes.push_back({ImportNote::Kind::kNoEffect, fmt::format("{}: {}", keys, reason)});
    }
    return notes;
  }

 private:
  // `schema` is null for a section that has no counterpart at all.
  void strip(ConfigNode& section, const std::string& path, const ObjectSchema* schema) {
    if (!section.is_map()) return;  // reading it reports the mistake
    ConfigNode kept = section;
    kept.children.clear();
    for (ConfigNode& child : section.children) {
      const std::string child_path = join_path(path, child.key);
      if (const Field* field = schema ? schema->find(child.key) : nullptr) {
        if (const ObjectSchema* inner = field->type->object()) strip(child, child_path, inner);
        kept.children.push_back(std::move(child));
      } else if (const auto reason = reason_without_effect(child_path); !reason.empty()) {
        ignore(child_path, reason);
      } else {
        auto known = schema ? schema->names() : std::vector<std::string>();
        for (std::string& key : keys_without_effect(path + ".")) known.push_back(std::move(key));
        add_unknown(child, child_path, known);
      }
    }
    section = std::move(kept);
  }

  void add_unknown(const ConfigNode& node, const std::string& path,
                   const std::vector<std::string>& known) {
    const auto match = closest_match(node.key, known);
    unknown_.push_back(
        {node.key_mark, path, match ? fmt::format("; did you mean \"{}\"?", *match) : ""});
  }

  void ignore(const std::string& path, std::string_view reason) {
    const auto same = std::find_if(ignored_.begin(), ignored_.end(),
                                   [&](const auto& entry) { return entry.first == reason; });
    if (same == ignored_.end()) {
      ignored_.emplace_back(reason, path);
    } else {
      same->second += ", " + path;
    }
  }

  std::vector<UnknownKey> unknown_;
  std::vector<std::pair<std::string_view, std::string>> ignored_;  // reason, keys
};

std::string unknown_name(const std::string& name, std::span<const Name> known) {
  return fmt::format("unknown \"{}\"{}", name, did_you_mean(name, published_names(known)));
}

constexpr const char* kGlue[] = {"cola", "sst2", "mrpc", "stsb", "qqp",
                                 "mnli", "qnli", "rte",  "wnli"};

constexpr const char* kDatasets[] = {"squad", "squad_v2", "cnn_dailymail", "xsum"};

}  // namespace

void QuantizerSection::check(const QuantizerSection& section, Report& report) {
  if (own_name(quantizers(), section.quantizer).empty()) {
    report.problem("quantizer", unknown_name(section.quantizer, quantizers()));
  }
  if (own_name(observers(), section.observer).empty()) {
    report.problem("observer", unknown_name(section.observer, observers()));
  }
}

void QuantSection::check(const QuantSection& section, Report& report) {
  if (section.a_qconfig.ch_axis == -1) return;
  report.problem("a_qconfig",
                 fmt::format("ch_axis {}: activations have one scale per tensor here (-1); after "
                             "the import `granularity: channel` gives one per feature",
                             section.a_qconfig.ch_axis));
}

DataKind DataSection::kind() const {
  if (task_name) return DataKind::kGlue;
  return task().starts_with("squad") ? DataKind::kSquad : DataKind::kSummarization;
}

std::string DataSection::task() const {
  std::string name = task_name ? *task_name : dataset_name.value_or("");
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

void DataSection::check(const DataSection& section, Report& report) {
  const std::vector<std::string> known(std::begin(kGlue), std::end(kGlue));
  if (!section.task_name && section.dataset_name) {
    const std::vector<std::string> others(std::begin(kDatasets), std::end(kDatasets));
    if (std::find(others.begin(), others.end(), section.task()) != others.end()) return;
    return report.problem("dataset_name",
                          fmt::format("unknown \"{}\"; known are {}, and the tasks of GLUE "
                                      "(task_name)",
                                      *section.dataset_name, fmt::join(others, ", ")));
  }
  if (!section.task_name) {
    return report.problem(
        "task_name", fmt::format("missing: the task of GLUE, one of {}", fmt::join(known, ", ")));
  }
  if (std::find(known.begin(), known.end(), section.task()) == known.end()) {
    return report.problem("task_name", fmt::format("unknown \"{}\"{}", *section.task_name,
                                                   did_you_mean(section.task(), known)));
  }
  if (section.is_regression && section.task() != "stsb") {
    report.problem("is_regression",
                   fmt::format("{} has classes; only stsb is a regression", section.task()));
  }
}

Config load(const fs::path& file, ImportNotes& notes) {
  Problems problems;
  ConfigNode root = load_with_roots(file, problems);
  unify_booleans(root);
  Sieve sieve;
  sieve.sections(root);
  ReadContext context{problems};
  Config config = read_config<Config>(root, context);
  if (!problems.empty()) {  // a misspelt key may be why another one is missing
    for (const UnknownKey& key : sieve.unknown()) {
      problems.add(key.mark, key.path, "unknown key" + key.hint);
    }
  }
  problems.throw_if_any();
  notes = sieve.notes();
  return config;
}

}  // namespace quell::published
