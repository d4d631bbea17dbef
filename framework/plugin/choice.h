// Fields of a configuration that choose a plug-in; the syntax is in choice_type.h.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "framework/plugin/choice_type.h"
#include "framework/plugin/registry.h"

namespace quell {

// A choice out of one registry. The registry must outlive it.
template <class RegistryType>
class Choice : public ChoiceBase {
 public:
  using Interface = typename RegistryType::interface_type;

  Choice() = default;
  // A default of a described struct; reading a configuration resolves it.
  explicit Choice(std::string name) : ChoiceBase(std::move(name)) {}
  // A plug-in with default parameters.
  Choice(const RegistryType& registry, const std::string& name) : ChoiceBase(registry.get(name)) {}

  const typename RegistryType::Entry& entry() const {
    return static_cast<const typename RegistryType::Entry&>(ChoiceBase::entry());
  }
  template <class... Arguments>
  std::unique_ptr<Interface> create(Arguments&&... arguments) const {
    return entry().create(params(), std::forward<Arguments>(arguments)...);
  }
};

using ObserverChoice = Choice<ObserverRegistry>;
using QuantizerChoice = Choice<QuantizerRegistry>;
using TransformChoice = Choice<TransformRegistry>;
using SolverChoice = Choice<SolverRegistry>;
using ModelChoice = Choice<ModelRegistry>;
using TaskChoice = Choice<TaskRegistry>;
using EngineChoice = Choice<EngineRegistry>;

// A step of the pipeline: a transform or a solver.
class StepChoice : public ChoiceBase {
 public:
  StepChoice() = default;
  explicit StepChoice(std::string name) : ChoiceBase(std::move(name)) {}
  StepChoice(const Plugins& plugins, const std::string& name);

  // Null when the step is of the other kind.
  const TransformRegistry::Entry* transform() const;
  const SolverRegistry::Entry* solver() const;
};

// Where Plugins keeps a registry.
template <class RegistryType>
struct RegistryPlace;
template <>
struct RegistryPlace<ObserverRegistry> {
  static constexpr const char* kKind = "observer";
  static constexpr auto kMember = &Plugins::observers;
};
template <>
struct RegistryPlace<QuantizerRegistry> {
  static constexpr const char* kKind = "quantizer";
  static constexpr auto kMember = &Plugins::quantizers;
};
template <>
struct RegistryPlace<TransformRegistry> {
  static constexpr const char* kKind = "transform";
  static constexpr auto kMember = &Plugins::transforms;
};
template <>
struct RegistryPlace<SolverRegistry> {
  static constexpr const char* kKind = "solver";
  static constexpr auto kMember = &Plugins::solvers;
};
template <>
struct RegistryPlace<ModelRegistry> {
  static constexpr const char* kKind = "model";
  static constexpr auto kMember = &Plugins::models;
};
template <>
struct RegistryPlace<TaskRegistry> {
  static constexpr const char* kKind = "task";
  static constexpr auto kMember = &Plugins::tasks;
};
template <>
struct RegistryPlace<EngineRegistry> {
  static constexpr const char* kKind = "engine";
  static constexpr auto kMember = &Plugins::engines;
};

template <class RegistryType>
struct ValueTypeOf<Choice<RegistryType>> {
  struct Type final : ChoiceType {
    using ChoiceType::ChoiceType;
    std::vector<const RegistryBase*> registries(const Plugins& plugins) const override {
      return {&(plugins.*RegistryPlace<RegistryType>::kMember)};
    }
    ChoiceBase& choice(void* value) const override {
      return *static_cast<Choice<RegistryType>*>(value);
    }
    const ChoiceBase& choice(const void* value) const override {
      return *static_cast<const Choice<RegistryType>*>(value);
    }
  };
  static const ValueType& get() {
    static const Type type(RegistryPlace<RegistryType>::kKind, ChoiceType::Syntax::kPlain);
    return type;
  }
};

template <>
struct ValueTypeOf<StepChoice> {
  static const ValueType& get();
};

}  // namespace quell
