#include "framework/base/instruction_sets.h"

#include <cstdlib>

namespace quell {

void fix_instruction_sets() {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return;
  ::setenv("ATEN_CPU_CAPABILITY", "avx2", /*overwrite=*/0);
  ::setenv("ONEDNN_MAX_CPU_ISA", "AVX2", /*overwrite=*/0);
#endif
}

}  // namespace quell
