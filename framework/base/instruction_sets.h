// Which of their kernels the libraries below us choose.
#pragma once

namespace quell {

// Makes LibTorch and oneDNN use their AVX2 kernels, also where the processor has AVX-512: wider
// vectors add in another order, and oneDNN has another approximation of GELU for them, so that a
// run would give other bits on another machine. Models take as long. The environment variables
// ATEN_CPU_CAPABILITY and ONEDNN_MAX_CPU_ISA win where they are set. To be called first in main():
// the libraries look once.
void fix_instruction_sets();

}  // namespace quell
