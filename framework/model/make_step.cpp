#include "framework/model/make_step.h"

namespace quell {

std::unique_ptr<Step> make_step(const StepChoice& choice) {
  if (choice.transform() != nullptr) return choice.transform()->create(choice.params());
  return choice.solver()->create(choice.params());
}

}  // namespace quell
