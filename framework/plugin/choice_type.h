// How a configuration chooses a plug-in and its parameters:
//
//   observer: minmax
//   observer: {type: ema_minmax, momentum: 0.9}
//   pipeline: [calibrate, {learn_scales: {epochs: 3}}]      # steps only
//   pipeline: [by_block: [calibrate]]  # steps with one required list and nothing else
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "framework/config/value.h"
#include "framework/plugin/entry.h"

namespace quell {

// The chosen plug-in, whatever its kind.
class ChoiceBase {
 public:
  const std::string& name() const { return name_; }
  // Read from a configuration or made from a registry, rather than just named.
  bool resolved() const { return entry_ != nullptr; }
  // The plug-in's Params. Asserts that the choice is resolved, as does entry().
  const void* params() const;
  const PluginEntry& entry() const;

 protected:
  ChoiceBase() = default;
  explicit ChoiceBase(std::string name) : name_(std::move(name)) {}
  // The plug-in with default parameters.
  explicit ChoiceBase(const PluginEntry& entry)
      : name_(entry.name()), entry_(&entry), params_(entry.params().make()) {}

 private:
  friend class ChoiceType;
  std::string name_;
  const PluginEntry* entry_ = nullptr;
  std::shared_ptr<const void> params_;
};

// The syntax above. Derived classes say which registries a choice draws from.
class ChoiceType : public ValueType {
 public:
  enum class Syntax { kPlain, kStep };

  // `what` names the choice in messages: "observer", "step".
  ChoiceType(std::string what, Syntax syntax) : what_(std::move(what)), syntax_(syntax) {}
  void read(const ReadRequest& request, void* value) const override;
  void read_default(const ReadRequest& request, void* value) const override;
  ConfigNode print(const void* value) const override;
  std::string name() const override { return what_; }
  nlohmann::ordered_json json_schema(const FieldRules& rules,
                                     SchemaContext& context) const override;

 protected:
  virtual std::vector<const RegistryBase*> registries(const Plugins& plugins) const = 0;
  virtual ChoiceBase& choice(void* value) const = 0;
  virtual const ChoiceBase& choice(const void* value) const = 0;

 private:
  struct Written;  // the name and the parameters as the YAML has them
  bool split(const ReadRequest& request, Written& written) const;
  // Looks up the name and reads the parameters over the defaults.
  void choose(const ReadRequest& request, const Written& written, ChoiceBase& target) const;
  std::vector<std::string> known(const Plugins& plugins) const;
  nlohmann::ordered_json definition(SchemaContext& context) const;

  std::string what_;
  Syntax syntax_;
};

}  // namespace quell
