// The pickle alone: in a zip file its checksum would refuse nearly every change.
#include "framework/io/pickle.h"

#include "fuzz/fuzz.h"

QUELL_FUZZ(pickle) { quell::PickleReader(input, "pickle").read_state_dict(); }
