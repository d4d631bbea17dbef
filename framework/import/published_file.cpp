#include "framework/import/published_file.h"

#include <fmt/format.h>
#include <algorithm>
#include <cctype>
#include <optional>

#include "framework/base/suggest.h"
#include "framework/config/load.h"

namespace quell::published {
namespace {

namespace fs = std::filesystem;

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

// Takes keys out of the tree that have no counterpart.
class Sieve {
 public:
  Sieve(const ObjectSchema& schema, const KnownKeys& known) : schema_(schema), known_(known) {}

  void sections(ConfigNode& root) {
    const std::vector<std::string>& known = known_.sections;
    ConfigNode kept = root;
    kept.children.clear();
    for (ConfigNode& section : root.children) {
      if (std::find(known.begin(), known.end(), section.key) == known.end()) {
        add_unknown(section, section.key, known);
        continue;
      }
      const Field* field = schema_.find(section.key);
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
      } else if (const auto reason = reason_of(child_path); !reason.empty()) {
        ignore(child_path, reason);
      } else {
        auto known = schema ? schema->names() : std::vector<std::string>();
        const std::string prefix = path + ".";
        for (const WithoutEffect& key : known_.without_effect) {
          if (key.path.starts_with(prefix)) known.emplace_back(key.path.substr(prefix.size()));
        }
        add_unknown(child, child_path, known);
      }
    }
    section = std::move(kept);
  }

  // Why a key means nothing to quell; empty where it is not one of those.
  std::string_view reason_of(std::string_view path) const {
    for (const WithoutEffect& key : known_.without_effect) {
      if (key.path == path) return key.reason;
    }
    return {};
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

  const ObjectSchema& schema_;
  const KnownKeys& known_;
  std::vector<UnknownKey> unknown_;
  std::vector<std::pair<std::string_view, std::string>> ignored_;  // reason, keys
};

}  // namespace

PublishedFile read_published(const fs::path& file, const ObjectSchema& schema,
                             const KnownKeys& known) {
  Problems problems;
  PublishedFile read;
  read.root = load_with_roots(file, problems);
  unify_booleans(read.root);
  Sieve sieve(schema, known);
  sieve.sections(read.root);
  read.unknown = sieve.unknown();
  read.notes = sieve.notes();
  return read;
}

void add_unknown_keys(const PublishedFile& file, Problems& problems) {
  if (problems.empty()) return;
  for (const UnknownKey& key : file.unknown) {
    problems.add(key.mark, key.path, "unknown key" + key.hint);
  }
}

}  // namespace quell::published
