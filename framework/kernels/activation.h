// Activations that kernels compute along with something else.
#pragma once

namespace quell::kernels {

// kGelu: x * Phi(x) by the normal distribution function, as torch.nn.functional.gelu; no further
// than 8 units in the last place from the true value. kGeluTanh: its approximation by tanh.
enum class Activation { kNone, kRelu, kGelu, kGeluTanh };

}  // namespace quell::kernels
