#include "framework/plugin/choice.h"

namespace quell {
namespace {

const PluginEntry& find_step(const Plugins& plugins, const std::string& name) {
  if (const PluginEntry* transform = plugins.transforms.find_entry(name)) return *transform;
  return plugins.solvers.get_entry(name);
}

class StepType final : public ChoiceType {
 public:
  StepType() : ChoiceType("step", Syntax::kStep) {}
  std::vector<const RegistryBase*> registries(const Plugins& plugins) const override {
    return {&plugins.transforms, &plugins.solvers};
  }
  ChoiceBase& choice(void* value) const override { return *static_cast<StepChoice*>(value); }
  const ChoiceBase& choice(const void* value) const override {
    return *static_cast<const StepChoice*>(value);
  }
};

}  // namespace

StepChoice::StepChoice(const Plugins& plugins, const std::string& name)
    : ChoiceBase(find_step(plugins, name)) {}

const TransformRegistry::Entry* StepChoice::transform() const {
  return dynamic_cast<const TransformRegistry::Entry*>(&entry());
}

const SolverRegistry::Entry* StepChoice::solver() const {
  return dynamic_cast<const SolverRegistry::Entry*>(&entry());
}

const ValueType& ValueTypeOf<StepChoice>::get() {
  static const StepType type;
  return type;
}

}  // namespace quell
