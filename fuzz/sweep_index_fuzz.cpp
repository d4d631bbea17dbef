#include "framework/sweep/index.h"
#include "fuzz/fuzz.h"

QUELL_FUZZ(sweep_index) {
  quell::read_sweep_index(quell::fuzz::as_folder(input, {quell::kSweepIndex}));
}
