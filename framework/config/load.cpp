#include "framework/config/load.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "framework/config/paths.h"

namespace quell {
namespace {

namespace fs = std::filesystem;

bool same_type(const ConfigNode& a, const ConfigNode& b) {
  const ConfigNode* type_of_a = a.find("type");
  const ConfigNode* type_of_b = b.find("type");
  return !type_of_a || !type_of_b || type_of_a->text == type_of_b->text;
}

// Lays `over` on top of `under`.
ConfigNode merge(const ConfigNode& under, const ConfigNode& over) {
  if (!under.is_map() || !over.is_map() || !same_type(under, over)) return over;
  ConfigNode merged = over;
  merged.children = under.children;
  for (const ConfigNode& child : over.children) {
    if (ConfigNode* old = merged.find(child.key)) {
      *old = merge(*old, child);
    } else {
      merged.children.push_back(child);
    }
  }
  return merged;
}

class BaseLoader {
 public:
  explicit BaseLoader(Problems& problems) : problems_(problems) {}

  // The file merged over its bases. Throws when a base is missing or cyclic. Each file is read
  // once: bases that have two bases each would be 2^depth files.
  ConfigNode load(const fs::path& file) {
    std::error_code error;
    const fs::path place = fs::canonical(file, error);
    if (const auto known = loaded_.find(place); known != loaded_.end()) return known->second;
    chain_.push_back(file);
    ConfigNode own = load_yaml(file, problems_);
    ConfigNode base_of_all = ConfigNode::map();
    if (const ConfigNode* base = own.find("base")) {
      for (const ConfigNode* name : names(*base)) {
        base_of_all = merge(base_of_all, load_base(*name));
      }
      own.remove("base");
    }
    chain_.pop_back();
    return loaded_[place] = merge(base_of_all, own);
  }

 private:
  static std::vector<const ConfigNode*> names(const ConfigNode& base) {
    if (!base.is_sequence()) return {&base};
    std::vector<const ConfigNode*> names;
    for (const ConfigNode& child : base.children) names.push_back(&child);
    return names;
  }

  ConfigNode load_base(const ConfigNode& name) {
    if (!name.is_scalar()) {
      problems_.add(name.mark, "base",
                    fmt::format("expected a file or a list of files, found {}", name.found()));
      problems_.throw_if_any();
    }
    const auto file = resolve_path(name, "base", PathKind::kFile, problems_);
    problems_.throw_if_any();
    const auto is_file = [&](const fs::path& other) { return fs::equivalent(other, *file); };
    const auto start = std::find_if(chain_.begin(), chain_.end(), is_file);
    if (start != chain_.end()) {
      std::vector<std::string> circle;
      for (auto it = start; it != chain_.end(); ++it) circle.push_back(it->string());
      circle.push_back(file->string());
      problems_.add(name.mark, "base",
                    fmt::format("the files include each other: {}", fmt::join(circle, " -> ")));
      problems_.throw_if_any();
    }
    return load(*file);
  }

  Problems& problems_;
  std::vector<fs::path> chain_;  // the files being loaded, outermost first
  std::map<fs::path, ConfigNode> loaded_;
};

}  // namespace

ConfigNode load_config(const fs::path& path, const std::vector<std::string>& overrides,
                       const ObjectSchema& schema, Problems& problems) {
  ConfigNode root = BaseLoader(problems).load(path);
  for (const std::string& text : overrides) apply_override(root, text, schema, problems);
  return root;
}

}  // namespace quell
