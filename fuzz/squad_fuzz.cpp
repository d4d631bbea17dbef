// The official JSON, or rows.
#include "fuzz/fuzz.h"
#include "tasks/data/squad_data.h"

QUELL_FUZZ(squad) { quell::read_squad(quell::fuzz::as_file(input, "dev.json")); }
