#include "tests/support/paths.h"

namespace quell {

std::filesystem::path source_folder() { return QUELL_SOURCE_DIR; }
std::string program_path() { return QUELL_BINARY; }

}  // namespace quell
