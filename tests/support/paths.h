// Where tests find their data and the program. Functions rather than macros, so that compiled tests
// do not depend on the folder of a clone.
#pragma once

#include <filesystem>
#include <string>

namespace quell {

std::filesystem::path source_folder();
std::string program_path();

}  // namespace quell
