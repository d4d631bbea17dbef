// What is known of a plug-in without knowing its interface.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "framework/config/schema.h"

namespace quell {

class PluginEntry {
 public:
  PluginEntry(std::string name, std::string summary, std::string source,
              const ObjectSchema& params);
  virtual ~PluginEntry() = default;

  const std::string& name() const { return name_; }
  const std::string& summary() const { return summary_; }  // one line
  const std::string& source() const { return source_; }    // paper and equation
  const ObjectSchema& params() const { return params_; }

  // Declares that the plug-in cannot obey a conformance law, and why.
  PluginEntry& breaks(const std::string& law, const std::string& reason);
  // Law -> reason.
  const std::map<std::string, std::string>& exceptions() const { return exceptions_; }
  bool obeys(const std::string& law) const { return exceptions_.count(law) == 0; }

 private:
  std::string name_, summary_, source_;
  const ObjectSchema& params_;
  std::map<std::string, std::string> exceptions_;
};

// All plug-ins of one kind, by name.
class RegistryBase {
 public:
  explicit RegistryBase(std::string kind) : kind_(std::move(kind)) {}

  const std::string& kind() const { return kind_; }  // "observer"
  std::vector<std::string> names() const;            // sorted
  std::vector<const PluginEntry*> entries() const;   // sorted by name
  // Null for an unknown name.
  const PluginEntry* find_entry(const std::string& name) const;
  // Throws ConfigError with a suggestion for an unknown name.
  const PluginEntry& get_entry(const std::string& name) const;

 protected:
  // Asserts that the name is new and in snake_case, and no parameter is called `type`.
  PluginEntry& insert(std::unique_ptr<PluginEntry> entry);

 private:
  std::string kind_;
  std::map<std::string, std::unique_ptr<PluginEntry>> entries_;
};

}  // namespace quell
